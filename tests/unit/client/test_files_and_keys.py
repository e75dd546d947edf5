from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from callboard_client import ApiError, AsyncCallboard, Callboard, ConnectionFailed, NotFound, Unauthorized

FILE = {"id": "file_1", "name": "a.txt", "media_type": "text/plain", "bytes": 3}


def test_a_file_is_uploaded_as_multipart_with_its_name_and_purpose(
    gateway: Any, callboard: Callboard, make: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    gateway.on(
        "POST", "/v1/files", make.answer(503, make.problem(503, "ledger-unavailable")), make.answer(201, FILE)
    )
    assert callboard.files.upload(tmp_path / "a.txt", purpose="dataset").id == "file_1"
    for seen in gateway.seen:
        assert b'name="file"; filename="a.txt"' in seen.body
        assert b"\r\n\r\nabc\r\n" in seen.body
        assert b'name="purpose"' in seen.body


def test_an_open_file_can_be_uploaded_and_is_not_sent_twice_when_the_answer_gets_lost(
    gateway: Any, callboard: Callboard
) -> None:
    gateway.on("POST", "/v1/files", None)
    with pytest.raises(ConnectionFailed):
        callboard.files.upload(io.BytesIO(b"abc"), name="b.bin", media_type="application/x-thing")
    (seen,) = gateway.seen
    assert b"application/x-thing" in seen.body


def test_a_download_goes_on_where_the_connection_broke(
    gateway: Any, callboard: Callboard, make: Any, tmp_path: Path
) -> None:
    def rest(seen: Any) -> Any:
        start = int(seen.headers["range"].removeprefix("bytes=").rstrip("-"))
        return make.answer(206, b"0123456789"[start:])

    gateway.on("GET", "/v1/files/file_1/content", make.answer(200, b"0123456789", cut=4), None, rest)
    path = callboard.files.download("file_1", tmp_path / "out.bin")
    assert path.read_bytes() == b"0123456789"
    assert gateway.seen[-1].headers["range"] == "bytes=4-"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_a_download_that_fails_leaves_nothing_behind(
    gateway: Any, callboard: Callboard, make: Any, tmp_path: Path
) -> None:
    gateway.on("GET", "/v1/files/file_1/content", make.answer(200, b"0123456789", cut=0))
    with pytest.raises(ConnectionFailed):
        callboard.files.download("file_1", tmp_path / "out.bin")
    with pytest.raises(NotFound):
        callboard.files.download("file_2", tmp_path / "out.bin")
    assert list(tmp_path.iterdir()) == []


async def test_the_async_client_stores_and_fetches_files_alike(
    gateway: Any, async_callboard: AsyncCallboard, make: Any, tmp_path: Path
) -> None:
    gateway.on("POST", "/v1/files", make.answer(201, FILE))
    gateway.on("GET", "/v1/files/file_1/content", make.answer(200, b"abc"))
    (tmp_path / "a.txt").write_bytes(b"abc")
    stored = await async_callboard.files.upload(tmp_path / "a.txt")
    assert await async_callboard.files.read(stored) == b"abc"
    assert (await async_callboard.files.download(stored, tmp_path / "b.txt")).read_bytes() == b"abc"
    assert b"\r\n\r\nabc\r\n" in gateway.seen[0].body


def test_a_new_key_shows_its_secret_and_hides_it_from_the_repr(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    answer = {"id": "key_1", "name": "ci", "key": "cb_secret", "prefix": "cb_se", "scopes": ["jobs:read"]}
    gateway.on("POST", "/v1/keys", make.answer(201, answer))
    key = callboard.keys.create("ci", ["jobs:read"])
    assert key.key == "cb_secret"
    assert "cb_secret" not in repr(key)
    assert gateway.seen[0].json == {"name": "ci", "scopes": ["jobs:read"]}


def test_no_key_at_all_is_explained_when_the_gateway_refuses(
    gateway: Any, make: Any, no_environment: None
) -> None:
    gateway.on("GET", "/v1/queues", make.answer(401, make.problem(401, "unauthorized")))
    with Callboard(gateway.url) as callboard, pytest.raises(Unauthorized, match="CALLBOARD_API_KEY"):
        callboard.queues()
    assert "authorization" not in gateway.seen[0].headers


class Pieces:
    """A gateway's side of an upload in pieces, which a test makes go wrong."""

    def __init__(self, gateway: Any, make: Any, size: int) -> None:
        self.make, self.size, self.data, self.faults = make, size, b"", list[Any]()
        gateway.on("POST", "/v1/uploads", make.answer(201, b"", {"location": "/v1/uploads/upload_1"}))
        gateway.on("PATCH", "/v1/uploads/upload_1", self.take)
        gateway.on("HEAD", "/v1/uploads/upload_1", lambda seen: make.answer(200, b"", self.where()))
        gateway.on("GET", "/v1/files/file_1", make.answer(200, {**FILE, "bytes": size}))

    def where(self) -> dict[str, str]:
        done = {"callboard-file-id": "file_1"} if len(self.data) == self.size else {}
        return {"upload-offset": str(len(self.data)), **done}

    def take(self, seen: Any) -> Any:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault != "lost":
            return fault
        if int(seen.headers["upload-offset"]) != len(self.data):
            return self.make.answer(409, self.make.problem(409, "upload-offset"))
        digest = base64.b64encode(hashlib.sha256(seen.body).digest()).decode()
        assert seen.headers["upload-checksum"] == f"sha256 {digest}"
        self.data += seen.body
        if fault == "lost":  # it counts, and nobody hears of it
            return self.make.answer(502, b"")
        return self.make.answer(204, b"", self.where())


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard_client._uploads.IN_PIECES_FROM", 10)
    monkeypatch.setattr("callboard_client._uploads.PIECE_BYTES", 4)


@pytest.mark.usefixtures("small_pieces")
def test_a_large_file_goes_in_pieces(gateway: Any, callboard: Callboard, make: Any, tmp_path: Path) -> None:
    pieces = Pieces(gateway, make, 10)
    (tmp_path / "large.bin").write_bytes(b"0123456789")
    stored = callboard.files.upload(tmp_path / "large.bin", purpose="dataset")
    assert (stored.id, stored.bytes, pieces.data) == ("file_1", 10, b"0123456789")
    begun, *sent, _ = gateway.seen
    assert begun.headers["upload-length"] == "10"
    said = dict(pair.split(" ") for pair in begun.headers["upload-metadata"].split(","))
    assert {key: base64.b64decode(value) for key, value in said.items()} == {
        "filename": b"large.bin",
        "purpose": b"dataset",
    }
    assert [len(one.body) for one in sent] == [4, 4, 2]


@pytest.mark.usefixtures("small_pieces")
def test_a_small_one_does_not(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("POST", "/v1/files", make.answer(201, FILE))
    assert callboard.files.upload(io.BytesIO(b"012345678")).id == "file_1"


@pytest.mark.usefixtures("small_pieces")
def test_pieces_go_on_where_the_gateway_is_after_any_fault(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    pieces = Pieces(gateway, make, 10)
    away = make.answer(503, make.problem(503, "ledger-unavailable"))
    damaged = make.answer(460, make.problem(460, "checksum-mismatch"))
    pieces.faults = [None, away, "lost", damaged, "lost"]
    assert callboard.files.upload(io.BytesIO(b"0123456789")).id == "file_1"
    assert pieces.data == b"0123456789"


@pytest.mark.usefixtures("small_pieces")
def test_pieces_go_on_after_broken_connections(gateway: Any, callboard: Callboard, make: Any) -> None:
    pieces = Pieces(gateway, make, 10)
    gateway.on("PATCH", "/v1/uploads/upload_1", pieces.take, None, None, pieces.take)
    assert callboard.files.upload(io.BytesIO(b"0123456789")).id == "file_1"
    assert pieces.data == b"0123456789"


@pytest.mark.usefixtures("small_pieces")
def test_pieces_that_never_arrive_are_an_error(gateway: Any, callboard: Callboard, make: Any) -> None:
    pieces = Pieces(gateway, make, 10)
    gateway.on("PATCH", "/v1/uploads/upload_1", None)
    with pytest.raises(ConnectionFailed):
        callboard.files.upload(io.BytesIO(b"0123456789"))
    gateway.on("PATCH", "/v1/uploads/upload_1", make.answer(460, make.problem(460, "checksum-mismatch")))
    with pytest.raises(ApiError, match="so it is"):
        callboard.files.upload(io.BytesIO(b"0123456789"))
    gateway.on("PATCH", "/v1/uploads/upload_1", make.answer(507, make.problem(507, "storage-full")))
    with pytest.raises(ApiError) as refused:
        callboard.files.upload(io.BytesIO(b"0123456789"))
    assert refused.value.problem.code == "storage-full"
    assert pieces.data == b""


@pytest.mark.usefixtures("small_pieces")
async def test_the_async_client_sends_pieces_too(
    gateway: Any, async_callboard: AsyncCallboard, make: Any, tmp_path: Path
) -> None:
    pieces = Pieces(gateway, make, 10)
    pieces.faults = [None, "lost"]
    (tmp_path / "large.bin").write_bytes(b"0123456789")
    assert (await async_callboard.files.upload(tmp_path / "large.bin")).id == "file_1"
    assert pieces.data == b"0123456789"
