"""The chat's voice: a reply becomes a job of the real speech worker, and is heard in the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from chat_stack import ChatStack
from openai_server import OpenAIDouble, Reply
from playwright.async_api import expect
from trials import trial_at

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def voice() -> Iterator[Any]:
    from speech_server import serving

    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def stack(valkey_server: str, voice: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatStack]:
    from speech_server import ELEVENLABS_KEY

    double = OpenAIDouble().start()
    own = {"ELEVENLABS_API_KEY": ELEVENLABS_KEY, "ELEVENLABS_BASE_URL": voice.url}
    with trial_at(valkey_server, tmp_path_factory.mktemp("aloud")) as trial:
        yield ChatStack(trial, double, **own)
    double.stop()


async def test_an_answer_is_read_aloud_and_paid_for_once(visit: Any, stack: ChatStack, voice: Any) -> None:
    stack.double.plan.append(
        Reply(text="## Number **2**\n\nIt is [prime](https://example.org).\n\n```\ncode\n```")
    )
    talk = stack.conversation("Two?")
    person = await visit()
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat/{talk}")
    audio = page.locator("[data-reply] audio")
    for _ in range(2):
        await page.get_by_role("button", name="Read aloud").click()
        await expect(audio).to_have_attribute("src", re.compile("^/v1/files/file_.*/content$"))
    await expect(audio).to_have_js_property("error", None)
    await page.wait_for_function("() => document.querySelector('audio').currentTime > 0")
    assert await audio.evaluate("(one) => one.duration") > 0.2
    assert voice.texts == ["Number 2\nIt is prime."]
    assert await person.violations() == []


async def test_a_voice_that_fails_says_so(visit: Any, stack: ChatStack, voice: Any) -> None:
    from speech_server import Error

    voice.script.append(Error(401, "invalid_api_key"))
    talk = stack.conversation("Hello")
    person = await visit(locale="ko-KR")
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat/{talk}")
    await page.get_by_role("button", name="소리 내어 읽기").click()
    await expect(page.locator("[data-reply] .speech")).to_contain_text("키를 받아들이지 않습니다")


async def test_answers_are_spoken_as_they_come_where_that_is_wished(
    visit: Any, stack: ChatStack, voice: Any
) -> None:
    """Message and speech are one pipeline; what was written is never taken for a reference."""
    stack.double.plan += [Reply(text="Platform two."), Reply(text="Platform three.")]
    person = await visit()
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat")
    box = page.get_by_label("Speak answers")
    await page.keyboard.press("Tab")  # from the message to Send, and on
    await page.keyboard.press("Tab")
    await expect(box).to_be_focused()
    await page.keyboard.press("Space")
    await page.fill("#content", "Where is ${HOME} and the ${train.output}?")
    await page.press("#content", "Enter")
    audio = page.locator("[data-reply] audio")
    await expect(audio).to_have_attribute("src", re.compile("^/v1/files/file_.*/content$"))
    await expect(page.locator(".message.user .body")).to_have_text(
        "Where is ${HOME} and the ${train.output}?"
    )
    await expect(box).to_be_checked()  # on the page of the conversation that began with it, too
    await page.fill("#content", "And the next?")
    await page.press("#content", "Enter")
    await expect(audio).to_have_count(2)
    await expect(audio.last).to_have_js_property("error", None)
    assert voice.texts[-2:] == ["Platform two.", "Platform three."]
    assert await person.violations() == []
    pipelines = stack.api("GET", "/v1/pipelines")["data"]
    assert [list(one["steps"]) for one in pipelines] == [["say", "voice"]] * 2
    await box.uncheck()
    stack.double.plan.append(Reply(text="Silence."))
    await page.fill("#content", "Thanks")
    await page.press("#content", "Enter")
    await expect(page.locator("[data-reply]")).to_have_count(3)
    await expect(page.locator("[data-reply]").last.get_by_role("button", name="Read aloud")).to_be_visible()
    await page.reload()
    await expect(box).not_to_be_checked()
    assert len(stack.api("GET", "/v1/pipelines")["data"]) == 2


async def test_a_spoken_answer_that_is_stopped_keeps_its_words_and_says_nothing_of_the_voice(
    visit: Any, stack: ChatStack
) -> None:
    stack.double.plan.append(Reply(text=" ".join(f"word{n}" for n in range(100)), pause_s=0.15))
    person = await visit(locale="ko-KR")
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat")
    await page.get_by_label("답변을 소리로 듣기").check()
    await page.fill("#content", "길게 말해 줘")
    await page.press("#content", "Enter")
    await expect(page.locator("[data-running] .body")).to_contain_text("word2")
    await page.click("#stop")
    await expect(page.locator("[data-reply] .body")).to_contain_text("word2")
    await expect(page.locator("[data-reply] .speech")).to_be_empty()
    assert await person.violations() == []
