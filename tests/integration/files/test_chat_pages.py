"""The chat's pages without a browser's scripts: what a form does, whose it is, and what a stream says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from limits.aio.storage import MemoryStorage
from pydantic import SecretStr

from callboard_gateway.app import create_app
from callboard_gateway.pages.render import POLICY
from callboard_gateway.rate_limit import RateLimiter
from callboard_gateway.settings import GatewaySettings
from callboard_shared.jobs import CATALOGUE
from callboard_shared.jobs.llm import ENGLISH_ALONE
from callboard_shared.ledger import Ended, verbs
from callboard_shared.settings import LedgerSettings

HTMX = {"HX-Request": "true"}


@pytest.fixture
async def browser(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in with the admin's key; keeps cookies as a browser does."""
    async with gateway.client("") as browser:
        browser.headers["Origin"] = gateway.url
        await browser.post("/sign-in", data={"key": gateway.key})
        yield browser


async def form(browser: httpx.AsyncClient, path: str, page: str = "/chat", **fields: Any) -> httpx.Response:
    """A form of ours, sent with the token of ``page``."""
    headers = fields.pop("headers", None)
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await browser.get(page)).text)
    assert found
    return await browser.post(path, data={"csrf": found[1], **fields}, headers=headers)


async def begun(browser: httpx.AsyncClient, content: str = "Hello") -> str:
    """The path of a new conversation, in which this waits to be answered."""
    answer = await form(browser, "/chat/messages", content=content)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def claimed(gateway: Any) -> str:
    """The waiting job, as a worker has it."""
    call = verbs.claim("llm", "runner", limits={"llm.chat": (1, 0)}, max_jobs=1, lease_ms=60_000)
    (job,) = (await gateway.ledger.run(call)).jobs
    return str(job.id)


async def say(gateway: Any, job_id: str, *events: tuple[str, dict[str, Any]]) -> None:
    told = [(kind, orjson.dumps(data)) for kind, data in events]
    assert await gateway.ledger.run(verbs.report("llm", "runner", job_id, 1, told)) == "held"


async def end(gateway: Any, job_id: str, outcome: Any, reply: str = "", **fields: Any) -> None:
    warnings = fields.pop("warnings", [])
    said = {"content": reply, "model": "m", "provider": "local", "warnings": warnings}
    body = orjson.dumps(said) if reply else b""
    ended = Ended(job_id, 1, outcome, reply=body, **fields)
    assert (await gateway.ledger.run(verbs.finish("llm", "runner", [ended]))).results == ["committed"]


async def test_who_is_not_signed_in_comes_back_after_signing_in(gateway: Any) -> None:
    async with gateway.client("") as stranger:
        stranger.headers["Origin"] = gateway.url
        answer = await stranger.get("/chat/conv_x")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fchat%2Fconv_x")
        form_page = await stranger.get(answer.headers["location"])
        assert 'name="next" value="/chat/conv_x"' in form_page.text
        signed = await stranger.post("/sign-in", data={"key": gateway.key, "next": "/chat/conv_x"})
        assert (signed.status_code, signed.headers["location"]) == (303, "/chat/conv_x")


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_the_sign_in_leads_to_our_own_pages_only(gateway: Any, elsewhere: str) -> None:
    async with gateway.client("") as stranger:
        stranger.headers["Origin"] = gateway.url
        answer = await stranger.post("/sign-in", data={"key": gateway.key, "next": elsewhere})
        assert answer.headers["location"] == "/"
        assert "evil" not in (await stranger.get("/sign-in", params={"next": elsewhere})).text


