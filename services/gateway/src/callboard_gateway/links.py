"""Links of the OpenAPI document: which operations take the id that an answer gives (OpenAPI 3.1, Link Object)."""

from __future__ import annotations

import re
from typing import Any

MEMBER = re.compile(r"^(?P<collection>/(?:openai/)?v1/[a-z-]+)/\{(?P<parameter>\w+)\}(?P<rest>/.*)?$")
ANSWERS_WITH_A_JOB = ("create_message", "retry_job")
"""Besides those of ``/v1/jobs``."""
JOBS = "/v1/jobs"


def add_links(document: dict[str, Any]) -> None:
    """To what makes a thing and to what lists such things, links to all that is done with one."""
    takers: dict[str, list[tuple[str, str]]] = {}
    operations = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operations[operation["operationId"]] = operation
            if (match := MEMBER.match(path)) and method != "head":
                takers.setdefault(match["collection"], []).append(
                    (operation["operationId"], match["parameter"])
                )
    for collection, taken in takers.items():
        for method, operation in document["paths"].get(collection, {}).items():
            _link(operation, taken, _pointer(method, taken[0][1]))
    for name in ANSWERS_WITH_A_JOB:
        _link(operations[name], takers[JOBS], "/id")


def _pointer(method: str, parameter: str) -> str:
    """Where the id stands in the answer: a thing's own, or that of the first of a list."""
    field = "name" if parameter == "name" else "id"
    return f"/data/0/{field}" if method == "get" else f"/{field}"


def _link(operation: dict[str, Any], taken: list[tuple[str, str]], pointer: str) -> None:
    for status, response in operation["responses"].items():
        if status in ("200", "201", "202") and "application/json" in response.get("content", {}):
            response["links"] = response.get("links", {}) | {
                name: {"operationId": name, "parameters": {f"path.{parameter}": f"$response.body#{pointer}"}}
                for name, parameter in taken
            }
