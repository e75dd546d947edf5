"""Submitting and answering with what is accepted as a whole: a pipeline, a batch."""

from __future__ import annotations

import orjson
from fastapi import Request, Response

from callboard_gateway.bodies import read_body, require_json
from callboard_gateway.routes.submit import hang_up, idempotency_key, preferred_wait
from callboard_gateway.wholes import N, W, Whole, WholeDesk
from callboard_shared.documents import parse_json


async def submit_whole(
    request: Request, desk: WholeDesk[N, W], owner: str, prefer: str | None, path: str
) -> Response:
    """Accept what the body holds, once for each Idempotency-Key; ``path`` is where such wholes are found."""
    require_json(request.scope)
    body = await read_body(request.scope, request.receive, request.app.state.settings.max_json_bytes)
    document, trace = parse_json(body), request.scope.get("callboard.traceparent")
    new = desk.read(document, owner, trace, None)
    headers: dict[str, str] = {}
    key = idempotency_key(request.scope)
    replay = await desk.desk.reserve(owner, key, body, new.id) if key is not None else None
    if replay is not None:
        headers["Idempotency-Replayed"] = "true"
        new = desk.read(document, owner, trace, replay.job_id)
    wait_s = preferred_wait(prefer)
    whole = await desk.accept(new, wait_s, hang_up(request.receive), replayed=replay is not None)
    if whole.ended and wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
    status = 200 if whole.ended and headers else 202
    return whole_response(whole, status, headers | {"Location": f"{path}/{whole.record.id}"})


def whole_response(whole: Whole, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    more = headers or {}
    if not whole.ended:
        more = more | {"Retry-After": "1"}
    return Response(orjson.dumps(whole.view()), status, more, media_type="application/json")
