from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

CSV = "text,label\n좋아요,1\n".encode()


async def upload(
    client: httpx.AsyncClient, data: bytes = CSV, name: str = "reviews.csv", **form: Any
) -> httpx.Response:
    return await client.post("/v1/files", files={"file": (name, data)}, data=form)


async def stored(client: httpx.AsyncClient, data: bytes = CSV, name: str = "reviews.csv") -> dict[str, Any]:
    answer = await upload(client, data, name)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_upload_answers_with_the_record_and_where_it_is(client: httpx.AsyncClient) -> None:
    answer = await upload(client, purpose="train")
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/files/{body['id']}"
    assert (body["name"], body["media_type"], body["bytes"]) == ("reviews.csv", "text/csv", len(CSV))
    assert body["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert body["purpose"] == "train"
    assert body["expires_at"] is None
    assert (await client.get(answer.headers["location"])).json() == body
    content = await client.get(body["url"])
    assert content.content == CSV


async def test_the_purpose_may_come_after_the_file(client: httpx.AsyncClient) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n'
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nlater\r\n--B--\r\n'
    )
    answer = await client.post(
        "/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    assert answer.json()["purpose"] == "later"


async def test_an_empty_file_is_a_file(client: httpx.AsyncClient) -> None:
    record = await stored(client, b"", "empty.txt")
    answer = await client.get(record["url"])
    assert (record["bytes"], answer.status_code, answer.content) == (0, 200, b"")


async def test_a_name_in_korean_comes_back_in_the_download(client: httpx.AsyncClient) -> None:
    record = await stored(client, CSV, '한국어 "리뷰".csv')
    assert record["name"] == '한국어 "리뷰".csv'
    disposition = (await client.get(record["url"])).headers["content-disposition"]
    assert disposition.startswith('attachment; filename="')
    assert "filename*=UTF-8''%ED%95%9C%EA%B5%AD%EC%96%B4%20%22%EB%A6%AC%EB%B7%B0%22.csv" in disposition
    assert disposition.isascii()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a%0D%0ASet-Cookie: x=1.txt", "nul\x00.txt", "..\\\\x", "tab\t.txt"]
)
async def test_a_name_that_tries_something_is_refused(
    client: httpx.AsyncClient, gateway: Any, name: str
) -> None:
    head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = await client.post("/v1/files", content=head.encode() + b"x\r\n--B--\r\n", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert gateway.contents() == []


async def test_folders_before_a_name_are_dropped(client: httpx.AsyncClient) -> None:
    assert (await stored(client, name="C:\\data\\reviews.csv"))["name"] == "reviews.csv"


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ({"fil": ("a", b"x")}, {}, "fil"),
        ({"other": ("a", b"x")}, {"purpose": "p"}, "other"),
        ([("file", ("a", b"x")), ("file", ("b", b"y"))], {}, "file"),
        ({"file": ("a", b"x")}, {"purpose": "p" * 65}, "purpose"),
        ({"file": ("a", b"x")}, {"extra": "p"}, "extra"),
        ({"file": (None, b"x")}, {}, "file"),
    ],
)
async def test_a_form_that_is_not_ours_names_the_field(
    client: httpx.AsyncClient, gateway: Any, files: Any, data: dict[str, str], field: str
) -> None:
    answer = await client.post("/v1/files", files=files, data=data)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field
    assert gateway.contents() == []


