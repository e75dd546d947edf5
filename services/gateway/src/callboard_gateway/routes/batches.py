"""``/v1/batches``: up to 50,000 jobs as the lines of a file, submitted, counted and canceled as one."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.batch_desk import BatchDesk
from callboard_gateway.batch_schemas import BatchList, BatchObject
from callboard_gateway.batch_submission import BatchBody
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.routes.parameters import (
    REPLAYED,
    Cursor,
    IdempotencyKey,
    Limit,
    Prefer,
    Wait,
    replay_header,
)
from callboard_gateway.routes.submit import hang_up
from callboard_gateway.routes.submit import idempotency_key as usable_key
from callboard_gateway.routes.wholes import submit_whole, whole_response
from callboard_gateway.schemas import body_of, problems

router = APIRouter(prefix="/v1/batches", tags=["batches"])
ReadAccess = Annotated[Authenticated, Depends(require("jobs:read"))]
WriteAccess = Annotated[Authenticated, Depends(require("jobs:write"))]


@router.post(
    "",
    status_code=202,
    response_model=BatchObject,
    openapi_extra=body_of(
        BatchBody, {"file_id": "file_01kaq3v5ef7v8m2c4r6t8w0y2z", "metadata": {"order": "17"}}
    ),
    responses={
        200: {"model": BatchObject, "description": "It has ended while the request waited."},
        202: {"description": "The batch is accepted; its lines are yet to be read.", "headers": REPLAYED},
        **problems(400, 401, 403, 413, 415, 422, 429, 503),
    },
    operation_id="submit_batch",
    summary="Submit the jobs in the lines of a file",
)
async def submit(
    request: Request,
    caller: WriteAccess,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The file is read and its jobs are submitted behind the scenes. A line that is no valid job spoils none of the
    others: it is counted as `invalid` and told of in the errors file."""
    return await submit_whole(request, _desk(request), caller.owner, prefer, router.prefix)


@router.get(
    "", response_model=BatchList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_batches", summary="List batches, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    caller: ReadAccess,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    found, following = await _desk(request).page(caller.owner, limit, position_of(cursor, "batch"))
    content = {"data": [one.view() for one in found], "next_cursor": cursor_of(following)}
    return Response(orjson.dumps(content), media_type="application/json")


@router.get(
    "/{batch_id}", response_model=BatchObject, responses=problems(401, 403, 404, 422, 429, 503),
    operation_id="get_batch", summary="Read a batch with its counts, or wait for it",
)  # fmt: skip
async def get(
    request: Request,
    batch_id: str,
    caller: ReadAccess,
    wait: Wait = 0,
) -> Response:
    desk = _desk(request)
    if wait:
        return whole_response(await desk.wait(caller.owner, batch_id, wait, hang_up(request.receive)))
    return whole_response(await desk.find(caller.owner, batch_id))


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    response_model=BatchObject,
    responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="cancel_batch",
    summary="Cancel what has not ended of a batch",
)
async def cancel(request: Request, batch_id: str, caller: WriteAccess) -> Response:
    """No more lines are submitted, waiting jobs end at once, running ones soon; then the files are written."""
    return whole_response(await _desk(request).cancel(caller.owner, batch_id), 202)


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    response_model=BatchObject,
    responses={
        200: {
            "model": BatchObject,
            "description": "A repeated request: the batch that the first one made has ended.",
        },
        202: {"description": "The new batch.", "headers": REPLAYED},
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
    operation_id="retry_batch",
    summary="Run those lines of an ended batch again that did not succeed",
)
async def retry(
    request: Request, batch_id: str, caller: WriteAccess, idempotency_key: IdempotencyKey = None
) -> Response:
    """A new batch, with `retried_from`, of the lines whose jobs failed, expired or were canceled."""
    batch, replayed = await _desk(request).retry(caller.owner, batch_id, usable_key(request.scope))
    headers = {"Location": f"/v1/batches/{batch.record.id}"} | replay_header(replayed)
    return whole_response(batch, 200 if batch.ended and replayed else 202, headers)


@router.delete(
    "/{batch_id}", status_code=204, responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="delete_batch", summary="Remove an ended batch with its output and errors files",
)  # fmt: skip
async def delete(request: Request, batch_id: str, caller: WriteAccess) -> Response:
    await _desk(request).delete(caller.owner, batch_id)
    return Response(status_code=204)


def _desk(request: Request) -> BatchDesk:
    desk: BatchDesk = request.app.state.batches
    return desk