async def test_a_part_of_the_page_without_a_session_sends_the_whole_page_to_sign_in(gateway: Any) -> None:
    async with gateway.client("") as stranger:
        headers = HTMX | {"HX-Current-URL": f"{gateway.url}/chat/conv_y?q=1", "Origin": gateway.url}
        answer = await stranger.post("/chat/conv_y/messages", data={"content": "x"}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"] == "/sign-in?next=%2Fchat%2Fconv_y&over=1"


async def test_a_chat_works_without_scripts(browser: httpx.AsyncClient, gateway: Any) -> None:
    path = await begun(browser, "What is\r\n**this**?")
    page = (await browser.get(path)).text
    assert "What is\n**this**?" in page
    job = await claimed(gateway)
    assert f'sse-connect="{path}/replies/{job}"' in page
    refused = await form(browser, f"{path}/messages", path, content="And <b>that</b>?")
    assert refused.status_code == 409
    assert "An answer is being written" in refused.text
    assert "And &lt;b&gt;that&lt;/b&gt;?</textarea>" in refused.text  # nothing is lost
    await end(gateway, job, "succeeded", "A **test**.")
    page = (await browser.get(path)).text
    assert "<strong>test</strong>" in page
    assert "local · m" in page
    assert "sse-connect" not in page
    answer = await form(browser, f"{path}/messages", path, content="Thanks")
    assert (answer.status_code, answer.headers["location"]) == (303, path)


async def test_a_waiting_answer_is_stopped_and_asked_for_again(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    assert (await form(browser, f"{path}/stop", path)).headers["location"] == path
    page = (await browser.get(path)).text
    assert "Stopped before anything was said." in page
    assert (await form(browser, f"{path}/stop", path)).status_code == 303  # nothing runs: nothing to do
    assert (await form(browser, f"{path}/again", path)).headers["location"] == path
    job = await claimed(gateway)
    await end(gateway, job, "succeeded", "Now.")
    page = (await browser.get(path)).text
    assert page.count('class="message user"') == 1
    assert "Now." in page


async def test_an_answer_that_is_there_before_the_page_looks_is_shown_all_the_same(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    await end(gateway, await claimed(gateway), "failed", error=b'{"code":"provider-unavailable"}')
    await form(browser, f"{path}/again", path)  # as from another tab, or answered within a moment
    job = await claimed(gateway)
    await end(gateway, job, "succeeded", "At once.")
    part = await form(browser, f"{path}/again", path, headers=HTMX)
    assert f'sse-connect="{path}/replies/{job}"' in part.text
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        assert "At once." in (await stream.aread()).decode()


async def test_only_the_last_message_is_offered_again(browser: httpx.AsyncClient, gateway: Any) -> None:
    path = await begun(browser)
    error = orjson.dumps({"code": "provider-unavailable", "detail": "The server <b>said</b> 503."})
    await end(gateway, await claimed(gateway), "failed", error=error)
    page = (await browser.get(path)).text
    assert "cannot be reached at the moment" in page
    assert "The server &lt;b&gt;said&lt;/b&gt; 503." in page
    assert page.count("/again") == 2  # action and hx-post of one form
    await form(browser, f"{path}/messages", path, content="Another")
    page = (await browser.get(path)).text
    assert "/again" not in page
    assert "cannot be reached at the moment" in page


@pytest.mark.parametrize(
    "fields", [{"content": ""}, {"content": "a\x00b"}, {"content": "x", "provider": "me"}]
)
async def test_a_refused_first_message_leaves_no_conversation(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, fields: dict[str, str]
) -> None:
    answer = await form(browser, "/chat/messages", **fields)
    assert answer.status_code == 422
    assert 'class="problem"' in answer.text
    assert (await client.get("/v1/conversations")).json()["data"] == []
    part = await form(browser, "/chat/messages", headers=HTMX, **fields)
    assert (part.status_code, part.headers["hx-retarget"]) == (422, "#composer-problem")
    assert "<html" not in part.text


async def test_a_message_that_is_too_large_is_told_so(browser: httpx.AsyncClient, gateway: Any) -> None:
    settings = gateway.app.state.settings
    gateway.app.state.settings = settings.model_copy(update={"max_json_bytes": 10_000})
    answer = await form(browser, "/chat/messages", content="x" * 10_001, headers=HTMX)
    assert (answer.status_code, "too large" in answer.text) == (413, True)


async def test_a_part_of_the_page_shows_what_the_tab_has_not_seen(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser, "First")
    await end(gateway, await claimed(gateway), "succeeded", "Reply one.")
    answer = await form(browser, f"{path}/messages", path, content="Second", seen="1", headers=HTMX)
    assert answer.status_code == 200
    assert ("Reply one." in answer.text, "First" in answer.text) == (True, False)
    assert re.search(r'id="seen" value="3"', answer.text)
    busy = await form(browser, f"{path}/messages", path, content="Third", seen="2", headers=HTMX)
    assert (busy.status_code, busy.headers["hx-retarget"]) == (409, "#composer-problem")
    assert ("Second" in busy.text, "sse-connect" in busy.text, "Reply one." in busy.text) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize("action", ["messages", "stop", "again", "rename", "settings", "delete", "speech/1"])
async def test_a_form_without_the_token_or_of_another_site_does_nothing(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, action: str
) -> None:
    path = await begun(browser)
    before = (await client.get(f"/v1/conversations/{path.rpartition('/')[2]}")).json()
    fields = {"content": "x", "title": "x", "system": "x"}
    assert (await browser.post(f"{path}/{action}", data=fields)).status_code == 403
    foreign = {"Origin": "https://evil.example"}
    assert (await form(browser, f"{path}/{action}", path, headers=foreign, **fields)).status_code == 403
    assert (await client.get(f"/v1/conversations/{path.rpartition('/')[2]}")).json() == before


async def test_the_keys_rate_limit_holds_for_the_page_too(browser: httpx.AsyncClient, gateway: Any) -> None:
    path = await begun(browser)
    gateway.app.state.keyring._limiter = RateLimiter(MemoryStorage(), 0.001, 1)
    answers = [await form(browser, f"{path}/stop", path, headers=HTMX) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 429]
    assert "too much at once" in answers[1].text


async def test_a_picture_is_said_to_be_one(browser: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/conversations", json={})).json()["id"]
    parts = [
        {"type": "text", "text": "What is <this>?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
    ]
    sent = await client.post(f"/v1/conversations/{made}/messages", json={"content": parts})
    assert sent.status_code == 202, sent.text
    page = (await browser.get(f"/chat/{made}")).text
    assert "What is &lt;this&gt;?\n\n🖼" in page
    assert "example.org" not in page


async def test_who_listens_learns_that_the_conversation_was_deleted(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    job = await claimed(gateway)
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        events = _events(stream)
        await anext(events)
        await form(browser, f"{path}/delete")
        await end(gateway, job, "canceled")
        kind, text = [event async for event in events][-1]
    assert (kind, "There is no such conversation." in text) == ("done", True)
    assert f'id="reply-{job}" hx-swap-oob="delete"' in text


async def test_a_key_that_may_only_read_changes_nothing(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    made = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()
    await browser.post("/sign-in", data={"key": made["key"]})
    page = await browser.get("/chat")
    assert '<textarea id="content"' not in page.text
    assert (await form(browser, "/chat/messages", "/chat", content="x")).status_code == 403


async def test_another_keys_conversation_is_not_there(
    browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    made = (await stranger.post("/v1/conversations", json={"title": "Private"})).json()["id"]
    assert "Private" not in (await browser.get("/chat/list")).text
    for path in (f"/chat/{made}", f"/chat/{made}/turns?before=5", "/chat/conv_nonsense"):
        answer = await browser.get(path)
        assert (answer.status_code, "There is no such conversation." in answer.text) == (404, True)
    for action in ("messages", "stop", "again", "rename", "settings", "delete", "speech/0"):
        answer = await form(browser, f"/chat/{made}/{action}", content="x", title="x", headers=HTMX)
        assert answer.status_code == 404, action
    assert (await stranger.get(f"/v1/conversations/{made}")).json()["title"] == "Private"


async def test_settings_and_titles_are_kept_and_checked(
    browser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    path = await begun(browser)
    conversation = f"/v1/conversations/{path.rpartition('/')[2]}?include_system=true"
    await form(browser, f"{path}/settings", path, system=" Be brief. ", model="gpt-4o-mini")
    await form(browser, f"{path}/rename", path, title="  Trains ")
    found = (await client.get(conversation)).json()
    assert (found["system"], found["model"], found["title"]) == ("Be brief.", "gpt-4o-mini", "Trains")
    await form(browser, f"{path}/settings", path, system="", model="")
    found = (await client.get(conversation)).json()
    assert (found["system"], found["model"]) == (None, None)
    assert (await form(browser, f"{path}/rename", path, title="  ", headers=HTMX)).status_code == 422


async def test_the_list_is_searched_and_goes_on(
    browser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    for n in range(53):
        await client.post("/v1/conversations", json={"title": f"Talk {n} {'odd' if n % 2 else 'even'}"})
    first = (await browser.get("/chat/list")).text
    assert first.count('class="talk"') == 50
    more = re.search(r'hx-get="(/chat/list\?[^"]+)"', first)
    assert more
    rest = (await browser.get(more[1].replace("&amp;", "&"))).text
    assert re.findall(r">(Talk \d) ", rest) == ["Talk 2", "Talk 1", "Talk 0"]
    found = (await browser.get("/chat/list?q=TALK+odd")).text
    assert (found.count('class="talk"'), "even" in found) == (26, False)


async def test_a_stream_tells_the_answer_as_html_and_then_its_place_in_the_history(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    job = await claimed(gateway)
    said = [("delta", {"text": "First <i>\n\n"}), ("delta", {"text": "```\na\nb"})]
    await say(gateway, job, *said)
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = _events(stream)
        text = ""
        while "First" not in text:
            kind, text = await anext(events)
            assert kind == "reply"
        assert f'<div hx-swap-oob="innerHTML:#said-{job}"><p>First &lt;i&gt;</p>' in text
        assert "<code>a\nb" in text
        await end(gateway, job, "succeeded", "First <i>\n\n```\na\nb\n```")
        rest = [event async for event in events]
    kind, text = rest[-1]
    assert kind == "done"
    assert f'id="reply-{job}" data-reply hx-swap-oob="outerHTML"' in text
    assert 'id="seen" value="2"' in text
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:  # it is over: the end at once
        assert [event async for event in _events(stream)] == [("done", text)]


async def test_who_waits_is_told_what_for(browser: httpx.AsyncClient, gateway: Any) -> None:
    path = await begun(browser)
    job = (await browser.get(path)).text.partition("/replies/")[2].partition('"')[0]
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        async for _, text in _events(stream):
            assert "Nobody is there to answer at the moment." in text
            break


async def test_an_attempt_that_begins_anew_begins_anew_on_the_page(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    job = await claimed(gateway)
    await say(gateway, job, ("delta", {"text": "Wrong way."}))
    again = Ended(job, 1, "retry", error=b'{"code":"provider-unavailable"}', delay_ms=0)
    await gateway.ledger.run(verbs.finish("llm", "runner", [again]))
    await gateway.ledger.run(verbs.sweep("llm"))
    assert await claimed(gateway) == job
    await gateway.ledger.run(verbs.report("llm", "runner", job, 2, [("delta", b'{"text":"Right way."}')]))
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        async for _, text in _events(stream):
            if "Right way." in text:
                break
    assert "Wrong" not in text
    assert "innerHTML:#said" in text


async def test_a_stream_without_a_session_says_so_and_ends(browser: httpx.AsyncClient, gateway: Any) -> None:
    path = await begun(browser)
    job = await claimed(gateway)
    browser.cookies.clear()
    async with browser.stream("GET", f"{path}/replies/{job}") as stream:
        ((kind, text),) = [event async for event in _events(stream)]
    assert (kind, "Your session is over." in text) == ("done", True)


async def test_another_keys_answer_is_not_heard(
    browser: httpx.AsyncClient, stranger: httpx.AsyncClient, gateway: Any
) -> None:
    made = (await stranger.post("/v1/conversations", json={})).json()["id"]
    await stranger.post(f"/v1/conversations/{made}/messages", json={"content": "Hi"})
    job = await claimed(gateway)
    await say(gateway, job, ("delta", {"text": "Private words"}))
    async with browser.stream("GET", f"/chat/{made}/replies/{job}") as stream:
        ((kind, text),) = [event async for event in _events(stream)]
    assert (kind, "Private" in text) == ("done", False)


async def test_an_answer_can_be_read_aloud_where_there_is_a_voice(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    await end(gateway, await claimed(gateway), "succeeded", "Words.")
    there_is_a_voice = CATALOGUE.get("tts.speech") is not None
    assert ("Read aloud" in (await browser.get(path)).text) == there_is_a_voice


async def test_a_model_that_speaks_english_alone_is_told_of_in_the_readers_language(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser, "안녕하세요")
    await end(gateway, await claimed(gateway), "succeeded", "…", warnings=[ENGLISH_ALONE, "Another note."])
    korean = (await browser.get(path, headers={"Accept-Language": "ko"})).text
    assert "영어용 작은 모델" in korean and "Another note." in korean and ENGLISH_ALONE not in korean
    assert "do not rely on this answer" in (await browser.get(path)).text


async def test_no_page_of_the_chat_allows_inline_scripts_or_styles(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    path = await begun(browser)
    await end(gateway, await claimed(gateway), "succeeded", "| a |\n|--:|\n| <b style='x'>1</b> |")
    for page in (await browser.get("/chat"), await browser.get(path), await browser.get("/chat/conv_x")):
        assert page.headers["content-security-policy"] == POLICY
        assert not re.search(r"<[^>]+\sstyle=", page.text)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<[^>]+\son\w+=|https://", page.text)
        assert page.headers["cache-control"] == "no-store"
        for asset in set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)):
            assert (await browser.get(asset)).status_code == 200


async def _events(stream: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    kind, lines = "", []
    async for line in stream.aiter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
        elif not line and kind:
            yield kind, "\n".join(lines)
            kind, lines = "", []


async def test_a_ledger_that_is_away_is_told_as_a_page_and_as_a_part_of_one() -> None:
    nowhere = LedgerSettings(redis_url=SecretStr("redis://127.0.0.1:1/0"))
    transport = httpx.ASGITransport(create_app(GatewaySettings(), ledger_settings=nowhere))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as browser:
        browser.cookies.set("callboard_session", "x")
        page = await browser.get("/chat")
        assert (page.status_code, "ledger is away" in page.text, "<html" in page.text) == (503, True, True)
        sent = await browser.post("/chat/messages", data={"content": "x"}, headers=HTMX)
        assert (sent.status_code, sent.headers["hx-retarget"]) == (503, "#composer-problem")
        assert "ledger is away" in sent.text
