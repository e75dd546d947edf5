"""Files: upload in pieces, read whole or by range, list, delete. What is another key's is not there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.lingering import LingeringResponse
from callboard_gateway.multipart import FormReader, boundary_of
from callboard_gateway.problems import error_response, problem_response
from callboard_gateway.routes.parameters import Cursor, Limit
from callboard_gateway.upload_form import MAX_PURPOSE, UploadForm
from callboard_shared.errors import CallboardError, Conflict, Malformed, NotFound, TooLarge
from callboard_shared.files import (
    AsyncFiles,
    FileRecord,
    QuotaReached,
    UploadSettings,
    configured_store,
)
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger, filing, modelling
from callboard_shared.ledger.uploading import PART_OF

FORM_OVERHEAD = 64 * 1024
"""Bytes of a form that may be something else than the file: boundaries, headers, the purpose."""


router = APIRouter(tags=["files"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]


class FileObject(BaseModel):
    """A file that the key stored, or that a job of the key made."""

    id: str = Field(examples=["file_01k9xq3v5ef7v8m2c4r6t8w0y2"])
    name: str = Field(examples=["reviews.csv"])
    media_type: str = Field(description="Judged by the content.", examples=["text/csv"])
    bytes: int
    sha256: str = Field(description="Hexadecimal; also the ETag of the content.")
    purpose: str | None
    created_at: str = Field(examples=["2026-11-22T21:30:00.000Z"])
    expires_at: str | None
    url: str = Field(description="Path of the content.", examples=["/v1/files/file_01k9…/content"])


class FileList(BaseModel):
    data: list[FileObject]
    next_cursor: str | None


def install(app: FastAPI) -> None:
    app.state.files = AsyncFiles(configured_store())
    settings = UploadSettings()
    app.state.max_file_bytes, app.state.max_stored_bytes = settings.max_file_bytes, settings.max_stored_bytes
    app.include_router(router)


UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The content."},
                        "purpose": {
                            "type": "string",
                            "maxLength": MAX_PURPOSE,
                            "description": "What the file is for; kept and given back.",
                        },
                    },
                }
            }
        },
    }
}
CONTENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The content, in its own media type.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The range that was asked for."},
    304: {"description": "The content is the one that `If-None-Match` names."},
    412: {"description": "The content is not the one that `If-Match` names."},
    416: {"description": "The range lies outside the content."},
}


@router.post(
    "/v1/files",
    status_code=201,
    response_model=FileObject,
    summary="Upload a file",
    operation_id="upload_file",
    openapi_extra=UPLOAD_BODY,
)
async def upload_file(request: Request, caller: Writer) -> Response:
    """Store the part `file` of a multipart form. Its media type is judged by its bytes."""
    files: AsyncFiles = request.app.state.files
    limit: int = request.app.state.max_file_bytes
    quota = quota_of(request, caller)
    ledger: AsyncLedger = request.app.state.ledger
    try:
        await _check_room(request, ledger, caller.owner, quota)
        record = await _receive(request, files, caller.owner, limit)
    except (TooLarge, QuotaReached) as error:
        return LingeringResponse(error_response(request, error))
    try:
        refused = await ledger.run(filing.put_file(record, quota))
        if refused is not None:
            raise refused
    except CallboardError:
        await files.delete(record.id)
        raise
    return JSONResponse(record.view(), 201, headers={"Location": f"/v1/files/{record.id}"})


def quota_of(request: Request, caller: Authenticated) -> int:
    """Bytes that the key may have stored."""
    usual: int = request.app.state.max_stored_bytes
    return caller.limits.storage_bytes or usual


@router.get("/v1/files", response_model=FileList, summary="List files", operation_id="list_files")
async def list_files(
    request: Request,
    caller: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """The key's files, newest first."""
    ledger: AsyncLedger = request.app.state.ledger
    before = position_of(cursor, "file")
    records, following = await filing.list_files(ledger, caller.owner, limit=limit, before=before)
    data = [record.view() for record in records]
    return JSONResponse({"data": data, "next_cursor": cursor_of(following)})


@router.get("/v1/files/{file_id}", response_model=FileObject, summary="A file", operation_id="get_file")
async def get_file(request: Request, file_id: str, caller: Reader) -> Response:
    record = await owned(request, file_id, caller)
    return JSONResponse(record.view())


