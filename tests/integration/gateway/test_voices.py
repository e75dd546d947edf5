"""``GET /v1/voices``: what workers announce, and no more."""

from __future__ import annotations

from typing import Any

import httpx

from callboard_shared.ledger.voicing import announce_voices
from callboard_shared.voices import VoiceInfo

JOE = VoiceInfo(id="joe", name="joe", provider="local", languages=["en"], default=True)
GEORGE = VoiceInfo(id="JBFq", name="George", provider="elevenlabs", preview_url="https://example.com/g.mp3")


async def announce(gateway: Any, *voices: VoiceInfo, ttl_ms: int = 60_000) -> None:
    for voice in voices:
        await gateway.app.state.ledger.run(announce_voices(voice.provider, [voice], ttl_ms))


async def test_with_no_worker_there_are_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/voices")
    assert (answer.status_code, answer.json()) == (200, {"data": [], "next_cursor": None})


async def test_the_voices_of_each_provider_are_listed(gateway: Any, client: httpx.AsyncClient) -> None:
    await announce(gateway, JOE, GEORGE)
    data = (await client.get("/v1/voices")).json()["data"]
    assert [(one["provider"], one["id"], one["default"]) for one in data] == [
        ("elevenlabs", "JBFq", False), ("local", "joe", True),
    ]  # fmt: skip
    assert data[1] == {
        "id": "joe", "name": "joe", "provider": "local", "languages": ["en"], "default": True, "description": None,
        "preview_url": None,
    }  # fmt: skip
    only = (await client.get("/v1/voices", params={"provider": "local"})).json()["data"]
    assert [one["id"] for one in only] == ["joe"]


async def test_an_unknown_provider_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/voices", params={"provider": "loudspeaker"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


async def test_a_later_announcement_takes_the_place_of_the_one_before(
    gateway: Any, client: httpx.AsyncClient
) -> None:
    await announce(gateway, JOE, JOE.model_copy(update={"id": "ann", "name": "ann"}))
    assert [one["id"] for one in (await client.get("/v1/voices")).json()["data"]] == ["ann"]


async def test_what_no_worker_announces_any_more_is_gone(gateway: Any, client: httpx.AsyncClient) -> None:
    await announce(gateway, JOE, ttl_ms=1)
    await announce(gateway, GEORGE)
    assert [one["id"] for one in (await client.get("/v1/voices")).json()["data"]] == ["JBFq"]


async def test_listing_needs_a_key_that_may_read(gateway: Any) -> None:
    async with gateway.with_key(None) as nobody:
        assert (await nobody.get("/v1/voices")).status_code == 401
    async with await gateway.key("jobs:write") as writer:
        assert (await writer.get("/v1/voices")).status_code == 403


async def test_the_list_is_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/v1/voices"]["get"]
    assert operation["operationId"] == "list_voices" and "401" in operation["responses"]
