"""The OpenAPI document: what FastAPI derives from the routes, with the way in and the job types added.

``POST /v1/jobs`` takes a union discriminated by ``type``, made from the catalogue, so that a declared job type
is documented by being declared.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, Literal, Union

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic.json_schema import models_json_schema

from callboard_gateway.definitions import hoist
from callboard_gateway.links import add_links
from callboard_gateway.problems import MEDIA_TYPE
from callboard_gateway.routes import pipelines
from callboard_gateway.routes.parameters import REPLAYED
from callboard_gateway.routes.say import NewMessage
from callboard_gateway.routes.submit import MOST_JOBS
from callboard_gateway.schemas import BatchAnswer, Job, OpenAIError, Problem, problems
from callboard_shared.jobs import CATALOGUE, JobType
from callboard_shared.submission import Options

_REFS = "#/components/schemas/{model}"
_DESCRIPTION = """\
Asynchronous AI jobs over HTTP: submit a job, then poll, long-poll, stream its events or be told by webhook.

Send `Authorization: Bearer cb_…`. Errors are `application/problem+json` (RFC 9457) with a stable `code`.
Every answer carries `X-Request-Id`, and `RateLimit` where a key is limited.
"""
_TAGS = (
    "jobs", "conversations", "pipelines", "batches", "job types", "files", "models", "webhooks", "keys",
    "operating", "OpenAI",
)  # fmt: skip
_OPEN = ("/healthz", "/readyz", "/openapi.json", "/docs")
_HEADERS: dict[str, Any] = {
    "X-Request-Id": {"description": "The caller's, or a new one.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": 'What is left, for example `"requests";r=999;t=1`.',
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": 'The limit: `"requests";q=1000;w=5`.', "schema": {"type": "string"}},
}


def submission_models() -> list[type[BaseModel]]:
    """A model of the body of ``POST /v1/jobs`` for each job type."""
    return [_submission_model(job_type) for job_type in CATALOGUE]


def _submission_model(job_type: JobType[Any, Any]) -> type[BaseModel]:
    name = "".join(part.capitalize() for part in job_type.name.replace("-", ".").split(".")) + "Submission"
    fields: dict[str, Any] = {
        "type": (Literal[job_type.name], Field(description=job_type.summary)),
        "input": (job_type.input, Field(examples=[dict(job_type.example)])),
    }
    return create_model(name, __base__=Options, __doc__=job_type.summary, **fields)


def install(app: FastAPI) -> None:
    """Have ``/openapi.json`` give this document, made when first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Callboard",
        version=version("callboard-gateway"),
        summary="A self-hosted service for asynchronous AI jobs.",
        description=_DESCRIPTION,
        routes=app.routes,
        tags=[{"name": tag} for tag in _TAGS],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(_components())
    document["paths"]["/v1/jobs"]["post"] = _submit_operation()
    document["paths"]["/v1/jobs:batch"] = {"post": _batch_operation()}
    document["paths"]["/v1/conversations/{conversation_id}/messages"]["post"] = _say_operation()
    document["paths"]["/v1/pipelines"]["post"]["requestBody"] = pipelines.request_body()
    for path, item in document["paths"].items():
        for operation in item.values():
            _complete(path, operation)
    hoist(document)
    add_links(document)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _components() -> dict[str, Any]:
    models: list[type[BaseModel]] = [*submission_models(), Job, Problem, OpenAIError, BatchAnswer, NewMessage]
    mode: Literal["validation", "serialization"] = "validation"
    _, definitions = models_json_schema([(model, mode) for model in models], ref_template=_REFS)
    found: dict[str, Any] = definitions["$defs"]
    union: Any = Annotated[Union[tuple(submission_models())], Field(discriminator="type")]  # noqa: UP007
    adapter: TypeAdapter[Any] = TypeAdapter(union)
    submission = adapter.json_schema(ref_template=_REFS)
    submission.pop("$defs", None)
    found["Submission"] = {"title": "Submission", "description": "A job to run.", **submission}
    found["BatchSubmission"] = {
        "title": "BatchSubmission",
        "type": "object",
        "required": ["jobs"],
        "additionalProperties": False,
        "properties": {
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_JOBS,
                "items": {"$ref": _REFS.format(model="Submission")},
            }
        },
    }
    return found


