"""``/openai/v1/files``: the key's files as OpenAI shows them."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.routes import files
from callboard_shared.errors import Invalid
from callboard_shared.files import FileRecord
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger, filing

router = APIRouter(prefix="/openai/v1/files", tags=["OpenAI"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]


@router.post("", operation_id="openai_upload_file", summary="Upload a file", openapi_extra=files.UPLOAD_BODY)
async def upload(request: Request, caller: Writer) -> Response:
    """A form with `file` and `purpose`; for a batch the purpose is `batch`."""
    answer = await files.upload_file(request, caller)
    if answer.status_code != 201:
        return answer
    record = await files.owned(request, orjson.loads(bytes(answer.body))["id"], caller)
    return JSONResponse(view(record))


@router.get("", operation_id="openai_list_files", summary="List files")
async def list_(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    after: Annotated[str | None, Query(max_length=64, description="The id of the last file seen.")] = None,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    order: Annotated[
        str, Query(pattern="^(desc)$", description="Newest first, which is all there is.")
    ] = "desc",
) -> Response:
    """Newest first; `has_more` says whether there is another page."""
    ledger: AsyncLedger = request.app.state.ledger
    before = None
    if after is not None:
        record = await ledger.run(filing.get_file(after)) if is_id(after, "file") else None
        if record is None or record.owner != caller.owner:
            fault = {"field": "after", "message": "there is no such file", "code": "parameter"}
            raise Invalid("after: there is no such file.", errors=[fault])
        before = (record.created_ms, record.id)
    found: list[FileRecord] = []
    following = before
    while len(found) < limit:
        records, following = await filing.list_files(ledger, caller.owner, limit=limit, before=following)
        found += [one for one in records if purpose in (None, one.purpose)]
        if following is None:
            break
    more = following is not None or len(found) > limit
    data = [view(record) for record in found[:limit]]
    ends = (
        {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
        if data
        else {"first_id": None, "last_id": None}
    )
    return JSONResponse({"object": "list", "data": data, "has_more": more, **ends})


@router.get("/{file_id}", operation_id="openai_get_file", summary="A file")
async def get(request: Request, file_id: str, caller: Reader) -> Response:
    return JSONResponse(view(await files.owned(request, file_id, caller)))


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses=files.CONTENT_RESPONSES,
    operation_id="openai_get_file_content",
    summary="A file's content",
)
async def content(request: Request, file_id: str, caller: Reader) -> Response:
    return await files.get_content(request, file_id, caller)


@router.delete("/{file_id}", operation_id="openai_delete_file", summary="Delete a file")
async def delete(request: Request, file_id: str, caller: Writer) -> Response:
    await files.delete_file(request, file_id, caller)
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})


def view(record: FileRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": record.created_ms // 1000,
        "expires_at": record.expires_ms // 1000 if record.expires_ms else None,
        "filename": record.name,
        "purpose": record.purpose or "user_data",
        "status": "processed",
    }
