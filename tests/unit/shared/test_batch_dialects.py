"""What lines of a batch ask for, and what is written of each, in our words and in OpenAI's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from callboard_shared.batches.dialects import Outcome, custom_id_of, dialect_of
from callboard_shared.errors import Invalid
from callboard_shared.ledger.batching import BatchSpec
from callboard_shared.submission import Reader

OWN = dialect_of(BatchSpec("file_1"))
CHATS = dialect_of(BatchSpec("file_1", "openai", endpoint="/v1/chat/completions"))
VECTORS = dialect_of(BatchSpec("file_1", "openai", endpoint="/v1/embeddings"))
ECHO = {"type": "system.echo", "input": {"value": 1}}
HELLO = [{"role": "user", "content": "Hello"}]


def asked(url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": url, "body": body}


def fault(dialect: Any, document: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        dialect.job(document)
    assert caught.value.errors is not None
    return str(caught.value.errors[0]["field"])


def test_a_line_of_ours_is_a_job_with_a_custom_id() -> None:
    assert OWN.job(ECHO | {"custom_id": "x", "priority": 1}) == ECHO | {"priority": 1}
    assert fault(OWN, ECHO | {"custom_id": ""}) == "custom_id"
    assert fault(OWN, ECHO | {"custom_id": "x" * 513}) == "custom_id"
    assert fault(OWN, ECHO | {"after": ["job_1"]}) == "after"


@pytest.mark.parametrize("document", [None, [], {}, {"custom_id": 1}, {"custom_id": ""}])
def test_what_names_no_line_is_no_name(document: Any) -> None:
    assert custom_id_of(document) is None


def test_a_chat_of_openais_is_a_job_that_the_catalogue_takes() -> None:
    job = CHATS.job(asked(model="gpt-4o", messages=HELLO, max_completion_tokens=5))
    assert job == {"type": "llm.chat", "input": {"model": "gpt-4o", "messages": HELLO, "max_tokens": 5}}
    assert Reader().read(job, "key_a").queue == "llm"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (asked("/v1/embeddings", model="m", messages=HELLO), "url"),
        (asked(model="m", messages=HELLO, stream=True), "stream"),
        (asked(model="m", messages=HELLO, n=2), "n"),
        (asked(model="m"), "messages"),
        (asked(model="m", messages=HELLO) | {"method": "GET"}, "method"),
        (asked(model="m", messages=HELLO) | {"custom_id": ""}, "custom_id"),
        (asked(model="m", messages=HELLO) | {"more": 1}, "more"),
    ],
)
def test_what_is_wrong_with_a_line_of_openais_is_named(document: dict[str, Any], field: str) -> None:
    assert fault(CHATS, document) == field


def test_dimensions_and_tokens_are_not_taken_in_a_line() -> None:
    assert fault(VECTORS, asked("/v1/embeddings", model="m", input="a", dimensions=8)) == "dimensions"
    assert fault(VECTORS, asked("/v1/embeddings", model="m", input=[1, 2])) == "input"


def test_faults_of_the_job_are_said_in_openais_names() -> None:
    job = VECTORS.job(asked("/v1/embeddings", model="m", input=["a", ""]))
    with pytest.raises(Invalid) as caught:
        Reader().read(job, "key_a")
    assert (VECTORS.said_of(caught.value).errors or [{}])[0]["field"] == "input[1]"
    assert OWN.said_of(caught.value) is caught.value


PROBLEM = {"code": "text-too-long", "status": 422, "detail": "Too long.", "retryable": False}


def test_our_lines_say_what_became_of_each() -> None:
    good = Outcome(1, "a", "succeeded", "job_1", "system.echo", 5, b'{"value":1}')
    assert orjson.loads(OWN.written(good)) == {
        "custom_id": "a", "line": 1, "job_id": "job_1", "status": "succeeded", "output": {"value": 1},
    }  # fmt: skip
    bad = Outcome(2, None, "invalid", problem=PROBLEM)
    assert orjson.loads(OWN.written(bad)) == {
        "custom_id": None, "line": 2, "job_id": None, "status": "invalid", "error": PROBLEM,
    }  # fmt: skip


def test_openais_lines_have_an_answer_or_an_error() -> None:
    output = {
        "message": {"role": "assistant", "content": "Hi"},
        "finish_reason": "stop",
        "model": "m",
        "usage": None,
    }
    good = orjson.loads(
        CHATS.written(Outcome(1, "a", "succeeded", "job_1", "llm.chat", 5000, orjson.dumps(output)))
    )
    assert (good["custom_id"], good["error"], good["response"]["status_code"]) == ("a", None, 200)
    assert good["response"]["body"]["choices"][0]["message"]["content"] == "Hi"
    assert (good["response"]["body"]["created"], good["response"]["request_id"]) == (5, "job_1")
    bad = orjson.loads(CHATS.written(Outcome(2, "b", "failed", "job_2", problem=PROBLEM)))
    assert (bad["response"]["status_code"], bad["response"]["body"]["error"]["code"]) == (
        400,
        "text_too_long",
    )
    for status, code in (("canceled", "batch_cancelled"), ("expired", "batch_expired")):
        over = orjson.loads(CHATS.written(Outcome(3, "c", status, problem=PROBLEM)))  # type: ignore[arg-type]
        assert (over["response"], over["error"]) == (None, {"code": code, "message": "Too long."})
    assert len({good["id"], bad["id"], over["id"]}) == 3
