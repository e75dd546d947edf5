"""Which requests are traced."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_gateway.tracing import traced
from callboard_shared import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("path", "parent", "begun"),
    [
        ("/readyz", None, False),
        ("/healthz", None, False),
        ("/metrics", None, False),
        ("/readyz", PARENT, True),
        ("/v1/jobs", None, True),
    ],
)
async def test_probes_are_traced_only_where_who_asks_traces(
    monkeypatch: pytest.MonkeyPatch, path: str, parent: str | None, begun: bool
) -> None:
    parents: list[str | None] = []
    served: list[str] = []

    def begin(name: str, kind: str, *, parent: str | None, attributes: dict[str, Any]) -> None:
        parents.append(parent)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])

    async def nothing(*_: Any) -> Any:
        return None

    monkeypatch.setattr(tracing, "begin", begin)
    scope = {"type": "http", "method": "GET", "path": path} | (
        {"callboard.traceparent": parent} if parent else {}
    )
    await traced(serve, scope, nothing, nothing)
    assert served == [path] and parents == ([parent] if begun else [])