@router.get(
    "/v1/files/{file_id}/content",
    response_class=StreamingResponse,
    responses=CONTENT_RESPONSES,
    summary="A file's content",
    operation_id="get_file_content",
)
@router.head("/v1/files/{file_id}/content", include_in_schema=False)
async def get_content(request: Request, file_id: str, caller: Reader) -> Response:
    """The whole content, or one range of it (`Range: bytes=…`); the ETag is the SHA-256."""
    record = await owned(request, file_id, caller)
    headers = content_headers(record)
    if not _names(request.headers.get("if-match", "*"), headers["ETag"], strong=True):
        raise PreconditionFailed("The content is not the one that If-Match names.")
    if _names(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    asked = request.headers.get("range") if request.method == "GET" else None  # RFC 9110, 14.2
    if asked and request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        asked = None  # the client's part is of another content (RFC 9110, 13.1.5)
    span = Span.parse(asked, record.bytes)
    if span is None:
        problem = RangeNotSatisfiable(f"The content has {record.bytes} bytes.").problem()
        return problem_response(request, problem, {"Content-Range": f"bytes */{record.bytes}"})
    headers["Content-Length"] = str(span.length)
    if span.partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{record.bytes}"
    status = 206 if span.partial else 200
    if request.method == "HEAD" or span.length == 0:
        return Response(status_code=status, headers=headers)
    body = await _opened(request.app.state.files.read(record.id, span.start, span.length))
    return StreamingResponse(body, status, headers)


@router.delete("/v1/files/{file_id}", status_code=204, summary="Delete a file", operation_id="delete_file")
async def delete_file(request: Request, file_id: str, caller: Writer) -> Response:
    record = await owned(request, file_id, caller)
    if record.held_by is not None:
        await _check_free(request.app.state.ledger, record)
    await request.app.state.ledger.run(filing.delete_file(record.id, caller.owner))
    await request.app.state.files.delete(record.id)
    return Response(status_code=204)


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a content to send."""

    start: int
    length: int
    partial: bool

    @classmethod
    def parse(cls, header: str | None, size: int) -> Span | None:
        """``None`` where the range lies outside; what is no single byte range is ignored (RFC 9110, 14.2)."""
        match = re.fullmatch(r"(?i:bytes)=\s*(\d{0,18})-(\d{0,18})\s*", header or "")
        if match is None or not (match[1] or match[2]):
            return cls(0, size, partial=False)
        if not match[1]:
            start, stop = max(0, size - int(match[2])), size
        else:
            start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
            if match[2] and int(match[2]) < start:
                return cls(0, size, partial=False)
        return cls(start, stop - start, partial=True) if start < stop else None


def content_headers(record: FileRecord) -> dict[str, str]:
    """The headers of a content; it is always saved, never shown as a page of this origin."""
    text = record.media_type.startswith("text/")
    return {
        "Content-Type": record.media_type + ("; charset=utf-8" if text else ""),
        "Content-Disposition": content_disposition(record.name),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "ETag": f'"{record.sha256}"',
    }


def content_disposition(name: str) -> str:
    """RFC 6266: an ASCII name for all, and the true one in ``filename*`` (RFC 8187) where it differs."""
    plain = re.sub(r"[^ !#-$&-\[\]-~]", "_", name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


async def _check_room(request: Request, ledger: AsyncLedger, owner: str, quota: int) -> None:
    """Refuse what is announced as too much before it is sent. Raises QuotaReached."""
    declared = request.headers.get("content-length", "")
    size = int(declared) - FORM_OVERHEAD if declared.isdigit() else 0
    stored = await ledger.run(filing.stored_bytes(owner))
    if stored + max(0, size) > quota:
        raise QuotaReached.of(quota, stored)


async def _receive(request: Request, files: AsyncFiles, owner: str, limit: int) -> FileRecord:
    """Read the form into the store; nothing stays there unless the whole form was right."""
    reader = FormReader(boundary_of(request.headers.get("content-type")))
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit + FORM_OVERHEAD:
        raise TooLarge(f"A file may have at most {limit:,} bytes.")
    async with AsyncExitStack() as stack:
        form = UploadForm(files, owner, limit, stack)
        received = 0
        try:
            async for chunk in request.stream():
                received += len(chunk)
                if received > limit + FORM_OVERHEAD:
                    raise TooLarge(f"A file may have at most {limit:,} bytes.")
                for event in reader.feed(chunk):
                    await form.take(event)
        except ClientDisconnect:
            raise Malformed("The connection ended before the body did.") from None
        reader.close()
        return await form.finish()


async def owned(request: Request, file_id: str, caller: Authenticated) -> FileRecord:
    record: FileRecord | None = None
    if is_id(file_id, "file"):
        record = await request.app.state.ledger.run(filing.get_file(file_id))
    if record is None or record.owner != caller.owner or record.held_by == PART_OF:
        raise NotFound("There is no such file.")
    return record


async def _check_free(ledger: AsyncLedger, record: FileRecord) -> None:
    """Raises Conflict, naming what the file is a part of and what would remove it."""
    if record.held_by == "a checkpoint":
        raise Conflict(
            "The file is a part of a checkpoint, from which a training job would go on. It goes when that job ends; "
            "POST /v1/jobs/{id}/cancel ends one.",
            code="held",
        )
    for model in await ledger.run(modelling.list_models(record.owner)):
        if any(part.id == record.id for part in model.files):
            raise Conflict(
                f"The file is a part of model {model.full_name} and goes with it: DELETE /v1/models/{model.full_name}.",
                code="held",
            )


async def _opened(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read the first piece now, so that a content that is gone is a 404 and not half an answer."""
    first = await anext(body, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in body:
            yield piece

    return whole()


def _names(header: str | None, etag: str, *, strong: bool = False) -> bool:
    """Whether the header names the tag; where it must be the same bytes, a weak one does not (RFC 9110, 8.8.3.2)."""
    if header is None:
        return False
    tags = [tag.strip() for tag in header.split(",")]
    return header.strip() == "*" or etag in (tags if strong else [tag.removeprefix("W/") for tag in tags])


class PreconditionFailed(CallboardError):
    code = "precondition-failed"
    title = "The content is another one"
    status = 412


class RangeNotSatisfiable(CallboardError):
    code = "range-not-satisfiable"
    title = "The range lies outside the content"
    status = 416
