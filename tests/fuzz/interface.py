"""The HTTP interface as its OpenAPI document has it, for schemathesis, and what is made of an answer."""

from __future__ import annotations

import copy
from typing import Any

import httpx
import schemathesis
from house import House
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from callboard_gateway.app import create_app
from callboard_gateway.settings import GatewaySettings
from callboard_shared.settings import LedgerSettings

NO_END = "its answer goes on until somebody leaves, or a worker has done something: tests of its own"
LEFT_OUT = {
    "stream_events": NO_END,
    "stream_job_events": NO_END,
    "stream_pipeline_events": NO_END,
    "openai_create_speech": NO_END,
    "openai_create_chat_completion": NO_END,
    "openai_create_embeddings": NO_END,
}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
          response_schema_conformance]  # fmt: skip
MOST_WAIT_S = 10


@schemathesis.serializer("application/offset+octet-stream")
def octets(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _document() -> dict[str, Any]:
    """Without the ways in: every call of a fuzz test has an admin's key, and fences have tests of their own."""
    nowhere = LedgerSettings(redis_url=SecretStr("redis://127.0.0.1:1/0"))
    document = copy.deepcopy(create_app(GatewaySettings(), ledger_settings=nowhere).openapi())
    document["components"].pop("securitySchemes")
    for item in document["paths"].values():
        for method, operation in list(item.items()):
            operation.pop("security", None)
            if operation["operationId"] in LEFT_OUT:
                del item[method]
            for response in operation["responses"].values():
                for name in LEFT_OUT.keys() & response.get("links", {}).keys():
                    del response["links"][name]
    return document


DOCUMENT = _document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {one.ok().definition.raw["operationId"]: one.ok() for one in SCHEMA.get_all_operations()}


def call(case: schemathesis.Case, house: House, user: httpx.Client | None = None) -> Any:
    """As the admin, if it is by nobody else."""
    case.headers["Authorization"] = (user or house.admin).headers["Authorization"]
    case.headers.pop("Prefer", None)  # nobody works here, so what is waited for never comes
    if str((case.query or {}).get("wait", "")).isdigit():
        case.query["wait"] = 0
    return case.call(base_url=house.url, timeout=MOST_WAIT_S)


def judge(case: schemathesis.Case, house: House) -> Any:
    """Call, and hold the answer against the document."""
    response = call(case, house)
    case.validate_response(response, checks=CHECKS)
    return response
