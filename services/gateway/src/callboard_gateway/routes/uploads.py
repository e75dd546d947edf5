"""Resumable uploads by the protocol tus 1.0.0: core, creation, termination, checksum, expiration.

(https://tus.io/protocols/resumable-upload) What is done with the pieces is in ``callboard_gateway.uploads``.
"""

from __future__ import annotations

import base64
from email.utils import formatdate
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.lingering import LingeringResponse
from callboard_gateway.problems import error_response
from callboard_gateway.routes.files import FileObject, quota_of
from callboard_gateway.schemas import problems
from callboard_gateway.upload_form import checked_name, checked_purpose
from callboard_gateway.uploads import ALGORITHMS, Checksum, Uploads
from callboard_shared.errors import CallboardError, Malformed, NotFound, TooLarge, UnsupportedMedia
from callboard_shared.ledger import filing
from callboard_shared.ledger.uploading import PartialUpload
from callboard_shared.view import timestamp

VERSION = "1.0.0"
PIECE = "application/offset+octet-stream"
FILE_ID = "Callboard-File-Id"
MAX_METADATA = 4096

router = APIRouter(tags=["files"])


class ProtocolVersion(CallboardError):
    code = "upload-protocol"
    title = "Another version of the upload protocol"
    status = 412


class UploadObject(BaseModel):
    """A file that arrives in pieces (tus 1.0.0)."""

    id: str = Field(examples=["upload_01k9xq3v5ef7v8m2c4r6t8w0y2"])
    name: str
    purpose: str | None
    bytes: int = Field(description="Of the whole file.")
    offset: int = Field(description="Bytes that have arrived.")
    created_at: str
    expires_at: str = Field(description="It goes then, unless something more comes.")
    file: FileObject | None = Field(description="What became of it, once it is whole.")


def install(app: FastAPI) -> None:
    app.state.finishing_uploads = {}
    app.include_router(router)


def _header(name: str, description: str, *, required: bool = True) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "required": required, "description": description, "schema": {"type": "string"},
    }  # fmt: skip


_VERSION = _header("Tus-Resumable", f"`{VERSION}`.")
_CREATION = {
    "parameters": [
        _VERSION,
        _header("Upload-Length", "Bytes of the file."),
        _header("Upload-Metadata", "`filename BASE64,purpose BASE64`.", required=False),
    ]
}
_PIECE = {
    "parameters": [
        _VERSION,
        _header("Upload-Offset", "Where the piece begins: the upload's offset."),
        _header("Upload-Checksum", "`sha256 BASE64` (or sha1) of the piece.", required=False),
    ],
    "requestBody": {"required": True, "content": {PIECE: {"schema": {"type": "string", "format": "binary"}}}},
}


async def _tus(request: Request, _: Annotated[Authenticated, Depends(require("jobs:write"))]) -> None:
    """Raises ProtocolVersion; every answer names the version."""
    request.scope["callboard.headers"].append((b"tus-resumable", VERSION.encode()))
    if request.headers.get("tus-resumable") != VERSION:
        request.scope["callboard.headers"].append((b"tus-version", VERSION.encode()))
        raise ProtocolVersion(f"Send the header Tus-Resumable: {VERSION}.")


Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
Tus = Depends(_tus)
_NO_CONTENT: dict[int | str, dict[str, Any]] = {
    204: {
        "description": f"`Upload-Offset`: how much is there; `{FILE_ID}`: the file's id, once it is whole.",
    }
}


