"""The chat as a person uses it: in a real browser, on a real gateway and worker; only OpenAI is a double."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_stack import ChatStack
from openai_server import OpenAIDouble, Reply, bad_key
from playwright.async_api import Locator, Page, expect
from trials import trial_at

pytestmark = pytest.mark.browser

LONG = " ".join(f"word{n}" for n in range(1, 101))
SLOW = Reply(text=LONG, pause_s=0.15)
RICH = """# Plan

Take the **9:40** to [Busan](https://example.org/busan).

| city | minutes |
|------|--------:|
| Daejeon | 50 |

```python
print("<hello>")
```
"""
NASTY = """<script>window.hacked = 1</script>

<img src=x onerror="window.hacked = 2">

[click](javascript:window.hacked=3) ![p](https://tracker.example/p.png) [d](data:text/html,<script>x</script>)

<div hx-get="/sign-out" hx-trigger="load" id="composer">x</div>
"""


@pytest.fixture(scope="module")
def stack(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatStack]:
    """In place of the whole embedded stack: what a chat needs."""
    double = OpenAIDouble().start()
    with trial_at(valkey_server, tmp_path_factory.mktemp("chat")) as trial:
        yield ChatStack(trial, double)
    double.stop()


@pytest.fixture(autouse=True)
def double(stack: ChatStack) -> OpenAIDouble:
    stack.double.forget()
    return stack.double


Chat = Callable[..., Awaitable[Any]]


@pytest.fixture
def chat(visit: Any) -> Chat:
    """Signed in, with the chat open at ``path``."""

    async def open_chat(path: str = "/chat", **options: Any) -> Any:
        person = await visit(**options)
        await person.sign_in()
        await person.page.goto(person.url + path)
        return person

    return open_chat


def box(page: Page) -> Locator:
    return page.locator("#content")


def replies(page: Page) -> Locator:
    return page.locator("[data-reply] .body")


async def ask(page: Page, text: str) -> None:
    await box(page).fill(text)
    await box(page).press("Enter")


async def awaited_word(page: Page, word: str) -> None:
    await expect(page.locator(".running .body")).to_contain_text(word)


async def test_a_message_is_answered_word_by_word_and_kept(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    double.plan.append(Reply(text="One two **three** four.", pause_s=0.3))
    page = (await chat()).page
    await ask(page, "Count to four, please")
    await expect(page).to_have_url(re.compile("/chat/conv_"))
    await awaited_word(page, "One two")
    assert "four" not in (await page.locator(".running .body").text_content() or "")
    await expect(replies(page)).to_have_text("One two three four.")
    await expect(page.locator("[data-reply] strong")).to_have_text("three")
    await expect(page.locator("[data-reply] .tools")).to_contain_text("openai · gpt-4o")
    await expect(page.locator("#talk-title")).to_have_text("Count to four, please")
    await expect(page.get_by_role("link", name="Count to four, please")).to_have_attribute(
        "aria-current", "page"
    )
    await ask(page, "And **more**")  # what a person writes is shown as it was written
    await expect(page.locator(".message.user .body").last).to_have_text("And **more**")
    await expect(replies(page).last).to_have_text("The capital of France is Paris.")
    said = stack.messages(page.url.rpartition("/")[2])
    assert [(one["role"], one["content"]) for one in said] == [
        ("user", "Count to four, please"), ("assistant", "One two **three** four."),
        ("user", "And **more**"), ("assistant", "The capital of France is Paris."),
    ]  # fmt: skip
    assert [message["role"] for message in double.asked[1].body["messages"]] == ["user", "assistant", "user"]


async def test_shift_enter_makes_a_line_and_enter_sends(chat: Chat, stack: ChatStack) -> None:
    page = (await chat()).page
    await box(page).press("Enter")
    assert page.url.endswith("/chat")  # nothing was written, nothing is sent
    await page.keyboard.type("first")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("second")
    await expect(box(page)).to_have_value("first\nsecond")
    await page.keyboard.press("Enter")
    await expect(replies(page)).to_have_count(1)
    assert stack.messages(page.url.rpartition("/")[2])[0]["content"] == "first\nsecond"
    await expect(box(page)).to_be_focused()
    await expect(box(page)).to_have_value("")


@pytest.mark.parametrize("code", [229, 13])
async def test_enter_never_sends_while_a_syllable_is_composed(chat: Chat, code: int) -> None:
    page = (await chat(locale="ko-KR")).page
    await page.evaluate(
        """() => { window.keys = []; document.addEventListener("keydown", (event) =>
            window.keys.push([event.key, event.keyCode, event.isComposing]), true); }"""
    )
    await box(page).focus()
    keyboard = await page.context.new_cdp_session(page)
    composed = {"text": "안녕하세", "selectionStart": 4, "selectionEnd": 4}
    await keyboard.send("Input.imeSetComposition", composed)
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": code}
    await keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter})
    await keyboard.send("Input.dispatchKeyEvent", {"type": "keyUp", **enter})
    assert await page.evaluate("() => window.keys") == [["Enter", code, True]]
    await keyboard.send("Input.insertText", {"text": "안녕하세요"})  # the composition ends
    await expect(box(page)).to_have_value("안녕하세요")
    assert page.url.endswith("/chat")
    await box(page).press("Enter")
    await expect(page.locator(".message.user .body")).to_have_text("안녕하세요")
    await expect(replies(page)).to_have_count(1)


async def test_stop_ends_the_answer_and_keeps_what_was_said(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    double.plan.append(SLOW)
    page = (await chat()).page
    await ask(page, "Talk")
    await awaited_word(page, "word4")
    await expect(page.get_by_role("button", name="Send")).to_be_hidden()
    await page.get_by_role("button", name="Stop").click()
    reply = page.locator("[data-reply]")
    await expect(reply).to_contain_text("word4")
    await expect(reply).to_contain_text("Stopped. What was said so far is kept.")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(box(page)).to_be_focused()
    assert "word99" not in (await reply.text_content() or "")
    last = stack.messages(page.url.rpartition("/")[2])[-1]
    assert (last["role"], last["status"]) == ("assistant", "partial")
    await page.reload()
    await expect(page.locator("[data-reply] .body")).to_have_text(last["content"])
    await ask(page, "Go on")
    await expect(replies(page)).to_have_count(2)


async def test_a_reload_and_a_second_tab_find_the_running_answer(chat: Chat, double: OpenAIDouble) -> None:
    double.plan.append(Reply(text=LONG, pause_s=0.06))
    page = (await chat()).page
    await ask(page, "Talk")
    await awaited_word(page, "word5")
    await page.reload()
    await awaited_word(page, "word1 ")  # from its beginning
    second = await page.context.new_page()
    await second.goto(page.url)
    await awaited_word(second, "word1 ")
    for tab in (page, second):
        await expect(replies(tab)).to_have_text(LONG)
        await expect(tab.locator(".running")).to_have_count(0)
    assert len(double.asked) == 1


async def test_a_broken_connection_goes_on_where_the_answer_is(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    double.plan.append(Reply(text=LONG, pause_s=0.12))
    person = await chat()
    person.expect("Failed to load resource: net::ERR_")
    person.expect("[object Event]")  # htmx tells of the broken stream
    page = person.page
    await ask(page, "Talk")
    await awaited_word(page, "word3")
    await asyncio.to_thread(stack.replace_gateway)
    await expect(page.locator("#lost")).to_be_visible()
    await awaited_word(page, "word30")
    await expect(page.locator("#lost")).to_be_hidden()
    await expect(replies(page)).to_have_text(LONG)
    assert len(double.asked) == 1


async def test_a_message_that_could_not_be_sent_is_not_lost(chat: Chat, stack: ChatStack) -> None:
    talk = stack.conversation("Hello")
    person = await chat(f"/chat/{talk}")
    person.expect("Failed to load resource: net::ERR_INTERNET_DISCONNECTED")
    person.expect("htmx:sendError")
    person.expect("htmx:afterRequest")
    page = person.page
    await page.context.set_offline(True)
    await ask(page, "Are you there?")
    await expect(page.locator("#composer-problem")).to_contain_text("cannot be reached")
    await expect(box(page)).to_have_value("Are you there?")
    await page.context.set_offline(False)
    await box(page).press("Enter")
    await expect(replies(page)).to_have_count(2)
    await expect(page.locator("#composer-problem")).to_be_empty()


async def test_a_second_message_meanwhile_is_refused_kindly_and_not_lost(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    talk = stack.conversation("Hello", title="Two tabs")
    double.forget()
    double.plan.append(Reply(text=LONG, pause_s=0.1))
    person = await chat(f"/chat/{talk}")
    person.expect("Failed to load resource: the server responded with a status of 409")
    person.expect("Response Status Error Code 409")
    first, second = person.page, await person.page.context.new_page()
    await second.goto(first.url)
    await ask(first, "From the first tab")
    await awaited_word(first, "word2")
    await ask(second, "From the second tab")
    await expect(second.locator("#composer-problem")).to_contain_text("An answer is being written")
    await expect(box(second)).to_have_value("From the second tab")
    await expect(second.locator(".message.user .body")).to_have_text(["Hello", "From the first tab"])
    await awaited_word(second, "word3")  # and it listens to the answer from now on
    await ask(second, "From the second tab")  # Enter waits for the answer, and says so
    await expect(second.locator("#announcer")).to_have_text(
        "An answer is being written. Wait for it, or stop it."
    )
    await second.get_by_role("button", name="Stop").click()
    await expect(first.locator(".running")).to_have_count(0)
    await box(second).press("Enter")
    await expect(replies(second)).to_have_count(3)
    await expect(second.locator("#composer-problem")).to_be_empty()
    await ask(first, "The first again")  # shows also what it had missed
    await expect(replies(first)).to_have_count(4)
    await expect(first.locator(".message.user .body").nth(2)).to_have_text("From the second tab")


async def test_a_failure_is_told_in_plain_words_and_tried_again(chat: Chat, double: OpenAIDouble) -> None:
    double.plan.append(bad_key("sk-wrong"))
    page = (await chat()).page
    await ask(page, "Hello?")
    fault = page.locator("[data-fault]")
    await expect(fault).to_contain_text("does not accept this installation's key")
    await page.reload()
    await expect(fault).to_contain_text("does not accept this installation's key")
    await fault.get_by_role("button", name="Try again").click()
    await expect(box(page)).to_be_focused()
    await expect(replies(page)).to_have_text("The capital of France is Paris.")
    await expect(page.locator(".message.user")).to_have_count(1)
    await page.reload()
    await expect(page.locator(".message.user")).to_have_count(1)
    await expect(fault).to_have_count(0)


async def test_what_a_model_writes_is_shown_and_never_run(chat: Chat, double: OpenAIDouble) -> None:
    double.plan += [Reply(text=NASTY, pause_s=0.02), Reply(text=RICH, pause_s=0.02)]
    page = (await chat()).page
    await ask(page, "<script>window.hacked = 4</script>")
    await expect(replies(page)).to_contain_text("<script>window.hacked = 1</script>")
    await expect(page.locator(".message.user .body")).to_have_text("<script>window.hacked = 4</script>")
    await ask(page, "Nicely, please")
    await expect(replies(page)).to_have_count(2)
    await page.reload()
    await expect(replies(page)).to_have_count(2)
    assert await page.evaluate("() => window.hacked") is None
    assert await page.locator(".body img, .body script, .body [hx-get], #messages #composer").count() == 0
    hrefs = await page.locator(".body a").evaluate_all(
        "(links) => links.map((one) => one.getAttribute('href'))"
    )
    assert [href for href in hrefs if href and not href.startswith("https://")] == []
    await expect(page.locator(".body h3")).to_have_text("Plan")
    await expect(page.locator(".body td.right")).to_have_text("50")


async def test_code_and_answers_are_copied(chat: Chat, double: OpenAIDouble) -> None:
    double.plan.append(Reply(text=RICH))
    person = await chat()
    page = person.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ask(page, "Code")
    await page.get_by_role("button", name="Copy code").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("() => navigator.clipboard.readText()") == 'print("<hello>")\n'
    await page.get_by_role("button", name="Copy", exact=True).click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    assert "Take the 9:40 to Busan." in await page.evaluate("() => navigator.clipboard.readText()")


async def test_conversations_are_found_renamed_exported_and_deleted(
    chat: Chat, stack: ChatStack, tmp_path: Path
) -> None:
    keep, gone = stack.conversation("Hi", title="Night trains"), stack.conversation(title="Zebra facts")
    page = (await chat(f"/chat/{keep}")).page
    search = page.get_by_role("searchbox", name="Search by title")
    await search.fill("zeb")
    await expect(page.locator(".talk")).to_have_count(1)
    await search.fill("no such title")
    await expect(page.locator("#talk-list")).to_have_text("No conversation has that in its title.")
    await search.fill("")

    actions = page.locator(f"#talk-{keep}").get_by_label("Actions for “Night trains”")
    await actions.focus()
    await page.keyboard.press("Enter")
    row = page.locator(f"#talk-{keep}")
    await row.get_by_label("Title").fill("밤 기차")
    await row.get_by_label("Title").press("Enter")
    await expect(page.locator("#talk-title")).to_have_text("밤 기차")
    await expect(row.get_by_role("link", name="밤 기차")).to_be_focused()
    assert stack.api("GET", f"/v1/conversations/{keep}")["title"] == "밤 기차"

    for kind, sign in (("Markdown", "# 밤 기차"), ("JSON", '"title":"밤 기차"')):
        await row.get_by_label("Actions for “밤 기차”").click()
        async with page.expect_download() as download:
            await row.get_by_role("link", name=f"Export as {kind}").click()
        saved = tmp_path / kind
        await (await download.value).save_as(saved)
        assert sign in saved.read_text("utf-8")
        assert (await download.value).suggested_filename.startswith("밤 기차")
        await page.keyboard.press("Escape")

    page.on("dialog", lambda dialog: dialog.accept())
    await page.locator(f"#talk-{gone}").get_by_label("Actions for “Zebra facts”").click()
    await page.locator(f"#talk-{gone}").get_by_role("button", name="Delete").click()
    await expect(page.locator(f"#talk-{gone}")).to_have_count(0)
    await expect(search).to_be_focused()
    await row.get_by_label("Actions for “밤 기차”").click()
    await row.get_by_role("button", name="Delete").click()  # the one that is open
    await expect(page).to_have_url(re.compile("/chat$"))
    listed = stack.api("GET", "/v1/conversations")["data"]
    assert not {keep, gone} & {one["id"] for one in listed}


async def test_who_answers_and_what_it_is_told_is_chosen(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    page = (await chat()).page
    await page.get_by_text("Settings").click()
    await page.get_by_label("System prompt").fill("You are terse.")
    await page.get_by_label("Model").fill("gpt-4o-mini")
    await page.get_by_label("Provider").select_option("openai")
    await ask(page, "Hello")
    await expect(replies(page)).to_have_count(1)
    await page.get_by_text("Settings").click()
    await expect(page.get_by_label("Provider")).to_have_value("openai")
    await expect(page.get_by_label("Model")).to_have_value("gpt-4o-mini")
    await page.get_by_label("System prompt").fill("You are kind.")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#announcer")).to_have_text("Saved. It holds from the next message on.")
    await ask(page, "Again")
    await expect(replies(page)).to_have_count(2)
    told = [(one.body["model"], one.body["messages"][0]) for one in double.asked]
    assert told == [
        ("gpt-4o-mini", {"role": "system", "content": "You are terse."}),
        ("gpt-4o-mini", {"role": "system", "content": "You are kind."}),
    ]
    talk = stack.api("GET", f"/v1/conversations/{page.url.rpartition('/')[2]}")
    assert [one["role"] for one in talk["messages"]] == ["user", "assistant", "user", "assistant"]


async def test_a_session_that_is_over_costs_no_message(chat: Chat, stack: ChatStack) -> None:
    talk = stack.conversation("Hello", title="Kept")
    person = await chat(f"/chat/{talk}")
    person.expect("Failed to load resource: the server responded with a status of 401")
    page = person.page
    await page.context.clear_cookies()
    await ask(page, "Do not lose me")
    await expect(page.get_by_role("alert").first).to_contain_text("Your session is over")
    await page.fill("#key", person.key)
    await page.click("#enter")
    await expect(page).to_have_url(f"{person.url}/chat/{talk}")
    await expect(box(page)).to_have_value("Do not lose me")
    await box(page).press("Enter")
    await expect(replies(page)).to_have_count(2)


async def test_a_screen_reader_hears_the_answer_once_and_not_each_word(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    talk = stack.conversation("Hello")
    double.plan.append(Reply(text="Here you are, word for word.", pause_s=0.15))
    page = (await chat(f"/chat/{talk}")).page
    await page.evaluate(
        """() => { window.heard = []; new MutationObserver(() =>
            window.heard.push(document.getElementById("announcer").textContent)
        ).observe(document.getElementById("announcer"), {childList: true, characterData: true, subtree: true}); }"""
    )
    await ask(page, "Speak")
    await awaited_word(page, "Here")
    assert await page.locator(".running").get_attribute("aria-busy") == "true"
    assert await page.locator("#messages [aria-live], #messages[aria-live]").count() == 0
    await expect(replies(page)).to_have_count(2)
    assert await page.evaluate("() => window.heard") == [
        "The assistant is answering.", "Assistant: Here you are, word for word.",
    ]  # fmt: skip
    headings = page.locator("#messages h2")
    await expect(headings).to_have_text(["You", "Assistant", "You", "Assistant"])


async def test_a_long_conversation_shows_its_end_first_and_more_on_demand(
    chat: Chat, stack: ChatStack
) -> None:
    said = [f"Question {n}" for n in range(1, 46)]
    talk = stack.conversation(*said, title="Long")
    page = (await chat(f"/chat/{talk}")).page
    await expect(page.locator(".message")).to_have_count(40)
    await expect(page.get_by_text("Question 45", exact=True)).to_be_in_viewport()
    for count in (80, 90):
        await page.get_by_role("link", name="Show earlier messages").click()
        await expect(page.locator(".message")).to_have_count(count)
    assert await page.locator(".message.user .body").all_text_contents() == said
    await expect(page.get_by_role("link", name="Show earlier messages")).to_have_count(0)
    ids = await page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))
    await ask(page, "One more")
    await expect(page.locator(".message")).to_have_count(92)
    await expect(page.get_by_text("One more", exact=True)).to_be_in_viewport()


async def test_the_language_follows_the_browser_and_its_switch(chat: Chat, double: OpenAIDouble) -> None:
    double.plan.append(bad_key("sk-wrong"))
    page = (await chat(locale="ko-KR")).page
    await expect(page.get_by_role("button", name="보내기")).to_be_visible()
    await ask(page, "안녕하세요")
    await expect(page.locator("[data-fault]")).to_contain_text("키를 받아들이지 않습니다")
    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(page.locator("[data-fault]")).to_contain_text("does not accept")
    await expect(page).to_have_url(re.compile("/chat/conv_"))


async def test_a_key_that_may_only_read_reads(visit: Any, stack: ChatStack) -> None:
    made = stack.api("POST", "/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})
    person = await visit()
    person.key = made["key"]
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat")
    await expect(page.get_by_text("This key may only read.")).to_be_visible()
    await expect(box(page)).to_have_count(0)


async def test_a_conversation_of_another_key_is_not_there(visit: Any, stack: ChatStack) -> None:
    talk = stack.conversation("Secret")
    made = stack.api("POST", "/v1/keys", json={"name": "other", "scopes": ["jobs:read", "jobs:write"]})
    person = await visit()
    person.key = made["key"]
    person.expect("Failed to load resource: the server responded with a status of 404")
    page = await person.sign_in()
    await page.goto(f"{person.url}/chat/{talk}")
    await expect(page.get_by_role("alert")).to_contain_text("There is no such conversation.")
    assert "Secret" not in await page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_the_chat_is_accessible(
    chat: Chat, double: OpenAIDouble, stack: ChatStack, scheme: str, locale: str
) -> None:
    double.plan.append(Reply(text=RICH))
    talk = stack.conversation("Rich", title="Rich")
    double.plan += [bad_key("sk-wrong"), SLOW]
    person = await chat(color_scheme=scheme, locale=locale)
    page = person.page
    found = {"new": await person.violations()}
    await page.goto(f"{person.url}/chat/{talk}")
    await page.locator("#settings summary").click()
    await page.locator(f"#talk-{talk} summary").click()
    found["open"] = await person.violations()
    await ask(page, "Fail")
    await page.locator("[data-fault] details summary").click()
    found["fault"] = await person.violations()
    await ask(page, "Talk")
    await awaited_word(page, "word2")
    found["running"] = await person.violations()
    await page.locator("#stop").click()
    await expect(page.locator(".running")).to_have_count(0)
    assert {name: faults for name, faults in found.items() if faults} == {}


async def test_a_phone_needs_no_sideways_scrolling_and_opens_the_list(
    chat: Chat, double: OpenAIDouble, stack: ChatStack
) -> None:
    double.plan.append(Reply(text=RICH + "\n```\n" + "x" * 300 + "\n```\n" + "y" * 300))
    talk = stack.conversation("Z" * 200, title="Wide " + "w" * 150)
    page = (await chat(f"/chat/{talk}", viewport={"width": 360, "height": 740}, has_touch=True)).page
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 360
    await expect(box(page)).to_be_in_viewport()
    await expect(page.locator("#talks")).to_be_hidden()
    drawer = page.get_by_role("button", name="Conversations")
    await expect(drawer).to_have_attribute("aria-expanded", "false")
    await drawer.click()
    await expect(drawer).to_have_attribute("aria-expanded", "true")
    await expect(page.locator(f"#talk-{talk}")).to_be_visible()
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 360


async def test_the_console_leads_to_the_chat(visit: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Chat").click()
    await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    config = await page.locator("meta[name=htmx-config]").get_attribute("content")
    assert json.loads(config or "{}")["allowEval"] is False
