"""Pictures of a chat are brought here by the guarded client; a provider never gets an address that a user gave."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest
from file_server import Answer, Network, content, redirect, serving
from openai_server import KEY, OpenAIDouble

from callboard_llm.handlers.chat import ChatHandlers
from callboard_llm.history import Talk
from callboard_llm.pictures import LARGEST, Pictures
from callboard_llm.prices import Prices
from callboard_llm.providers.local import Local, LocalModel
from callboard_llm.providers.openai import OpenAI
from callboard_llm.settings import LocalChatSettings, OpenAISettings
from callboard_shared.errors import CallboardError, FinalError
from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs.llm import ChatInput, ImagePart
from callboard_shared.outbound import OutboundSettings
from callboard_shared.worker import Context, Job

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(16)
NAME, PUBLIC = "pictures.example.com", "93.184.216.34"
ALLOWING = OutboundSettings(webhook_allow_private=True)
AWAY = {"type": "image_url", "image_url": {"url": f"https://{NAME}/a.png?token=SECRET"}}


def messages(*urls: str) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    return [{"role": "user", "content": parts}]


def shown(talk: Talk) -> list[str]:
    return [
        part.image_url.url or "" if isinstance(part, ImagePart) else part.text
        for message in talk.input.messages
        for part in message.parts
    ]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    files = Files(configured_store(FileSettings(files_dir=tmp_path)))
    return Context("job_1", "llm", "key_a", 1, runner="w#1", send=lambda call: True, files=files)


async def refused(
    context: Context, answers: dict[str, Answer], pictures: Pictures | None = None
) -> CallboardError:
    with serving(answers) as server:
        talk = Talk(ChatInput.model_validate({"messages": messages(f"{server.url}/a.png?token=SECRET")}))
        with pytest.raises(CallboardError) as caught:
            await (pictures or Pictures(ALLOWING)).brought(talk, context)
    assert not caught.value.retryable
    assert "SECRET" not in f"{caught.value.problem()}", "a URL's query may be a secret"
    return caught.value


async def test_a_picture_at_an_address_becomes_a_data_url(context: Context) -> None:
    with serving({"/a.png": content(PNG), "/b.png": redirect("/a.png")}) as server:
        given = messages(f"{server.url}/a.png", "data:image/png;base64,aaaa", f"{server.url}/b.png")
        talk = await Pictures(ALLOWING).brought(Talk(ChatInput.model_validate({"messages": given})), context)
    here = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert shown(talk) == [here, "data:image/png;base64,aaaa", here]
    [first, *_] = talk.input.messages[0].parts
    assert isinstance(first, ImagePart) and first.image_url.detail == "low"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::a9fe:a9fe"])
async def test_a_name_that_leads_inside_is_blocked_and_no_packet_leaves(
    context: Context, address: str
) -> None:
    network = Network({NAME: [[PUBLIC, address]]})
    talk = Talk(ChatInput.model_validate({"messages": [{"role": "user", "content": [AWAY]}]}))
    with pytest.raises(FinalError) as caught:
        await Pictures(OutboundSettings(), resolve=network.resolve, network=network).brought(talk, context)
    assert caught.value.problem_code == "url-blocked" and "SECRET" not in caught.value.detail
    assert (network.resolved, network.dialled) == ([NAME], [])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://169.254.169.254/a.png"])
async def test_what_should_not_have_been_accepted_is_not_even_looked_up(context: Context, url: str) -> None:
    network = Network()
    talk = Talk(ChatInput.model_validate({"messages": messages(url)}))
    with pytest.raises(CallboardError) as caught:
        await Pictures(OutboundSettings(), resolve=network.resolve, network=network).brought(talk, context)
    assert caught.value.problem_code == "url-not-allowed" and not caught.value.retryable
    assert (network.resolved, network.dialled) == ([], [])


async def test_a_redirect_to_a_private_address_is_blocked(context: Context) -> None:
    error = await refused(context, {"/a.png": redirect("http://169.254.169.254/latest/")})
    assert error.problem_code == "url-blocked"


async def test_an_endless_picture_is_too_large(context: Context) -> None:
    error = await refused(context, {"/a.png": lambda request: request.head(200, Content_Length=LARGEST + 1)})
    assert error.problem_code == "fetch-too-large"


async def test_a_silent_address_is_given_up(context: Context) -> None:
    patience = OutboundSettings(webhook_allow_private=True, fetch_timeout_s=0.3)
    error = await refused(context, {"/a.png": lambda request: request.pause(60)}, Pictures(patience))
    assert error.problem_code == "fetch-timeout"


@pytest.mark.parametrize(
    ("data", "says"), [(b"<html>Sign in</html>", "text/html"), (b"<svg></svg>", "image/svg"), (b"", "octet")]
)
async def test_what_is_no_picture_is_said_with_its_host(context: Context, data: bytes, says: str) -> None:
    error = await refused(context, {"/a.png": content(data, Content_Type="image/png")})
    assert error.problem_code == "provider-invalid"
    assert says in error.detail and "127.0.0.1" in error.detail


async def test_pictures_that_are_too_much_together_are_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard_llm.pictures._TOGETHER", 2 * len(PNG))
    with serving({"/a.png": content(PNG)}) as server:
        talk = Talk(ChatInput.model_validate({"messages": messages(*[f"{server.url}/a.png"] * 4)}))
        with pytest.raises(FinalError, match="together") as caught:
            await Pictures(ALLOWING).brought(talk, context)
        assert len(server.asked) == 3
    assert caught.value.problem_code == "provider-invalid"


@pytest.mark.parametrize(
    ("data", "says"), [(b"<svg></svg>", "image/svg"), (b"", "octet"), (PNG + bytes(21 << 20), "smaller")]
)
async def test_an_uploaded_file_that_models_do_not_see_is_refused(
    tmp_path: Path, data: bytes, says: str
) -> None:
    files = Files(configured_store(FileSettings(files_dir=tmp_path)))
    record = files.put_bytes("key_a", "a.png", data)
    context = Context(
        "job_1", "llm", "key_a", 1, runner="w#1", send=lambda call: True, files=files,
        find_file={record.id: record}.get,
    )  # fmt: skip
    part = {"type": "image_url", "image_url": {"file_id": record.id}}
    talk = Talk(ChatInput.model_validate({"messages": [{"role": "user", "content": [part]}]}))
    with pytest.raises(FinalError, match=says) as caught:
        await Pictures(OutboundSettings()).brought(talk, context)
    assert caught.value.problem_code == "provider-invalid"


def kept(*contents: Any) -> Talk:
    value = ChatInput(conversation_id="conv_01kaq3v5ef7v8m2c4r6t8w0y2z", message="new")
    said = ChatInput.model_validate({"messages": [{"role": "user", "content": one} for one in contents]})
    return Talk(value.model_copy(update={"messages": said.messages}))


async def test_an_old_picture_that_is_gone_does_not_end_its_conversation(context: Context) -> None:
    network = Network({NAME: [["10.0.0.1"]]})
    pictures = Pictures(OutboundSettings(), resolve=network.resolve, network=network)
    talk = await pictures.brought(kept([AWAY], "And now?"), context)
    assert shown(talk) == ["(a picture that can no longer be fetched)"]
    assert len(talk.warnings) == 1 and NAME in talk.warnings[0] and "SECRET" not in talk.warnings[0]


async def test_the_newest_picture_of_a_conversation_must_be_there(context: Context) -> None:
    network = Network({NAME: [["10.0.0.1"]]})
    pictures = Pictures(OutboundSettings(), resolve=network.resolve, network=network)
    with pytest.raises(FinalError):
        await pictures.brought(kept("Look:", [AWAY]), context)


async def test_a_cancel_leaves_the_server_at_once(context: Context) -> None:
    with serving({"/a.png": lambda request: request.pause(60)}) as server:
        talk = Talk(ChatInput.model_validate({"messages": messages(f"{server.url}/a.png")}))
        task = asyncio.create_task(Pictures(ALLOWING).brought(talk, context))
        while not server.asked:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5


# --- who sees nothing is fetched nothing ---


def asked(handlers: ChatHandlers, context: Context, **fields: Any) -> Any:
    value = ChatInput.model_validate({"messages": [{"role": "user", "content": [AWAY]}], **fields})
    return handlers.chat(Job("job_1", "llm.chat", "key_a", 1, value, context))


@pytest.mark.parametrize(
    ("key", "fields", "code", "says"),
    [
        (None, {}, "provider-invalid", "sees no pictures"),
        (None, {"provider": "openai"}, "provider-unauthorized", "OPENAI_API_KEY"),
        (KEY, {"provider": "local"}, "provider-invalid", "sees no pictures"),
        (KEY, {"model": "SmolLM2"}, "provider-invalid", "sees no pictures"),
        (KEY, {"model": "gpt-3.5-turbo-0125"}, "provider-invalid", "gpt-3.5-turbo-0125 sees no pictures"),
        (KEY, {"model": "gpt-4"}, "provider-invalid", "sees no pictures"),
        (KEY, {"model": "o3-mini"}, "provider-invalid", "sees no pictures"),
    ],
)
async def test_nothing_is_fetched_for_who_sees_no_pictures(
    context: Context, tmp_path: Path, key: str | None, fields: dict[str, Any], code: str, says: str
) -> None:
    network = Network({NAME: [[PUBLIC]]})
    pictures = Pictures(OutboundSettings(), resolve=network.resolve, network=network)
    local = Local(LocalModel("SmolLM2", tmp_path / "none.gguf"), LocalChatSettings())
    openai = OpenAI(OpenAISettings(OPENAI_API_KEY=key, OPENAI_BASE_URL=""))  # type: ignore[call-arg]
    with pytest.raises(FinalError, match=says) as caught:
        await asked(ChatHandlers(openai, local, Prices({}), pictures), context, **fields)
    assert caught.value.problem_code == code
    assert network.resolved == []


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4-turbo", "o1", "o3", "gpt-5"])
def test_models_that_see_are_shown_pictures(model: str) -> None:
    OpenAI(OpenAISettings(OPENAI_API_KEY=KEY, OPENAI_BASE_URL="")).check_sees(model)  # type: ignore[call-arg]


async def test_a_provider_gets_the_bytes_and_never_the_address(
    context: Context, double: OpenAIDouble, tmp_path: Path
) -> None:
    openai = OpenAI(OpenAISettings(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=double.url))  # type: ignore[call-arg]
    handlers = ChatHandlers(openai, Local(None, LocalChatSettings()), Prices({}), Pictures(ALLOWING))
    with serving({"/a.png": content(PNG)}) as server:
        await asked(handlers, context, messages=messages(f"{server.url}/a.png"), model="gpt-3.5-turbo")
    assert double.asked[0].body["messages"][0]["content"] == [
        {"type": "image_url",
         "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "detail": "low"}}
    ]  # fmt: skip