@router.options("/v1/uploads", include_in_schema=False)
@router.options("/v1/uploads/{upload_id}", include_in_schema=False)
async def options(request: Request) -> Response:
    """What of the protocol is here; open to all, as the protocol wants it."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,termination,checksum,expiration",
            "Tus-Max-Size": str(request.app.state.max_file_bytes),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        },
    )


@router.post(
    "/v1/uploads",
    status_code=201,
    dependencies=[Tus],
    response_class=Response,
    responses={
        201: {"description": "`Location` is where the pieces go."},
        **problems(400, 401, 403, 413, 422, 429, 503),
    },
    summary="Begin a resumable upload",
    operation_id="create_upload",
    openapi_extra=_CREATION,
)
async def create(request: Request, caller: Writer) -> Response:
    """tus 1.0.0: then PATCH the pieces, one after the other; HEAD says where to go on after a break."""
    size = _number(request, "Upload-Length")
    if size > request.app.state.max_file_bytes:
        raise TooLarge(f"A file may have at most {request.app.state.max_file_bytes:,} bytes.")
    metadata = request.headers.get("upload-metadata", "")
    given = _metadata(metadata)
    name = checked_name(given.get("filename") or given.get("name") or "file")
    purpose = checked_purpose(given.get("purpose"))
    upload = await _uploads(request, caller).begin(caller.owner, size, name, purpose, metadata)
    return Response(status_code=201, headers={"Location": f"/v1/uploads/{upload.id}", **_headers(upload)})


@router.get(
    "/v1/uploads/{upload_id}",
    response_model=UploadObject,
    responses=problems(401, 403, 404, 429, 503),
    summary="A resumable upload",
    operation_id="get_upload",
)
async def get(
    request: Request, upload_id: str, caller: Annotated[Authenticated, Depends(require("jobs:read"))]
) -> Response:
    upload = await _uploads(request, caller).find(caller.owner, upload_id)
    file = await request.app.state.ledger.run(filing.get_file(upload.file_id)) if upload.file_id else None
    return JSONResponse(
        {
            "id": upload.id,
            "name": upload.name,
            "purpose": upload.purpose,
            "bytes": upload.bytes,
            "offset": upload.offset,
            "created_at": timestamp(upload.created_ms),
            "expires_at": timestamp(upload.expires_ms),
            "file": file.view() if file else None,
        }
    )


@router.head("/v1/uploads/{upload_id}", dependencies=[Tus], include_in_schema=False)
async def head(request: Request, upload_id: str, caller: Writer) -> Response:
    """Where to go on. An upload that is whole, of which a crash kept the file from being made, gets it now."""
    uploads = _uploads(request, caller)
    upload = await uploads.whole(await uploads.find(caller.owner, upload_id))
    headers = {"Upload-Length": str(upload.bytes), "Cache-Control": "no-store", **_headers(upload)}
    if upload.metadata:
        headers["Upload-Metadata"] = upload.metadata
    return Response(headers=headers)


@router.patch(
    "/v1/uploads/{upload_id}",
    status_code=204,
    dependencies=[Tus],
    response_class=Response,
    responses={**_NO_CONTENT, **problems(400, 401, 403, 404, 409, 413, 415, 429, 503)},
    summary="Send a piece of an upload",
    operation_id="append_to_upload",
    openapi_extra=_PIECE,
)
async def append(request: Request, upload_id: str, caller: Writer) -> Response:
    """A piece of any size. If the connection breaks, what came of it counts, unless it has a checksum."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != PIECE:
        raise UnsupportedMedia(f"A piece is sent as {PIECE}.")
    given = request.headers.get("upload-checksum")
    checksum = Checksum.parse(given) if given is not None else None
    offset = _number(request, "Upload-Offset")
    uploads = _uploads(request, caller)
    upload = await uploads.find(caller.owner, upload_id)
    try:
        upload = await uploads.take(upload, offset, request.stream(), checksum)
    except TooLarge as error:
        return LingeringResponse(error_response(request, error))
    return Response(status_code=204, headers=_headers(upload))


@router.delete(
    "/v1/uploads/{upload_id}",
    status_code=204,
    dependencies=[Tus],
    responses=problems(401, 403, 404, 429, 503),
    summary="Give up an upload",
    operation_id="delete_upload",
    openapi_extra={"parameters": [_VERSION]},
)
async def delete(request: Request, upload_id: str, caller: Writer) -> Response:
    """What came of it goes; a file that it has become stays."""
    uploads = _uploads(request, caller)
    await uploads.remove(await uploads.find(caller.owner, upload_id))
    return Response(status_code=204)


@router.post("/v1/uploads/{upload_id}", dependencies=[Tus], include_in_schema=False)
async def override(request: Request, upload_id: str, caller: Writer) -> Response:
    """For clients that can send nothing but GET and POST: ``X-HTTP-Method-Override``."""
    ways = {"PATCH": append, "DELETE": delete, "HEAD": head}
    way = ways.get(request.headers.get("x-http-method-override", "").upper())
    if way is None:
        raise NotFound("POST to an upload needs X-HTTP-Method-Override: PATCH, DELETE or HEAD.")
    return await way(request, upload_id, caller)


def _uploads(request: Request, caller: Authenticated) -> Uploads:
    state = request.app.state
    return Uploads(state.ledger, state.files, quota_of(request, caller), state.finishing_uploads)


def _headers(upload: PartialUpload) -> dict[str, str]:
    headers = {
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": formatdate(upload.expires_ms / 1000, usegmt=True),
    }
    return headers | ({FILE_ID: upload.file_id} if upload.file_id else {})


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Malformed(f"{name} is missing, or no number of bytes.")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """``key BASE64,key BASE64``: the values as text. Raises Malformed."""
    if len(header) > MAX_METADATA:
        raise Malformed(f"Upload-Metadata has more than {MAX_METADATA} characters.")
    found = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except ValueError:  # of binascii, of letters beyond ASCII, and of what is no UTF-8
            raise Malformed(f"Upload-Metadata: the value of '{key[:40]}' is not base64 of UTF-8.") from None
    return found
