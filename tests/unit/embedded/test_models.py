"""`make models` tries each model with a job that needs it, and says what came of it."""

from __future__ import annotations

import json
from typing import Any, get_args

import httpx
import pytest

from callboard_embedded.models import PROBES, tried
from callboard_shared.jobs import CHAT, CLASSIFY, DETECT, EMBED, TRANSFORMER_GENERATE, WORD2VEC_QUERY, Task

TYPES = {one.name: one for one in (EMBED, CLASSIFY, WORD2VEC_QUERY, TRANSFORMER_GENERATE, CHAT, DETECT)}


def answering(*answers: dict[str, Any]) -> tuple[httpx.Client, list[httpx.Request]]:
    """A gateway that gives these answers in turn, and what it was asked."""
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=left.pop(0))

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://gateway"), asked


def job(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "status": status,
        "usage": {"run_ms": 12.4},
        "error": None,
        "waiting_for": None,
        **more,
    }


def test_there_is_a_job_for_every_task_and_its_type_takes_it() -> None:
    assert set(PROBES) == set(get_args(Task)) - {"architecture"}
    for task, probe in PROBES.items():
        job_type = TYPES[probe.job_type]
        job_type.input.model_validate_json(json.dumps({**probe.input, "model": "mine@1"}))
        # What providers have nobody here can list, so a chat's model is for the worker to judge.
        assert task == "chat" or task in job_type.models["model"]


@pytest.mark.parametrize("task", PROBES)
def test_a_model_is_tried_with_the_job_of_its_task(task: str) -> None:
    http, asked = answering(job("succeeded"))
    assert tried(http, {"name": "mine@1", "task": task}, TYPES) == ("yes, 12 ms", True)
    sent = json.loads(asked[0].content)
    assert sent == {"type": PROBES[task].job_type, "input": {**PROBES[task].input, "model": "mine@1"}}


def test_word_vectors_that_do_not_know_the_word_have_been_loaded() -> None:
    unknown = {"code": "unknown-word", "detail": "The model does not know 'the'."}
    http, _ = answering(job("failed", error=unknown), job("failed", error=unknown))
    assert tried(http, {"name": "korean", "task": "word2vec"}, TYPES) == ("yes, 12 ms", True)
    assert tried(http, {"name": "mini", "task": "embed"}, TYPES) == (
        "no: The model does not know 'the'.",
        False,
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (job("failed", error={"code": "model-damaged", "detail": "A file is gone."}), "no: A file is gone."),
        (
            job("queued", waiting_for="no worker is online for queue nlp"),
            "no: no worker is online for queue nlp",
        ),
        (job("expired"), "no: expired"),
        ({"status": 422, "code": "wrong-model", "detail": "It cannot do this."}, "no: It cannot do this."),
    ],
)
def test_what_does_not_load_says_why(answer: dict[str, Any], said: str) -> None:
    http, asked = answering(answer)
    assert tried(http, {"name": "mini", "task": "embed"}, TYPES) == (said, False)
    assert len(asked) == 1


def test_a_model_that_loads_slowly_is_waited_for() -> None:
    http, asked = answering(job("running"), job("running"), job("succeeded"))
    assert tried(http, {"name": "mini", "task": "embed"}, TYPES) == ("yes, 12 ms", True)
    assert [request.method for request in asked] == ["POST", "GET", "GET"]


def test_a_model_that_no_job_type_takes_is_only_listed() -> None:
    http, asked = answering()
    for task, offered in (("classify", {"nlp.embed"}), ("architecture", set(TYPES))):
        told, works = tried(http, {"name": "mine", "task": task}, offered)
        assert works and told == f"not tried: there is no job type for {task}"
    assert asked == []
