"""Storing a file, without I/O on the network: a small one in one request, a large one in pieces that survive breaks.

Pieces go by tus 1.0.0 (https://tus.io/protocols/resumable-upload), each with its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import BinaryIO

import httpx

from callboard_client import _calls as calls
from callboard_client._errors import CallboardError
from callboard_client._models import File
from callboard_client._retries import Retries, connection_failed, exchange, pause_or_raise
from callboard_client._wire import Call, Flow, Pause, Request

IN_PIECES_FROM = 64 * 1024**2
PIECE_BYTES = 16 * 1024**2
_VERSION = {"tus-resumable": "1.0.0"}
_PUT_TOGETHER_S = 600
"""How long the gateway may take to make one file of the pieces."""
_SEND_AGAIN = frozenset({409, 460})
"""It is at another offset, or the piece was damaged: look where it is, and go on there."""


def upload(
    file: BinaryIO, name: str, media_type: str | None, purpose: str | None, retries: Retries
) -> Flow[File]:
    """``file`` is read from its start."""
    size = _size(file)
    if size is None or size < IN_PIECES_FROM:
        return (yield from exchange(calls.upload_file(file, name, media_type, purpose), retries))
    return (yield from in_pieces(file, size, name, purpose, retries))


def in_pieces(file: BinaryIO, size: int, name: str, purpose: str | None, retries: Retries) -> Flow[File]:
    """Piece after piece; after a break from where the gateway is."""
    place = yield from exchange(_begin(size, name, purpose), retries)
    offset, file_id, tries = 0, None, 0
    while file_id is None:
        file.seek(offset)
        piece = file.read(min(PIECE_BYTES, size - offset))
        if not piece and offset < size:
            raise CallboardError(f"{name} has become shorter than the {size} bytes that it had.")
        before = offset
        try:
            response = yield _piece(place, offset, piece, last=offset + len(piece) == size)
            assert response is not None
            if response.is_success:
                offset, file_id = _where(response)
                tries = 0
                continue
            tries += 1
            if response.status_code in _SEND_AGAIN and tries <= retries.times:
                pause = retries.pause(tries) or 0.0
            else:
                pause = pause_or_raise(response, retries, tries)
        except httpx.TransportError as error:
            tries += 1
            given = retries.pause(tries)
            if given is None:
                raise connection_failed(error, tries) from error
            pause = given
        yield Pause(pause)
        offset, file_id = yield from exchange(_look(place), retries)
        tries = 0 if offset > before else tries
    return (yield from exchange(calls.get_file(file_id), retries))


def _size(file: BinaryIO) -> int | None:
    """Bytes of a file; None if only reading it could tell."""
    try:
        return file.seek(0, os.SEEK_END)
    except (OSError, AttributeError):
        return None


def _begin(size: int, name: str, purpose: str | None) -> Call[str]:
    """One that is announced twice because an answer got lost goes by itself."""
    said = [f"{key} {_encoded(value)}" for key, value in (("filename", name), ("purpose", purpose)) if value]
    headers = {**_VERSION, "upload-length": str(size), "upload-metadata": ",".join(said)}
    return Call(
        Request("POST", "/v1/uploads", headers=headers), lambda response: str(response.headers["location"])
    )


def _piece(place: str, offset: int, piece: bytes, *, last: bool) -> Request:
    digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = {
        **_VERSION,
        "upload-offset": str(offset),
        "upload-checksum": f"sha256 {digest}",
        "content-type": "application/offset+octet-stream",
    }
    return Request("PATCH", place, headers=headers, content=piece, patience_s=_PUT_TOGETHER_S if last else 60)


def _look(place: str) -> Call[tuple[int, str | None]]:
    return Call(Request("HEAD", place, headers=_VERSION, patience_s=_PUT_TOGETHER_S), _where)


def _where(response: httpx.Response) -> tuple[int, str | None]:
    """How much is there, and the id of the file once it is whole."""
    return int(response.headers["upload-offset"]), response.headers.get("callboard-file-id")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
