"""Whatever is sent to the HTTP interface, the answer is one that its OpenAPI document tells of."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from house import House
from hypothesis import given, seed
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from interface import CHECKS, OPERATIONS, SCHEMA, call, judge
from possessions import OWNED
from schemathesis.generation import GenerationMode
from search import FUZZ, SEED, looked, searched


def can_be_wrong(operation: dict[str, Any]) -> bool:
    """An id may be any text, and a header too; a body, and what a query says, may be wrong."""
    return "requestBody" in operation or any(
        one["in"] == "query" and one["schema"] != {"type": "string"}
        for one in operation.get("parameters", ())
    )


WITH_INPUT = sorted(name for name, one in OPERATIONS.items() if can_be_wrong(one.definition.raw))


WAITS = {"test_webhook_endpoint"}
"""With the id of one that is there it waits for a courier, and here is none."""


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_an_answer_to_what_is_right_is_one_that_the_document_tells_of(house: House, name: str) -> None:
    operation = OPERATIONS[name]
    make = None if name in WAITS else OWNED.get(operation.path)
    there = make(house, house.admin) if make else None

    @searched(8, 300)
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), real=st.booleans())
    def one(case: schemathesis.Case, real: bool) -> None:
        if there is not None and real:
            (parameter,) = case.path_parameters
            case.path_parameters[parameter] = there
        judge(case, house)

    one()


@pytest.mark.parametrize("name", WITH_INPUT)
def test_an_answer_to_what_is_wrong_is_one_that_the_document_tells_of(house: House, name: str) -> None:
    @searched(8, 300)
    @given(case=OPERATIONS[name].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def one(case: schemathesis.Case) -> None:
        judge(case, house)

    one()


def test_stories_of_many_calls_are_answered_as_the_document_tells(house: House) -> None:
    """Along its links: what one answer gives an id of is read, changed, canceled, repeated, deleted, and asked for again."""

    class Story(SCHEMA.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.user = house.key(
                "jobs:read", "jobs:write", "admin"
            )  # who has nothing, as at the story's last telling

        def call(self, case: schemathesis.Case, **kwargs: Any) -> Any:
            return call(case, house, self.user)

        def validate_response(self, response: Any, case: schemathesis.Case, **kwargs: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    if FUZZ:
        seed(SEED)(Story)
    run_state_machine_as_test(Story, settings=looked(12, 400, stateful_step_count=12))
