"""``/v1/audit``: what admins did."""

from __future__ import annotations

import re
from typing import Any

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import require
from callboard_gateway.routes.parameters import Cursor, Limit
from callboard_gateway.schemas import AuditList, problems
from callboard_shared import auditing
from callboard_shared.errors import Invalid
from callboard_shared.view import timestamp

log = structlog.get_logger(__name__)

router = APIRouter(tags=["keys"], dependencies=[Depends(require("admin"))])

_CURSOR = re.compile(r"\d{1,20}-\d{1,20}")


@router.get(
    "/v1/audit", response_model=AuditList, responses=problems(401, 403, 422, 429, 503), operation_id="list_audit",
    summary="What admins did, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """The last ten thousand acts on keys and queues, and by whose key each was done."""
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        field = {"field": "cursor", "message": "take 'next_cursor' as it is", "code": "parameter"}
        raise Invalid("The cursor is none of this list's.", errors=[field])
    acts = await request.app.state.ledger.run(auditing.acts(limit + 1, cursor))
    following = acts[limit - 1].id if len(acts) > limit else None
    return JSONResponse({"data": [_view(act) for act in acts[:limit]], "next_cursor": following})


async def audit(request: Request, act: str, of: str, **detail: Any) -> None:
    """Write down what the caller, an admin, has done."""
    by = request.state.caller.owner
    log.info("audit", act=act, by=by, of=of, **detail)
    await request.app.state.ledger.run(auditing.record(act, by, of, detail))


def _view(act: auditing.Act) -> dict[str, Any]:
    return {
        "id": act.id, "at": timestamp(act.at_ms), "act": act.act, "by": act.by, "of": act.of, "detail": act.detail
    }  # fmt: skip
