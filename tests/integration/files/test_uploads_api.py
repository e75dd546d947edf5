"""Resumable uploads (tus 1.0.0): pieces, breaks, and one file in the end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from callboard_shared.errors import LedgerUnavailable
from callboard_shared.ledger import filing, keys
from callboard_shared.ledger.uploading import TTL_MS

TUS = {"Tus-Resumable": "1.0.0"}
DATA = random.Random(7).randbytes(300_000)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def begin(client: httpx.AsyncClient, size: int, **metadata: str) -> str:
    given = ",".join(f"{name} {encoded(value)}" for name, value in metadata.items())
    headers = TUS | {"Upload-Length": str(size)} | ({"Upload-Metadata": given} if given else {})
    answer = await client.post("/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.headers["location"]


async def send(
    client: httpx.AsyncClient, place: str, offset: int, piece: bytes, **headers: str
) -> httpx.Response:
    sent = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"} | headers
    return await client.patch(place, content=piece, headers=sent)


async def offset_of(client: httpx.AsyncClient, place: str) -> int:
    answer = await client.head(place, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def stored(gateway: Any, owner: str) -> int:
    count: int = await gateway.ledger.run(filing.stored_bytes(owner))
    return count


async def owner_of(client: httpx.AsyncClient) -> str:
    listed = (await client.get("/v1/keys")).json()["data"]
    owner: str = listed[0]["id"]
    return owner


async def test_what_the_server_knows_of_the_protocol(gateway: Any) -> None:
    async with gateway.client("") as anyone:
        answer = await anyone.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,termination,checksum,expiration"
    assert answer.headers["tus-max-size"] == "1000000"
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"


@pytest.mark.parametrize("cuts", [[300_000], [100_000, 200_000, 300_000], [1, 2, 300_000]])
async def test_pieces_become_one_file(client: httpx.AsyncClient, gateway: Any, cuts: list[int]) -> None:
    place = await begin(client, len(DATA), filename="소리.bin", purpose="input")
    offset = 0
    for cut in cuts:
        answer = await send(client, place, offset, DATA[offset:cut])
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(cut))
        assert ("callboard-file-id" in answer.headers) == (cut == len(DATA))
        offset = cut
    file_id = answer.headers["callboard-file-id"]
    file = (await client.get(f"/v1/files/{file_id}")).json()
    assert (file["name"], file["purpose"], file["bytes"]) == ("소리.bin", "input", len(DATA))
    assert file["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (await client.get(file["url"])).content == DATA
    assert len(gateway.contents()) == 1, "the parts are gone"
    assert [one["id"] for one in (await client.get("/v1/files")).json()["data"]] == [file_id]
    shown = (await client.get(place)).json()
    assert (shown["bytes"], shown["offset"], shown["file"]) == (len(DATA), len(DATA), file)
    assert await stored(gateway, await owner_of(client)) == len(DATA)


async def test_the_media_type_is_judged_by_the_whole(client: httpx.AsyncClient) -> None:
    place = await begin(client, 21, filename="a.csv")
    await send(client, place, 0, b"text,label\n")
    file_id = (await send(client, place, 11, b"\xc3\xa9 fine,1\n")).headers["callboard-file-id"]
    assert (await client.get(f"/v1/files/{file_id}")).json()["media_type"] == "text/csv"


async def test_an_empty_file_is_there_at_once(client: httpx.AsyncClient) -> None:
    place = await begin(client, 0)
    answer = await client.head(place, headers=TUS)
    file = (await client.get(f"/v1/files/{answer.headers['callboard-file-id']}")).json()
    assert (file["bytes"], file["sha256"]) == (0, hashlib.sha256(b"").hexdigest())


async def test_head_says_what_was_announced(client: httpx.AsyncClient) -> None:
    place = await begin(client, 10, filename="a.txt")
    answer = await client.head(place, headers=TUS)
    assert (answer.headers["upload-length"], answer.headers["upload-offset"]) == ("10", "0")
    assert answer.headers["upload-metadata"] == f"filename {encoded('a.txt')}"
    assert answer.headers["upload-expires"].endswith("GMT")


async def test_a_piece_at_another_offset_is_409_and_changes_nothing(client: httpx.AsyncClient) -> None:
    place = await begin(client, 10)
    await send(client, place, 0, b"abc")
    for offset in (0, 2, 4):
        answer = await send(client, place, offset, b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "upload-offset")
    assert await offset_of(client, place) == 3


async def test_of_two_at_the_same_offset_one_counts(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 10)
    answers = await asyncio.gather(*(send(client, place, 0, bytes([n]) * 4) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409, 409]
    assert await offset_of(client, place) == 4
    assert len(gateway.contents()) == 1


async def test_more_than_announced_is_refused_and_not_kept(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 10)
    assert (await send(client, place, 0, b"x" * 11)).status_code == 413
    assert await offset_of(client, place) == 0
    assert gateway.contents() == []


async def cut_off(gateway: Any, place: str, offset: int, piece: bytes, *headers: str) -> None:
    """Announce more than is sent, then break the connection."""
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [
        f"PATCH {place} HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.key}", "Tus-Resumable: 1.0.0",
        f"Upload-Offset: {offset}", "Content-Type: application/offset+octet-stream", f"Content-Length: {len(piece) + 1000}",
        *headers,
    ]  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode() + piece)
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()


@pytest.mark.parametrize("seed", range(3))
async def test_what_came_before_a_break_counts(client: httpx.AsyncClient, gateway: Any, seed: int) -> None:
    draw = random.Random(seed)
    place = await begin(client, len(DATA))
    offset = 0
    for _ in range(4):
        size = draw.randrange(1, 60_000)
        await cut_off(gateway, place, offset, DATA[offset : offset + size])
        async with asyncio.timeout(5):
            while (now := await offset_of(client, place)) == offset:
                await asyncio.sleep(0.01)
        assert offset < now <= offset + size
        offset = now
    answer = await send(client, place, offset, DATA[offset:])
    file = (await client.get(f"/v1/files/{answer.headers['callboard-file-id']}")).json()
    assert file["sha256"] == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_piece_that_its_checksum_does_not_fit_is_not_kept(
    client: httpx.AsyncClient, gateway: Any, algorithm: str
) -> None:
    place = await begin(client, 6)
    good = base64.b64encode(hashlib.new(algorithm, b"abc").digest()).decode()
    answer = await send(client, place, 0, b"abX", **{"Upload-Checksum": f"{algorithm} {good}"})
    assert (answer.status_code, answer.json()["code"]) == (460, "checksum-mismatch")
    assert await offset_of(client, place) == 0
    assert gateway.contents() == []
    assert (
        await send(client, place, 0, b"abc", **{"Upload-Checksum": f"{algorithm} {good}"})
    ).status_code == 204


async def test_of_a_piece_with_a_checksum_nothing_counts_if_it_breaks_off(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    place = await begin(client, 5000)
    await cut_off(gateway, place, 0, b"x" * 500, f"Upload-Checksum: sha1 {encoded('x' * 20)}")
    await asyncio.sleep(0.2)
    assert await offset_of(client, place) == 0
    assert gateway.contents() == []


async def test_an_upload_that_is_given_up_leaves_nothing(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 10)
    await send(client, place, 0, b"abc")
    assert (await client.delete(place, headers=TUS)).status_code == 204
    for answer in (
        await client.head(place, headers=TUS), await client.get(place), await send(client, place, 3, b"x"),
        await client.delete(place, headers=TUS),
    ):  # fmt: skip
        assert answer.status_code == 404
    assert gateway.contents() == []
    assert await stored(gateway, await owner_of(client)) == 0


async def test_a_file_stays_when_its_upload_is_forgotten(client: httpx.AsyncClient) -> None:
    place = await begin(client, 3)
    file_id = (await send(client, place, 0, b"abc")).headers["callboard-file-id"]
    assert (await client.delete(place, headers=TUS)).status_code == 204
    assert (await client.get(f"/v1/files/{file_id}/content")).content == b"abc"


async def test_another_keys_upload_is_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    place = await begin(client, 10)
    for answer in (
        await stranger.head(place, headers=TUS), await stranger.get(place), await send(stranger, place, 0, b"x"),
        await stranger.delete(place, headers=TUS),
    ):  # fmt: skip
        assert answer.status_code == 404
    assert await offset_of(client, place) == 0


async def test_a_part_is_no_file(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 10)
    await send(client, place, 0, b"abc")
    part = gateway.contents()[0].name
    for path in (f"/v1/files/{part}", f"/v1/files/{part}/content"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/v1/files/{part}")).status_code == 404
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_gateway_that_died_before_the_file_was_made_costs_nothing(
    client: httpx.AsyncClient, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last piece is there and the file is not; whoever asks for the offset has it made."""
    place = await begin(client, 6)
    await send(client, place, 0, b"abc")

    async def dies(self: Any, upload: Any) -> Any:
        raise LedgerUnavailable("as if it died here")

    with monkeypatch.context() as patched:
        patched.setattr("callboard_gateway.uploads.Uploads._assembled", dies)
        assert (await send(client, place, 3, b"def")).status_code == 503
    answer = await client.head(place, headers=TUS)
    assert answer.headers["upload-offset"] == "6"
    file_id = answer.headers["callboard-file-id"]
    assert (await client.get(f"/v1/files/{file_id}/content")).content == b"abcdef"
    assert (await send(client, place, 6, b"")).headers["callboard-file-id"] == file_id


