"""A submission becomes a job for the ledger, or a problem that names every fault."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from callboard_gateway import submission
from callboard_gateway.submission import Reader
from callboard_shared.errors import Invalid, Malformed
from callboard_shared.jobs import CATALOGUE, EVALUATE, FINETUNE, UNION_TAGS, Catalogue
from callboard_shared.ledger import NewJob
from callboard_shared.ledger.records import Named

ECHO: dict[str, Any] = {"type": "system.echo", "input": {"value": 1}}


def read(document: Any, **settings: Any) -> NewJob:
    return Reader(**settings).read(document, "key_x")


def faults(document: Any, **settings: Any) -> dict[str, str]:
    """Field and code of each fault."""
    with pytest.raises(Invalid) as caught:
        read(document, **settings)
    return {fault["field"]: fault["code"] for fault in caught.value.errors or ()}


def test_the_least_submission_has_the_types_own_limits() -> None:
    job = read(ECHO)
    assert (job.type, job.queue, job.owner) == ("system.echo", "system", "key_x")
    assert (job.priority, job.timeout_ms, job.max_attempts) == (0, 900_000, 3)
    assert (job.retention_ms, job.expires_in_ms, job.run_at_ms) == (604_800_000, 86_400_000, None)
    assert job.spec == b'{"input":{"value":1}}'


@pytest.mark.parametrize("job_type", list(CATALOGUE), ids=lambda one: one.name)
def test_the_example_of_every_type_is_taken(job_type: Any) -> None:
    job = read({"type": job_type.name, "input": dict(job_type.example)})
    assert job.queue == job_type.queue
    assert orjson.loads(job.spec)["input"] == job_type.example


def test_everything_that_can_be_said_is_kept() -> None:
    other = "job_01m82k33kretkv5g41ez9s8tdg"
    job = read(
        ECHO
        | {
            "priority": -10, "run_at": "2099-01-01T00:00:00+09:00", "expires_in_s": 1.5, "timeout_s": 2,
            "max_attempts": 1, "after": [other, other], "metadata": {"order": "17"}, "retention_s": 60,
            "webhook": {"url": "https://example.com/hook", "events": ["job.succeeded", "job.failed"]},
        }
    )  # fmt: skip
    assert (job.priority, job.run_at_ms, job.expires_in_ms) == (-10, 4070876400000, 1500)
    assert (job.timeout_ms, job.max_attempts, job.after, job.retention_ms) == (2000, 1, (other,), 60_000)
    assert job.hook == "succeeded,failed"
    spec = orjson.loads(job.spec)
    assert spec["metadata"] == {"order": "17"}
    assert spec["webhook"] == {"url": "https://example.com/hook", "events": ["job.succeeded", "job.failed"]}
    assert spec["after"] == [other, other]


def test_a_webhook_without_events_hears_of_every_end() -> None:
    job = read(ECHO | {"webhook": {"url": "https://example.com/hook"}})
    assert job.hook == "succeeded,failed,canceled,expired"


def test_null_expiry_means_never() -> None:
    assert read(ECHO | {"expires_in_s": None}).expires_in_ms is None
    assert read(ECHO, expires_s=None).expires_in_ms is None


def test_a_misspelt_type_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(Invalid) as caught:
        read({"type": "nlp.embedd", "input": {}})
    assert "did you mean 'nlp.embed'?" in caught.value.detail
    for name in CATALOGUE.names:
        assert name in caught.value.detail


@pytest.mark.parametrize("wrong", [None, 7, ["system.echo"], {}, "x" * 10_000, "\ud800"])
def test_a_type_of_any_other_kind_is_refused(wrong: Any) -> None:
    assert faults({"type": wrong, "input": {}}).keys() == {"type"}


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_job_is_an_object(document: Any) -> None:
    with pytest.raises(Invalid):
        read(document)


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        {"type": "nlp.embed", "input": {"texts": ["ok", ""], "wat": 1}, "priority": 11, "color": "red"}
    )
    assert found == {
        "priority": "less_than_equal",
        "color": "extra_forbidden",
        "input.texts.1": "string_too_short",
        "input.wat": "extra_forbidden",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "1"), ("priority", 1.5), ("priority", True), ("run_at", "tomorrow"), ("run_at", 1763803800),
        ("run_at", "2026-11-22T09:30:00"), ("expires_in_s", 0), ("expires_in_s", "1"), ("timeout_s", -1),
        ("max_attempts", 0), ("max_attempts", 21), ("retention_s", 0), ("after", "job_x"), ("metadata", []),
    ],
)  # fmt: skip
def test_wrong_options_are_named(field: str, value: Any) -> None:
    assert faults(ECHO | {field: value}).keys() == {field}


def test_metadata_is_text() -> None:
    assert faults(ECHO | {"metadata": {"order": 17}}).keys() == {"metadata.order"}
    assert faults(ECHO | {"metadata": {"a": "x" * 513}}).keys() == {"metadata.a"}
    assert faults(ECHO | {"metadata": {str(n): "" for n in range(51)}}).keys() == {"metadata"}
    assert faults(ECHO | {"metadata": {"a": "\ud800"}}).keys() == {"metadata.a"}


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_an_input_is_an_object(value: Any) -> None:
    assert faults({"type": "system.echo", "input": value}).keys() == {"input"}


def test_an_input_is_needed() -> None:
    assert faults({"type": "system.echo"}) == {"input": "missing"}


def test_a_text_of_a_megabyte_is_too_long() -> None:
    assert faults({"type": "nlp.embed", "input": {"texts": ["x" * 1_000_000]}}) == {
        "input.texts.0": "string_too_long"
    }


def test_a_rule_over_several_fields_is_told_of_the_input() -> None:
    assert faults({"type": "nlp.similarity", "input": {"query": "a"}}) == {"input": "value_error"}


@pytest.mark.parametrize(
    ("dataset", "fields"),
    [
        ([{"text": "a", "label": "x"}, {"text": "a"}], {"dataset.1.label"}),
        ([{"text": "a", "label": "x" * 201}, {"text": 1, "label": None}],
         {"dataset.0.label", "dataset.1.text", "dataset.1.label"}),
        ([{"text": "a", "label": 1, "split": "train"}], {"dataset.0.split"}),
        ([{"text": "a", "label": 1}, 3], {"dataset.1"}),
        ([], {"dataset"}),
        ({"hub": 3}, {"dataset.hub"}),
        ({"hub": "imdb", "wat": 1}, {"dataset.wat"}),
        ({"hub": "imdb", "file_id": "file_1"}, {"dataset"}),
        ({}, {"dataset"}),
        ("imdb", {"dataset"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("job_type", "name"), [(FINETUNE, "dataset"), (FINETUNE, "eval_dataset"), (EVALUATE, "dataset")]
)
def test_a_fault_within_a_list_or_an_object_is_named_by_its_path_in_the_document(
    monkeypatch: pytest.MonkeyPatch, job_type: Any, name: str, dataset: Any, fields: set[str]
) -> None:
    monkeypatch.setattr(submission, "CATALOGUE", Catalogue(job_type))
    given = {"dataset": [{"text": "a", "label": 1}], name: dataset}
    with pytest.raises(Invalid) as caught:
        read({"type": job_type.name, "input": given})
    found = {fault["field"] for fault in caught.value.errors or ()}
    assert found == {f"input.{field.replace('dataset', name, 1)}" for field in fields}
    assert not any(tag in str(caught.value.problem()) for tag in UNION_TAGS)


def test_deep_nesting_is_malformed() -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(Malformed):
        read({"type": "system.echo", "input": {"value": deep}})


def test_a_model_that_not_everybody_may_name_and_every_file_are_left_to_be_looked_up() -> None:
    def knows(job_type: Any, field: str, name: str) -> bool:
        return name != "mine@1"

    job = read({"type": "nlp.embed", "input": {"texts": ["a"], "model": "mine@1"}}, knows_model=knows)
    assert job.names == (Named("model", "input.model", "mine@1", ("embed",)),)
    job = read({"type": "nlp.word2vec.train", "input": {"file": {"file_id": "file_1"}}}, knows_model=knows)
    assert job.names == (Named("file", "input.file.file_id", "file_1"),)
    assert read(ECHO, knows_model=knows).names == ()
    assert read({"type": "nlp.embed", "input": {"texts": ["a"]}}, knows_model=knows).names == ()


def test_a_trace_goes_on_with_the_job() -> None:
    job = Reader().read(ECHO, "key_x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert orjson.loads(job.spec)["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
