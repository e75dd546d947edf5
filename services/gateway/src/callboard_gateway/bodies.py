"""Reading a request's body: counted as it arrives, and held to a model."""

from __future__ import annotations

import re

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from callboard_shared.documents import M, parse_json, validate
from callboard_shared.errors import TooLarge, UnsupportedMedia


def header(scope: Scope, name: bytes) -> str | None:
    """One header of the request, by its lower-case name, without building all of them."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def require_json(scope: Scope) -> None:
    """415 unless the request says that it brings JSON."""
    media_type = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", media_type):
        said = f"{media_type!r}" if media_type else "none"
        raise UnsupportedMedia(
            f"Send the body with Content-Type: application/json; this request says {said}."
        )


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to exceed ``limit`` bytes, without reading on."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit:,} bytes. Upload large inputs as files (POST /v1/files)."
    )


async def read_model(
    scope: Scope, receive: Receive, limit: int, model: type[M], *, optional: bool = False
) -> M:
    """The JSON body of the request as a ``model``; ``optional``: no body is an empty object."""
    body = await read_body(scope, receive, limit)
    if optional and not body:
        return model()
    require_json(scope)
    return validate(model, parse_json(body))