async def test_many_that_ask_at_once_make_one_file(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 6)
    await send(client, place, 0, b"abc")
    await send(client, place, 3, b"def")
    answers = await asyncio.gather(*(client.head(place, headers=TUS) for _ in range(5)))
    assert len({answer.headers["callboard-file-id"] for answer in answers}) == 1
    assert len(gateway.contents()) == 1


async def test_an_upload_expires_with_its_parts_unless_more_comes(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    place = await begin(client, 10)
    await send(client, place, 0, b"abc")
    await send(client, place, 3, b"def")
    redis = gateway.ledger.redis
    due = await redis.zrange(keys.FILES_EXPIRY, 0, -1, withscores=True)
    assert len(due) == 2
    assert due[0][1] == due[1][1], "the first part stays as long as the last one"
    assert 0 < await redis.pttl(keys.UPLOADS + place.rpartition("/")[2]) <= TTL_MS
    await redis.zadd(keys.FILES_EXPIRY, {member: 1 for member, _ in due})
    assert len(await gateway.ledger.run(filing.expired_files())) == 2, "the sweep finds them"


async def test_one_that_becomes_a_file_expires_no_more(client: httpx.AsyncClient, gateway: Any) -> None:
    place = await begin(client, 3)
    await send(client, place, 0, b"abc")
    assert await gateway.ledger.redis.zcard(keys.FILES_EXPIRY) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "10"}, 412),
        ({**TUS, "Tus-Resumable": "0.2.2", "Upload-Length": "10"}, 412),
        ({**TUS}, 400),
        ({**TUS, "Upload-Length": "-1"}, 400),
        ({**TUS, "Upload-Length": "ten"}, 400),
        ({**TUS, "Upload-Length": "1000001"}, 413),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": "filename ***"}, 400),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": "filename " + encoded("../x")}, 422),
        ({**TUS, "Upload-Length": "1", "Upload-Metadata": "purpose " + encoded("a\nb")}, 422),
    ],
)
async def test_what_is_wrong_with_an_announcement_is_said(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/v1/uploads", headers=headers)
    assert answer.status_code == status
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert ("tus-version" in answer.headers) == (status == 412)


async def test_what_is_wrong_with_a_piece_is_said(client: httpx.AsyncClient) -> None:
    place = await begin(client, 10)
    assert (await send(client, place, 0, b"x", **{"Content-Type": "text/plain"})).status_code == 415
    assert (await send(client, place, 0, b"x", **{"Upload-Offset": "no"})).status_code == 400
    assert (await send(client, place, 0, b"x", **{"Upload-Checksum": "md5 aaaa"})).status_code == 400
    assert (await send(client, place, 0, b"x", **{"Upload-Checksum": "sha1 *"})).status_code == 400
    assert (await send(client, place, 0, b"x", **{"Tus-Resumable": "2.0"})).status_code == 412


async def test_a_client_that_can_only_post_says_what_it_means(client: httpx.AsyncClient) -> None:
    place = await begin(client, 3)
    headers = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    answer = await client.post(place, content=b"abc", headers=headers | {"X-HTTP-Method-Override": "PATCH"})
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "3")
    assert (await client.post(place, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})).status_code == 204
    assert (await client.post(place, headers=TUS)).status_code == 404