def _submit_operation() -> dict[str, Any]:
    examples = {
        job_type.name: {
            "summary": job_type.summary,
            "value": {"type": job_type.name, "input": dict(job_type.example)},
        }
        for job_type in CATALOGUE
    }
    return {
        "tags": ["jobs"],
        "summary": "Submit a job",
        "description": "Answers at once with the job, or with `Prefer: wait=N` when it has ended.",
        "operationId": "submit_job",
        "parameters": _waiting_parameters(),
        "requestBody": _body("Submission", examples),
        "responses": _job_answers(400, 401, 403, 409, 413, 415, 422, 429, 503),
    }


def _say_operation() -> dict[str, Any]:
    examples = {"question": {"value": {"content": "And of Italy?"}}}
    path = {
        "name": "conversation_id", "in": "path", "required": True, "schema": {"type": "string"},
    }  # fmt: skip
    return {
        "tags": ["conversations"],
        "summary": "Say something in a conversation",
        "description": "Answers with the `llm.chat` job, whose reply joins the history once. While it runs, another "
        "message is 409 `conversation-busy`, with the job's id in `job_id`.",
        "operationId": "create_message",
        "parameters": [path, *_waiting_parameters()],
        "requestBody": _body("NewMessage", examples),
        "responses": _job_answers(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    }


def _waiting_parameters() -> list[dict[str, Any]]:
    return [
        _header(
            "Prefer",
            "`wait=N`: hold the answer until the job has ended, N seconds at most (1–60).",
            "wait=10",
        ),
        _idempotency(),
        _header("traceparent", "W3C trace context; it goes on in the worker.", None),
    ]


def _job_answers(*problems: int) -> dict[str, Any]:
    links = {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}}
    retry = {"Retry-After": {"description": "When to ask, in seconds.", "schema": {"type": "integer"}}}
    applied = {"Preference-Applied": {"description": "`wait=N`", "schema": {"type": "string"}}}
    return {
        "200": _answer("The job has ended while the request waited.", "Job", links | applied | REPLAYED),
        "202": _answer("Accepted.", "Job", links | retry | REPLAYED),
        **_problems(*problems),
    }


def _batch_operation() -> dict[str, Any]:
    some = [{"type": one.name, "input": dict(one.example)} for one in CATALOGUE]
    return {
        "tags": ["jobs"],
        "summary": "Submit up to 1,000 jobs",
        "description": "In order, a job or a problem for each: one bad job spoils none of the others.",
        "operationId": "submit_jobs",
        "parameters": [_idempotency()],
        "requestBody": _body("BatchSubmission", {"jobs": {"value": {"jobs": some}}}),
        "responses": {
            "202": _answer("What became of each.", "BatchAnswer", REPLAYED),
            **_problems(400, 401, 403, 413, 415, 422, 429, 503),
        },
    }


def _complete(path: str, operation: dict[str, Any]) -> None:
    """The headers of every answer, the problem that any route may give, and where a key is needed."""
    responses = operation["responses"]
    responses.pop("422", None) if _is_fastapi_422(responses.get("422")) else None
    if path not in _OPEN and "security" not in operation:  # the ways in, which FastAPI knows nothing of
        operation["security"] = [{"ApiKey": ["jobs:write"]}]
    responses.setdefault(
        "default", _openai_error() if path.startswith("/openai/") else _problem("Any other error.")
    )
    for response in responses.values():
        headers = dict(_HEADERS) if path not in _OPEN else {"X-Request-Id": _HEADERS["X-Request-Id"]}
        response["headers"] = response.get("headers", {}) | headers


def _is_fastapi_422(response: dict[str, Any] | None) -> bool:
    return response is not None and "HTTPValidationError" in str(response.get("content"))


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): dict(answer) for status, answer in problems(*statuses).items()}


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFS.format(model="Problem")}}},
    }


def _openai_error() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFS.format(model="OpenAIError")}}}
    return {"description": "Any error, as OpenAI's libraries read it.", "content": content}


def _answer(description: str, model: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFS.format(model=model)}}}
    return {"description": description, "content": content, "headers": headers}


def _body(model: str, examples: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFS.format(model=model)}, "examples": examples}}
    return {"required": True, "content": content}


def _idempotency() -> dict[str, Any]:
    said = (
        "Per API key, kept 24 hours: the same request again makes no second job; with another body it is 422."
    )
    return _header("Idempotency-Key", said, "order-17")


def _header(name: str, description: str, example: str | None) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"},
    }  # fmt: skip
    return parameter if example is None else parameter | {"example": example}
