"""``/openai/v1/batches``: OpenAI's Batch API over our batches, whose lines are in OpenAI's words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.batch_desk import Batch, BatchDesk
from callboard_gateway.batch_submission import RETENTION_S, new_batch
from callboard_gateway.bodies import read_model
from callboard_gateway.schemas import body_of
from callboard_shared.batches.dialects import ENDPOINTS
from callboard_shared.errors import Conflict, Invalid, NotFound
from callboard_shared.ledger.batching import BatchRecord
from callboard_shared.openai.errors import error_body
from callboard_shared.submission import DAY_S, MetadataName, MetadataValue

router = APIRouter(prefix="/openai/v1/batches", tags=["OpenAI"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]

_STATUSES = {
    "validating": "validating", "running": "in_progress", "finalizing": "finalizing", "canceling": "cancelling",
    "completed": "completed", "failed": "failed", "canceled": "cancelled",
}  # fmt: skip
_WINDOW_S = DAY_S


class BatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    input_file_id: str = Field(max_length=64, description="A file of purpose `batch`, uploaded before.")
    endpoint: str = Field(description=f"One of {', '.join(ENDPOINTS)}.")
    completion_window: Literal["24h"] = "24h"
    metadata: dict[MetadataName, MetadataValue] | None = Field(default=None, max_length=50)
    output_expires_after: Any = None


@router.post(
    "", operation_id="openai_create_batch", summary="A batch of chats or embeddings",
    openapi_extra=body_of(
        BatchRequest,
        {
            "input_file_id": "file_01kaq3v5ef7v8m2c4r6t8w0y2z", "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    ),
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    """Its lines are `{"custom_id", "method", "url", "body"}`; each is a job of its own."""
    asked = await read_model(
        request.scope, request.receive, request.app.state.settings.max_json_bytes, BatchRequest
    )
    if asked.endpoint not in ENDPOINTS:
        raise _fault("endpoint", f"there are: {', '.join(ENDPOINTS)}")
    if asked.output_expires_after is not None:
        raise _fault("output_expires_after", f"is not supported: files are kept {RETENTION_S // DAY_S} days")
    desk = _desk(request)
    spec = desk.reader.spec(
        asked.input_file_id, dialect="openai", endpoint=asked.endpoint, metadata=asked.metadata or {},
        expires_s=float(_WINDOW_S), traceparent=request.scope.get("callboard.traceparent"),
    )  # fmt: skip
    return JSONResponse(view(await desk.submit(new_batch(caller.owner, spec), field="input_file_id")))


@router.get("", operation_id="openai_list_batches", summary="List batches")
async def list_(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(max_length=64, description="The id of the last batch seen.")] = None,
) -> Response:
    """Newest first; `has_more` says whether there is another page."""
    desk = _desk(request)
    before = None
    if after is not None:
        try:
            record = (await desk.find(caller.owner, after)).record
        except NotFound:
            raise _fault("after", "there is no such batch") from None
        before = (record.created_ms, record.id)
    found, following = await desk.page(caller.owner, limit, before, _is_openais)
    data = [view(batch) for batch in found]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return JSONResponse({"object": "list", "data": data, "has_more": following is not None, **ends})


@router.get("/{batch_id}", operation_id="openai_get_batch", summary="A batch")
async def get(request: Request, batch_id: str, caller: Reader) -> Response:
    return JSONResponse(view(await _find(request, batch_id, caller)))


@router.post("/{batch_id}/cancel", operation_id="openai_cancel_batch", summary="Cancel a batch")
async def cancel(request: Request, batch_id: str, caller: Writer) -> Response:
    await _find(request, batch_id, caller)
    try:
        return JSONResponse(view(await _desk(request).cancel(caller.owner, batch_id)))
    except Conflict as error:
        raise Invalid(error.detail, code=error.problem_code) from None


async def _find(request: Request, batch_id: str, caller: Authenticated) -> Batch:
    """Ours are of other words, and no batches here."""
    batch = await _desk(request).find(caller.owner, batch_id)
    if not _is_openais(batch.record):
        raise NotFound("There is no such batch here; it is one of /v1/batches.")
    return batch


def _is_openais(record: BatchRecord) -> bool:
    return record.spec.dialect == "openai"


def _desk(request: Request) -> BatchDesk:
    desk: BatchDesk = request.app.state.batches
    return desk


def view(batch: Batch) -> dict[str, Any]:
    """OpenAI's batch object. Times that our ledger does not keep are left null."""
    record, ours = batch.record, batch.view()
    counts, ended = ours["counts"], record.finished_ms // 1000 if record.finished_ms else None
    files = {name: (ours[f"{name}_file"] or {}).get("file_id") for name in ("output", "errors")}
    made = record.created_ms // 1000
    return {
        "id": record.id,
        "object": "batch",
        "endpoint": record.spec.endpoint,
        "errors": _errors(record),
        "input_file_id": record.spec.file_id,
        "completion_window": "24h",
        "status": _STATUSES[ours["status"]],
        "output_file_id": files["output"],
        "error_file_id": files["errors"],
        "created_at": made,
        "in_progress_at": made if record.total is not None else None,
        "expires_at": made + _WINDOW_S,
        "finalizing_at": None,
        "completed_at": ended if record.status == "completed" else None,
        "failed_at": ended if record.status == "failed" else None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": ended if record.status == "canceled" else None,
        "request_counts": {
            "total": counts["total"],
            "completed": counts["succeeded"],
            "failed": counts["failed"] + counts["expired"] + counts["invalid"],
        },
        "metadata": dict(record.spec.metadata) or None,
    }


def _errors(record: BatchRecord) -> dict[str, Any] | None:
    if record.problem is None:
        return None
    said = error_body(record.problem)["error"]
    error = {"code": said["code"], "message": said["message"], "param": said["param"], "line": None}
    return {"object": "list", "data": [error]}


def _fault(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}.", errors=[{"field": field, "message": message, "code": "parameter"}])
