"""What a batch's lines say, and what is written of each: in our own words, or in OpenAI's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel, ConfigDict

from callboard_shared.documents import validate
from callboard_shared.errors import Invalid
from callboard_shared.jobs import CHAT, EMBED
from callboard_shared.ledger.batching import BatchSpec
from callboard_shared.openai import chat, embeddings
from callboard_shared.openai.errors import Names, error_body, renamed, status_of

LONGEST_CUSTOM_ID = 512

OutcomeStatus = Literal["succeeded", "failed", "canceled", "expired", "invalid"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a line. problem: of one that did not succeed; output: JSON; type, created_ms: of its job."""

    line: int
    custom_id: str | None
    status: OutcomeStatus
    job_id: str | None = None
    type: str = ""
    created_ms: int = 0
    output: bytes | None = None
    problem: Mapping[str, Any] | None = None


class Dialect(Protocol):
    takes_whole_outputs: bool
    """Whether outputs that are kept as files are written into the lines."""
    lists_failures: bool
    """Whether the output file has the lines that did not succeed too."""

    def job(self, document: dict[str, Any]) -> dict[str, Any]:
        """The job that a line asks for, as POST /v1/jobs takes it. Raises Invalid."""

    def said_of(self, error: Invalid) -> Invalid:
        """The same in the names that the line uses."""

    def written(self, outcome: Outcome) -> bytes:
        """A line of the output or errors file."""


def custom_id_of(document: Any) -> str | None:
    """What the owner calls a line, as far as it says so."""
    said = document.get("custom_id") if isinstance(document, dict) else None
    return said if isinstance(said, str) and 0 < len(said) <= LONGEST_CUSTOM_ID else None


class OwnWords:
    """``{"type", "input", "custom_id"?, …}`` → ``{"custom_id", "line", "job_id", "status", "output" | "error"}``"""

    takes_whole_outputs = False
    lists_failures = True

    def job(self, document: dict[str, Any]) -> dict[str, Any]:
        if "custom_id" in document and custom_id_of(document) is None:
            raise _fault("custom_id", f"give a text of 1 to {LONGEST_CUSTOM_ID} characters, or leave it out")
        if document.get("after"):
            raise _fault("after", "is not taken in a batch: its lines run in any order; use a pipeline")
        return {name: value for name, value in document.items() if name != "custom_id"}

    def said_of(self, error: Invalid) -> Invalid:
        return error

    def written(self, outcome: Outcome) -> bytes:
        said: dict[str, Any] = {
            "custom_id": outcome.custom_id,
            "line": outcome.line,
            "job_id": outcome.job_id,
            "status": outcome.status,
        }
        if outcome.status == "succeeded":
            return orjson.dumps(said | {"output": orjson.Fragment(outcome.output or b"null")})
        return orjson.dumps(said | {"error": outcome.problem})


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    custom_id: str
    method: Literal["POST"]
    url: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    type: str
    job_input: Callable[[dict[str, Any]], dict[str, Any]]
    names: Names


def _chat_input(body: dict[str, Any]) -> dict[str, Any]:
    asked = validate(chat.ChatRequest, body)
    if asked.stream:
        raise _fault("stream", "is not taken in a batch; leave it out")
    return chat.input_of(asked)


def _embed_input(body: dict[str, Any]) -> dict[str, Any]:
    asked = validate(embeddings.EmbeddingsRequest, body)
    if asked.dimensions is not None:
        raise _fault("dimensions", "is not taken in a batch: a model has its own; leave it out")
    return embeddings.input_of(asked)


ENDPOINTS = {
    "/v1/chat/completions": _Endpoint(CHAT.name, _chat_input, {}),
    "/v1/embeddings": _Endpoint(EMBED.name, _embed_input, embeddings.NAMES),
}
"""What lines may ask for in OpenAI's words."""


class OpenAIWords:
    """``{"custom_id", "method", "url", "body"}`` → ``{"id", "custom_id", "response", "error"}``"""

    takes_whole_outputs = True
    lists_failures = False

    def __init__(self, url: str) -> None:
        self._url, self._endpoint = url, ENDPOINTS[url]

    def job(self, document: dict[str, Any]) -> dict[str, Any]:
        asked = validate(_Asked, document)
        if custom_id_of(document) is None:
            raise _fault("custom_id", f"give a text of 1 to {LONGEST_CUSTOM_ID} characters")
        if asked.url != self._url:
            raise _fault("url", f"is not the batch's endpoint, which is {self._url}")
        return {"type": self._endpoint.type, "input": self._endpoint.job_input(asked.body)}

    def said_of(self, error: Invalid) -> Invalid:
        return renamed(error, self._endpoint.names)

    def written(self, outcome: Outcome) -> bytes:
        name = f"batch_req_{outcome.job_id or outcome.line}"
        said: dict[str, Any] = {"id": name, "custom_id": outcome.custom_id, "response": None, "error": None}
        if outcome.status in ("canceled", "expired"):
            code = "batch_cancelled" if outcome.status == "canceled" else "batch_expired"
            message = str((outcome.problem or {}).get("detail", ""))
            return orjson.dumps(said | {"error": {"code": code, "message": message}})
        if outcome.status == "succeeded":
            status, body = 200, self._answer(outcome)
        else:
            problem = outcome.problem or {}
            status, body = status_of(problem), error_body(problem)
        response = {"status_code": status, "request_id": outcome.job_id or name, "body": body}
        return orjson.dumps(said | {"response": response})

    def _answer(self, outcome: Outcome) -> dict[str, Any]:
        output = orjson.loads(outcome.output or b"{}")
        if outcome.type == CHAT.name:
            return chat.answer_of(outcome.job_id or "", outcome.created_ms, output)
        return embeddings.answer_of(output)


def dialect_of(spec: BatchSpec) -> Dialect:
    return OpenAIWords(spec.endpoint or "") if spec.dialect == "openai" else OwnWords()


def _fault(field: str, message: str) -> Invalid:
    fault = {"field": field, "message": message, "code": "batch-line"}
    return Invalid(f"{field}: {message}.", errors=[fault])