async def test_a_form_without_a_file_is_422(client: httpx.AsyncClient) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nx\r\n--B--\r\n'
    answer = await client.post(
        "/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "file")


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=B", b"not a form", 400),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
            400,
        ),
        ("multipart/form-data; boundary=B", b"", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: httpx.AsyncClient, gateway: Any, content_type: str, body: bytes, status: int
) -> None:
    answer = await client.post("/v1/files", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert gateway.contents() == []


async def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_413(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    assert (await upload(client, b"x" * 1_000_000)).status_code == 201
    before = gateway.contents()
    answer = await upload(client, b"x" * 1_000_001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert gateway.contents() == before


@pytest.mark.parametrize("size", [1_100_000, 8_000_000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_who_sends_too_much_can_read_why(
    client: httpx.AsyncClient, gateway: Any, size: int, chunked: bool
) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + b"x" * size
        + b"\r\n--B--\r\n"
    )

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = await client.post("/v1/files", content=chunks() if chunked else body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert gateway.contents() == []


async def test_an_endless_upload_is_answered_and_then_cut_off(gateway: Any) -> None:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
        "Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n".encode()
    )
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    writer.write(b"%x\r\n%s\r\n" % (len(head), head))

    async def pour() -> None:
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    pouring = asyncio.create_task(pour())
    async with asyncio.timeout(15):
        assert b" 413 " in await reader.readline()
        with pytest.raises(OSError):
            await pouring
    assert gateway.contents() == []


async def test_a_connection_that_breaks_leaves_nothing(client: httpx.AsyncClient, gateway: Any) -> None:
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\nContent-Length: 500000\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
        '--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'.encode()
    )
    await writer.drain()
    async with asyncio.timeout(10):
        while not gateway.contents():
            await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(10):
        while gateway.contents():
            await asyncio.sleep(0.01)
    assert (await client.get("/v1/files")).json()["data"] == []


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-5", 206, b"2345", "bytes 2-5/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=5-2", 200, b"0123456789", None),
        ("items=0-1", 200, b"0123456789", None),
        ("bytes=x-y", 200, b"0123456789", None),
    ],
)
async def test_a_range_gives_that_part(
    client: httpx.AsyncClient, asked: str, status: int, expected: bytes, content_range: str | None
) -> None:
    record = await stored(client, b"0123456789", "digits.txt")
    answer = await client.get(record["url"], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, expected)
    assert answer.headers.get("content-range") == content_range
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0", "bytes=99-100"])
async def test_a_range_outside_is_416_and_says_the_size(client: httpx.AsyncClient, asked: str) -> None:
    record = await stored(client, b"0123456789")
    answer = await client.get(record["url"], headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")
    assert answer.json()["code"] == "range-not-satisfiable"


async def test_if_range_with_another_content_gives_the_whole(client: httpx.AsyncClient) -> None:
    record = await stored(client, b"0123456789")
    headers = {"Range": "bytes=0-1", "If-Range": f'"{record["sha256"]}"'}
    assert (await client.get(record["url"], headers=headers)).status_code == 206
    headers["If-Range"] = '"other"'
    assert (await client.get(record["url"], headers=headers)).status_code == 200


async def test_a_content_that_is_known_already_is_304(client: httpx.AsyncClient) -> None:
    record = await stored(client)
    etag = (await client.get(record["url"])).headers["etag"]
    assert etag == f'"{record["sha256"]}"'
    for known in (etag, f'"x", W/{etag}', "*"):
        answer = await client.get(record["url"], headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    assert (await client.get(record["url"], headers={"If-None-Match": '"x"'})).status_code == 200


async def test_head_says_all_but_the_content(client: httpx.AsyncClient) -> None:
    record = await stored(client)
    answer = await client.head(record["url"])
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, str(len(CSV)), b"")


async def test_a_page_that_was_uploaded_never_runs_here(client: httpx.AsyncClient) -> None:
    record = await stored(client, b"<!doctype html><script>alert(1)</script>", "a.txt")
    headers = (await client.get(record["url"])).headers
    assert record["media_type"] == "text/html"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment")
    assert "sandbox" in headers["content-security-policy"]


async def test_the_list_is_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    made = [(await stored(client, str(n).encode()))["id"] for n in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for expected in (2, 2, 1):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/files", params=params)).json()
        assert len(page["data"]) == expected
        seen += [record["id"] for record in page["data"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    assert cursor is None


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=1.file_x"])
async def test_a_list_that_cannot_be_is_422(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/files?{query}")).status_code == 422


async def test_a_deleted_file_is_gone_with_its_content(client: httpx.AsyncClient, gateway: Any) -> None:
    record = await stored(client)
    assert (await client.delete(f"/v1/files/{record['id']}")).status_code == 204
    for path in (f"/v1/files/{record['id']}", record["url"]):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/v1/files/{record['id']}")).status_code == 404
    assert gateway.contents() == []
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_another_keys_file_is_not_there(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    record = await stored(client)
    missing = await stranger.get("/v1/files/file_01k9xq3v5ef7v8m2c4r6t8w0y2")
    for method, path in (
        ("GET", f"/v1/files/{record['id']}"), ("GET", record["url"]), ("HEAD", record["url"]),
        ("DELETE", f"/v1/files/{record['id']}"),
    ):  # fmt: skip
        answer = await stranger.request(method, path)
        assert answer.status_code == 404
        if method != "HEAD":
            assert answer.json()["detail"] == missing.json()["detail"]
    assert (await stranger.get("/v1/files")).json()["data"] == []
    assert (await client.get(record["url"])).status_code == 200


async def test_a_key_that_may_only_read_stores_and_deletes_nothing(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    made = await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})
    async with gateway.client(made.json()["key"]) as reader:
        assert (await upload(reader)).status_code == 403
        assert (await reader.get("/v1/files")).status_code == 200
        assert (await reader.delete("/v1/files/file_01k9xq3v5ef7v8m2c4r6t8w0y2")).status_code == 403


async def test_without_a_key_nothing_is_stored(gateway: Any) -> None:
    async with gateway.client("") as nobody:
        assert (await upload(nobody)).status_code == 401
    assert gateway.contents() == []


async def test_a_record_whose_content_is_lost_is_404_and_not_half_an_answer(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    record = await stored(client)
    gateway.contents()[0].unlink()
    assert (await client.get(record["url"])).status_code == 404


async def test_the_openapi_document_describes_the_form_and_the_content(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    form = document["paths"]["/v1/files"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert form["properties"]["file"]["format"] == "binary"
    content = document["paths"]["/v1/files/{file_id}/content"]["get"]["responses"]
    assert {"200", "206", "304", "416"} <= content.keys()
    assert "201" in document["paths"]["/v1/files"]["post"]["responses"]
    assert "204" in document["paths"]["/v1/files/{file_id}"]["delete"]["responses"]
