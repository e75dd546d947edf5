"""``/v1/deliveries``: every webhook that was or is to be sent for a key, with each try."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.routes.webhook_endpoints import existing
from callboard_gateway.schemas import problems
from callboard_gateway.webhook_schemas import DeliveryList, DeliveryObject
from callboard_gateway.webhook_views import delivery_view
from callboard_shared.errors import Conflict, NotFound
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger
from callboard_shared.ledger.deliveries import Delivery, get_delivery, list_deliveries, recover

router = APIRouter(tags=["webhooks"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]
Status = Annotated[Literal["pending", "delivered", "failed", "exhausted"] | None, Query()]
Event = Annotated[str | None, Query(max_length=64, examples=["job.failed"])]

GONE = "There is no such delivery. It may be past its retention."


@router.get(
    "/v1/deliveries", response_model=DeliveryList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_deliveries", summary="List deliveries, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    caller: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Status = None,
    event: Event = None,
    job_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    return await _page(request, caller.owner, "", limit, cursor, status, event, job_id)


@router.get(
    "/v1/webhook-endpoints/{endpoint_id}/deliveries", response_model=DeliveryList,
    responses=problems(401, 403, 404, 422, 429, 503),
    operation_id="list_endpoint_deliveries", summary="List the deliveries to one endpoint, newest first",
)  # fmt: skip
async def list_of_endpoint(
    request: Request,
    endpoint_id: str,
    caller: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Status = None,
    event: Event = None,
    job_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    await existing(request, caller.owner, endpoint_id)
    return await _page(request, caller.owner, endpoint_id, limit, cursor, status, event, job_id)


async def _page(
    request: Request,
    owner: str,
    endpoint_id: str,
    limit: int,
    cursor: str | None,
    status: str | None,
    event: str | None,
    job_id: str | None,
) -> Response:
    def wanted(one: Delivery) -> bool:
        return (
            status in (None, one.status) and event in (None, one.event) and job_id in (None, one.subject)
        )  # fmt: skip

    before = position_of(cursor, "whd")
    found, following = await list_deliveries(
        _ledger(request), owner, limit=limit, endpoint=endpoint_id, before=before, keep=wanted
    )
    return _json({"data": [delivery_view(one) for one in found], "next_cursor": cursor_of(following)})


@router.get(
    "/v1/deliveries/{delivery_id}", response_model=DeliveryObject, responses=problems(401, 403, 404, 429, 503),
    operation_id="get_delivery", summary="A delivery with each try",
)  # fmt: skip
async def get(request: Request, delivery_id: str, caller: Reader) -> Response:
    return _json(delivery_view(await _existing(request, caller.owner, delivery_id)))


@router.post(
    "/v1/deliveries/{delivery_id}/redeliver", status_code=202, response_model=DeliveryObject,
    responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="redeliver", summary="Make a delivery again",
)  # fmt: skip
async def redeliver(request: Request, delivery_id: str, caller: Writer) -> Response:
    """Now, under the same `webhook-id`, and with the whole schedule before it; whatever became of it so far."""
    await _existing(request, caller.owner, delivery_id)
    (outcome,) = await _ledger(request).run(recover(caller.owner, [delivery_id], whatever=True))
    if outcome == "deleted":
        raise Conflict("The endpoint that it went to was deleted.", code="endpoint-deleted")
    if outcome == "disabled":
        detail = 'The endpoint is disabled. Enable it first: PATCH it with {"enabled": true}.'
        raise Conflict(detail, code="endpoint-disabled")
    return _json(delivery_view(await _existing(request, caller.owner, delivery_id)), 202)


async def _existing(request: Request, owner: str, delivery_id: str) -> Delivery:
    call = get_delivery(owner, delivery_id)
    found = await _ledger(request).run(call) if is_id(delivery_id, "whd") else None
    if found is None:
        raise NotFound(GONE)
    return found


def _ledger(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
