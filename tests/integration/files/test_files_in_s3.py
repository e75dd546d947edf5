"""The gateway with its files in a bucket: everything that it promises of files, and a bucket that goes away."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from s3_server import URL, s3_server

from callboard_shared.files import AsyncFiles
from callboard_shared.s3_store import S3Store

DATA = random.Random(5).randbytes(900_000)
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def server(gateway: Any, tmp_path: Path) -> Iterator[Any]:
    with s3_server() as (settings, server):
        gateway.app.state.files = AsyncFiles(S3Store.at(f"{URL}/{tmp_path.name}", settings))
        yield server


@pytest.fixture(autouse=True)
def _uses_the_server(server: Any) -> None:
    pass


def left(gateway: Any) -> list[str]:
    return [content.file_id for content in gateway.app.state.files.files.store.contents()]


async def test_a_file_goes_up_comes_down_and_is_deleted(client: httpx.AsyncClient, gateway: Any) -> None:
    made = (await client.post("/v1/files", files={"file": ("a.bin", DATA)})).json()
    assert made["sha256"] == hashlib.sha256(DATA).hexdigest()
    whole = await client.get(made["url"])
    assert (whole.content, whole.headers["etag"]) == (DATA, f'"{made["sha256"]}"')
    part = await client.get(made["url"], headers={"Range": "bytes=-1000"})
    assert (part.status_code, part.content) == (206, DATA[-1000:])
    assert (
        await client.get(made["url"], headers={"If-None-Match": whole.headers["etag"]})
    ).status_code == 304
    assert left(gateway) == [made["id"]]
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == 204
    assert left(gateway) == []


async def test_pieces_become_one_file(client: httpx.AsyncClient, gateway: Any) -> None:
    place = (await client.post("/v1/uploads", headers=TUS | {"Upload-Length": str(len(DATA))})).headers[
        "location"
    ]
    headers = TUS | {"Content-Type": "application/offset+octet-stream"}
    for offset in range(0, len(DATA), 400_000):
        piece = DATA[offset : offset + 400_000]
        answer = await client.patch(place, content=piece, headers=headers | {"Upload-Offset": str(offset)})
        assert answer.status_code == 204
    file_id = answer.headers["callboard-file-id"]
    assert left(gateway) == [file_id]
    assert (await client.get(f"/v1/files/{file_id}/content")).content == DATA


async def test_a_content_that_is_lost_is_404(client: httpx.AsyncClient, gateway: Any) -> None:
    made = (await client.post("/v1/files", files={"file": ("a.bin", b"x")})).json()
    gateway.app.state.files.files.store.delete(made["id"])
    assert (await client.get(made["url"])).status_code == 404


async def test_a_bucket_that_is_away_is_503_and_nothing_is_on_record(
    client: httpx.AsyncClient, server: Any
) -> None:
    made = (await client.post("/v1/files", files={"file": ("a.bin", b"x")})).json()
    server.stop()
    for answer in (
        await client.post("/v1/files", files={"file": ("b.bin", b"x")}),
        await client.get(made["url"]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
        assert answer.json()["retryable"] is True
        assert int(answer.headers["retry-after"]) >= 1
    assert [one["id"] for one in (await client.get("/v1/files")).json()["data"]] == [made["id"]]