async def test_a_key_that_may_only_read_uploads_nothing(client: httpx.AsyncClient, gateway: Any) -> None:
    made = await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})
    async with gateway.client(made.json()["key"]) as reader:
        assert (await reader.post("/v1/uploads", headers=TUS | {"Upload-Length": "1"})).status_code == 403


class TestAQuota:
    @pytest.fixture
    async def client(self, gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
        gateway.app.state.max_stored_bytes = 100_000
        async with gateway.client() as client:
            yield client

    async def upload(self, client: httpx.AsyncClient, size: int) -> httpx.Response:
        return await client.post("/v1/files", files={"file": ("a.bin", b"x" * size)})

    async def test_holds_for_all_files_of_a_key_together(
        self, client: httpx.AsyncClient, gateway: Any
    ) -> None:
        first = await self.upload(client, 60_000)
        assert first.status_code == 201
        refused = await self.upload(client, 60_000)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
        assert (refused.json()["quota_bytes"], refused.json()["stored_bytes"]) == (100_000, 60_000)
        assert refused.json()["retryable"] is False
        assert len(gateway.contents()) == 1
        assert (await self.upload(client, 40_000)).status_code == 201
        assert (await client.delete(f"/v1/files/{first.json()['id']}")).status_code == 204
        assert (await self.upload(client, 60_000)).status_code == 201

    async def test_is_not_passed_by_many_at_once(self, client: httpx.AsyncClient, gateway: Any) -> None:
        answers = await asyncio.gather(*(self.upload(client, 30_000) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [507] * 5
        assert len(gateway.contents()) == 3

    async def test_refuses_before_much_is_sent(self, client: httpx.AsyncClient, gateway: Any) -> None:
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.settimeout(10)
            head = [
                "POST /v1/files HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.key}",
                "Content-Type: multipart/form-data; boundary=b", "Content-Length: 900000",
            ]  # fmt: skip
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            assert (await asyncio.to_thread(connection.recv, 12)) == b"HTTP/1.1 507"

    async def test_holds_for_uploads_in_pieces(self, client: httpx.AsyncClient, gateway: Any) -> None:
        refused = await client.post("/v1/uploads", headers=TUS | {"Upload-Length": "100001"})
        assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
        one, other = await begin(client, 80_000), await begin(client, 80_000)
        assert (await send(client, one, 0, b"x" * 70_000)).status_code == 204
        answer = await send(client, other, 0, b"x" * 70_000)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
        assert (await client.delete(one, headers=TUS)).status_code == 204
        assert (await send(client, other, 0, b"x" * 70_000)).status_code == 204
        assert (await send(client, other, 70_000, b"x" * 10_000)).status_code == 204

    async def test_is_of_one_key(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        assert (await self.upload(client, 100_000)).status_code == 201
        assert (await self.upload(stranger, 100_000)).status_code == 201

    async def test_is_each_byte_once_however_often_a_record_is_put(self, gateway: Any) -> None:
        record = gateway.app.state.files.files.put_bytes("key_x", "a", b"x" * 10)
        for _ in range(3):
            assert await gateway.ledger.run(filing.put_file(record)) is None
        assert await stored(gateway, "key_x") == 10
        for _ in range(2):
            await gateway.ledger.run(filing.delete_file(record.id, "key_x"))
        assert await stored(gateway, "key_x") == 0
