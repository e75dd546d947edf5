"""Input that was once answered with 500."""

from __future__ import annotations

import httpx
import pytest

ECHO = {"type": "system.echo", "input": {"value": 1}}
TUS = {"Tus-Resumable": "1.0.0"}
BEYOND = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59Z",
    "1969-12-31T23:59:59Z",
]


async def test_a_file_without_content_is_deleted_as_any_other(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/files", files={"file": ("empty.txt", b"")})).json()
    assert (await client.get(made["url"])).content == b""
    assert (await client.delete(f"/v1/files/{made['id']}")).status_code == 204
    assert (await client.get(f"/v1/files/{made['id']}")).status_code == 404


@pytest.mark.parametrize("time", BEYOND)
async def test_a_time_that_cannot_be_reckoned_with_is_refused_wherever_one_is_given(
    client: httpx.AsyncClient, time: str
) -> None:
    endpoint = (
        await client.post("/v1/webhook-endpoints", json={"url": "https://hooks.example.com/"})
    ).json()["id"]
    asked = {
        "run_at": await client.post("/v1/jobs", json={**ECHO, "run_at": time}),
        "created_after": await client.get("/v1/jobs", params={"created_after": time}),
        "expires_at": await client.post("/v1/keys", json={"name": "x", "expires_at": time}),
        "since": await client.post(f"/v1/webhook-endpoints/{endpoint}/recover", json={"since": time}),
    }
    for field, answer in asked.items():
        assert answer.status_code == 422, field
        (fault,) = answer.json()["errors"]
        assert fault["field"] == field and "1970 to 2999" in fault["message"]


async def test_a_cursor_of_no_time_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/jobs", params={"cursor": "999999999999999.job_01kaq3v5ef7v8m2c4r6t8w0y2z"})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("value", ["sha1 é".encode("latin-1"), b"sha256 \xff\xfe", b"sha256 \xc3\xa9"])
async def test_a_checksum_of_letters_beyond_ascii_is_refused(client: httpx.AsyncClient, value: bytes) -> None:
    upload = (await client.post("/v1/uploads", headers={**TUS, "Upload-Length": "1"})).headers["location"]
    headers = {
        **TUS,
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Checksum": value,
    }
    assert (await client.patch(upload, headers=headers, content=b"x")).status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [b"filename \xff", b"filename \xc3\xa9", b"filename 2P8="])
async def test_metadata_of_letters_beyond_ascii_are_refused(client: httpx.AsyncClient, value: bytes) -> None:
    headers = {**TUS, "Upload-Length": "1", "Upload-Metadata": value}
    assert (await client.post("/v1/uploads", headers=headers)).status_code == 400  # type: ignore[arg-type]


def references(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(references, node.values()))


async def test_every_reference_of_the_document_leads_somewhere(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    found = references(document)
    assert found and found <= there, found - there
    assert "$defs" not in str(document)


async def test_a_link_leads_from_what_gives_an_id_to_all_that_takes_one(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = {one["operationId"]: one for item in document["paths"].values() for one in item.values()}
    linked = {
        name for one in operations.values() for response in one["responses"].values() for name in response.get("links", {})
    }  # fmt: skip
    takes = {
        name
        for path, item in document["paths"].items()
        for one in item.values()
        if "{" in path
        for name in [one["operationId"]]
    }
    own_ids = {"append_to_upload", "get_upload", "delete_upload"}  # an upload's id stands in Location alone
    assert linked <= operations.keys()
    assert takes - linked == own_ids
