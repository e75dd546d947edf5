"""Uploaded pictures are judged when a job names them, by their first and last bytes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from callboard_shared.jobs import DETECT

SIGN = base64.b64decode(DETECT.example["image"]["base64"])


@pytest.fixture
async def client(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        yield client


async def upload(client: httpx.AsyncClient, content: bytes) -> str:
    answer = await client.post("/v1/files", files={"file": ("a.jpg", content)})
    return str(answer.json()["id"])


def detect(*file_ids: str) -> dict[str, Any]:
    return {"type": "vision.detect", "input": {"images": [{"file_id": file_id} for file_id in file_ids]}}


async def test_a_picture_is_taken_and_a_text_that_is_called_one_is_not(client: httpx.AsyncClient) -> None:
    picture, text = await upload(client, SIGN), await upload(client, b"not a picture")
    assert (await client.post("/v1/jobs", json=detect(picture, picture))).status_code == 202
    refused = await client.post("/v1/jobs", json=detect(picture, text))
    assert refused.status_code == 415
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["code"] == "unsupported-media-type"
    assert problem["errors"][0]["field"] == "input.images.1.file_id"


async def test_of_many_jobs_only_those_with_a_bad_picture_are_refused(client: httpx.AsyncClient) -> None:
    picture, cut = await upload(client, SIGN), await upload(client, SIGN[:3000])
    answer = await client.post(
        "/v1/jobs:batch", json={"jobs": [detect(picture), detect(cut), detect(picture)]}
    )
    first, second, third = answer.json()["data"]
    assert first["status"] == third["status"] == "queued"
    assert (second["status"], second["code"]) == (415, "image-damaged")


async def test_a_file_whose_content_is_gone_is_left_to_the_worker(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    picture = await upload(client, SIGN)
    for content in gateway.contents():
        content.unlink()
    assert (await client.post("/v1/jobs", json=detect(picture))).status_code == 202


async def test_a_file_that_is_not_there_is_said_to_be_missing_and_not_to_be_no_picture(
    client: httpx.AsyncClient,
) -> None:
    refused = await client.post("/v1/jobs", json=detect("file_01k9xq3v5ef7v8m2c4r6t8w0y2"))
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown-file")
