"""Which scope opens what, by hand: a wrong scope in a route is in the OpenAPI document too, and would pass unseen."""

from __future__ import annotations

from test_fences import OPERATIONS

NONE = "GET /healthz, GET /readyz, POST /v1/webhook-inbox/{name}"
ADMIN = """
GET /metrics, GET /v1/audit, GET /v1/keys, POST /v1/keys, GET /v1/keys/{key_id}, PATCH /v1/keys/{key_id},
DELETE /v1/keys/{key_id}, POST /v1/keys/{key_id}/rotate, POST /v1/queues/{name}/{action}
"""


def _listed(text: str) -> set[str]:
    return {one.strip() for one in text.replace("\n", " ").split(",")}


def expected(method: str, path: str) -> str | None:
    operation = f"{method} {path}"
    if operation in _listed(NONE):
        return None
    if operation in _listed(ADMIN):
        return "admin"
    return "jobs:read" if method == "GET" else "jobs:write"  # of the key's own things


def test_every_operation_takes_the_scope_that_it_should() -> None:
    wrong: dict[str, object] = {
        str(one): one.scope for one in OPERATIONS if one.scope != expected(one.method, one.path)
    }
    assert wrong == {}


def test_what_the_table_names_is_there() -> None:
    assert _listed(NONE) | _listed(ADMIN) <= {str(one) for one in OPERATIONS}
