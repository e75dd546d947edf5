from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from callboard_gateway.pages.render import POLICY
from callboard_shared import access
from callboard_shared.ledger import verbs


@pytest.fixture
async def browser(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key, that keeps cookies as a browser does."""
    async with gateway.client("") as browser:
        browser.headers["Origin"] = gateway.url
        yield browser


async def sign_in(browser: httpx.AsyncClient, key: str) -> httpx.Response:
    return await browser.post("/sign-in", data={"key": key})


def token(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def a_job(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/v1/jobs", json={"type": "system.echo", "input": {"value": 1}, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_who_is_not_signed_in_is_sent_to_sign_in(browser: httpx.AsyncClient) -> None:
    for path in ("/", "/jobs/job_x", "/console/board"):
        answer = await browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    fragment = await browser.get("/console/board", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"]) == (401, "/sign-in")


async def test_a_key_signs_in_and_its_cookie_is_out_of_reach_for_scripts(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    answer = await sign_in(browser, f"  {gateway.key}\n")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert gateway.key not in cookie
    assert (await browser.get("/")).status_code == 200


@pytest.mark.parametrize("key", ["", "cb_wrong", "키", "x" * 150])
async def test_a_key_that_is_none_does_not_sign_in(browser: httpx.AsyncClient, key: str) -> None:
    answer = await sign_in(browser, key)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert 'id="sign-in-error"' in answer.text


async def test_a_link_signs_in_once(
    browser: httpx.AsyncClient, gateway: Any, client: httpx.AsyncClient
) -> None:
    await client.get("/v1/queues")
    key = await gateway.ledger.run(access.find_key(access.secret_hash(gateway.key)))
    await gateway.ledger.run(access.put_ticket("a-ticket", key.id))
    first = await browser.get("/sign-in?ticket=a-ticket")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert (await browser.get("/")).status_code == 200
    async with gateway.client("") as other:
        second = await other.get("/sign-in?ticket=a-ticket")
        assert (second.status_code, "set-cookie" in second.headers) == (401, False)


async def test_signing_out_ends_the_session_on_the_server(browser: httpx.AsyncClient, gateway: Any) -> None:
    await sign_in(browser, gateway.key)
    page = await browser.get("/")
    stolen = browser.cookies["callboard_session"]
    assert (await browser.post("/sign-out", data={"csrf": token(page)})).headers["location"] == "/sign-in"
    async with gateway.client("") as other:
        other.cookies.set("callboard_session", stolen)
        assert (await other.get("/")).status_code == 303


async def test_a_revoked_key_ends_its_session(browser: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/keys", json={"name": "short", "scopes": ["jobs:read"]})).json()
    await sign_in(browser, made["key"])
    assert (await browser.get("/")).status_code == 200
    await client.delete(f"/v1/keys/{made['id']}")
    assert (await browser.get("/")).status_code == 303


async def test_the_ledger_holds_no_secret_of_a_session(browser: httpx.AsyncClient, gateway: Any) -> None:
    await sign_in(browser, gateway.key)
    secret = browser.cookies["callboard_session"].encode()
    keys = await gateway.ledger.redis.keys("*session*")
    assert keys
    assert all(secret not in key for key in keys)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_another_sites_form_does_nothing(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any, headers: dict[str, str]
) -> None:
    await sign_in(browser, gateway.key)
    page = await browser.get("/")
    job = await a_job(client)
    form = {"csrf": token(page)}
    answer = await browser.post(f"/console/jobs/{job}/cancel", data=form, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    assert (await browser.post("/sign-in", data={"key": gateway.key}, headers=headers)).status_code == 403
    assert (await client.get(f"/v1/jobs/{job}")).json()["status"] == "queued"


@pytest.mark.parametrize("form", [{}, {"csrf": "0" * 64}, {"csrf": "ü"}])
async def test_a_form_without_the_token_does_nothing(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any, form: dict[str, str]
) -> None:
    await sign_in(browser, gateway.key)
    job = await a_job(client)
    for path in (f"/console/jobs/{job}/cancel", f"/console/jobs/{job}/retry", "/console/submit", "/sign-out"):
        assert (await browser.post(path, data=form)).status_code == 403
    assert (await client.get(f"/v1/jobs/{job}")).json()["status"] == "queued"
    assert (await browser.get("/")).status_code == 200


async def test_the_board_shows_the_keys_jobs_and_no_others(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, stranger: httpx.AsyncClient, gateway: Any
) -> None:
    mine, foreign = await a_job(client), await a_job(stranger)
    await sign_in(browser, gateway.key)
    page = await browser.get("/")
    assert mine in page.text
    assert foreign not in page.text
    assert (await browser.get(f"/jobs/{foreign}")).status_code == 404
    assert (await browser.get(f"/jobs/{mine}")).status_code == 200


async def test_the_board_shows_at_most_twenty_jobs_newest_first(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    jobs = [await a_job(client) for _ in range(22)]
    await sign_in(browser, gateway.key)
    shown = re.findall(r'id="row-(job_\w+)"', (await browser.get("/")).text)
    assert shown == jobs[:1:-1]


async def test_a_fragment_that_is_known_already_is_204(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    job = await a_job(client)
    await sign_in(browser, gateway.key)
    first = await browser.get(f"/console/jobs/{job}")
    seen = re.search(r"seen=([0-9a-f]+)", first.text)
    assert seen
    assert (await browser.get(f"/console/jobs/{job}?seen={seen[1]}")).status_code == 204
    await gateway.ledger.run(verbs.cancel(job, "system"))
    changed = await browser.get(f"/console/jobs/{job}?seen={seen[1]}")
    assert changed.status_code == 200
    assert "hx-trigger" not in changed.text  # it has ended: nothing more to ask


async def test_the_playground_submits_by_the_rules_of_the_api(
    browser: httpx.AsyncClient, gateway: Any
) -> None:
    await sign_in(browser, gateway.key)
    csrf = token(await browser.get("/"))
    form = {"csrf": csrf, "type": "system.echo", "input": '{"value": "안녕"}'}
    answer = await browser.post("/console/submit", data=form)
    assert answer.status_code == 303
    assert "안녕" in (await browser.get(answer.headers["location"])).text


@pytest.mark.parametrize(
    ("type_", "text", "said"),
    [
        ("system.echo", "{nonsense", "could not be read"),
        ("system.echo", '{"value": NaN}', "NaN"),
        ("system.echo", '{"valu": 1}', "valu"),
        ("system.ecko", "{}", "system.echo"),
        ("nlp.embed", '{"texts": [""]}', "texts"),
    ],
)
async def test_a_refused_submission_says_why_and_keeps_the_text(
    browser: httpx.AsyncClient, gateway: Any, type_: str, text: str, said: str
) -> None:
    await sign_in(browser, gateway.key)
    csrf = token(await browser.get("/"))
    answer = await browser.post("/console/submit", data={"csrf": csrf, "type": type_, "input": text})
    assert answer.status_code == 422
    alert = answer.text[answer.text.index('class="problem"') :]
    assert said in alert
    assert text.split('"', maxsplit=1)[0] in alert


async def test_cancel_and_retry_work_without_scripts(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    job = await a_job(client)
    await sign_in(browser, gateway.key)
    csrf = token(await browser.get(f"/jobs/{job}"))
    assert (await browser.post(f"/console/jobs/{job}/cancel", data={"csrf": csrf})).status_code == 303
    assert (await client.get(f"/v1/jobs/{job}")).json()["status"] == "canceled"
    answer = await browser.post(f"/console/jobs/{job}/retry", data={"csrf": csrf})
    again = answer.headers["location"].rpartition("/")[2]
    assert (await client.get(f"/v1/jobs/{again}")).json()["retried_from"] == job


async def test_a_key_that_may_only_read_sees_no_buttons_and_has_none(
    browser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    made = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["jobs:read"]})).json()
    await sign_in(browser, made["key"])
    page = await browser.get("/")
    assert "<textarea" not in page.text
    answer = await browser.post(
        "/console/submit", data={"csrf": token(page), "type": "system.echo", "input": "{}"}
    )
    assert answer.status_code == 403


async def test_what_a_user_wrote_is_shown_and_never_run(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    job = await a_job(client, input={"value": "<script>alert(1)</script>"})
    await sign_in(browser, gateway.key)
    text = (await browser.get(f"/jobs/{job}")).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


async def test_no_page_allows_inline_scripts_or_styles(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    job = await a_job(client)
    pages = [await browser.get("/sign-in"), await browser.get("/docs")]
    await sign_in(browser, gateway.key)
    pages += [await browser.get("/"), await browser.get(f"/jobs/{job}"), await browser.get("/docs")]
    for page in pages:
        assert page.status_code == 200
        assert page.headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert " style=" not in page.text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", page.text)
        assert page.headers["cache-control"] == "no-store"
        assert "https://" not in page.text  # nothing comes from elsewhere


async def test_the_language_follows_the_browser_and_then_the_choice(browser: httpx.AsyncClient) -> None:
    korean = await browser.get("/sign-in", headers={"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"})
    assert '<html lang="ko">' in korean.text
    assert "로그인" in korean.text
    chosen = await browser.get("/language/en?back=/docs")
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/docs")
    assert '<html lang="en">' in (await browser.get("/sign-in", headers={"Accept-Language": "ko"})).text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y"])
async def test_the_language_switch_leads_nowhere_else(browser: httpx.AsyncClient, back: str) -> None:
    answer = await browser.get("/language/ko", params={"back": back})
    assert answer.headers["location"] == "/"


async def test_the_session_also_opens_the_api_for_the_consoles_own_pages(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, gateway: Any
) -> None:
    job = await a_job(client)
    await sign_in(browser, gateway.key)
    assert (await browser.get(f"/v1/jobs/{job}")).status_code == 200
    csrf = token(await browser.get("/"))
    del browser.headers["Origin"]
    assert (await browser.post(f"/v1/jobs/{job}/cancel")).status_code == 403
    assert (await browser.post(f"/v1/jobs/{job}/cancel", headers={"X-CSRF-Token": csrf})).status_code == 200


async def test_the_assets_are_our_own_and_are_there(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/docs")).text + (await browser.get("/sign-in")).text
    assets = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    assert len(assets) >= 8
    for asset in assets:
        answer = await browser.get(asset)
        assert answer.status_code == 200
        assert "max-age" in answer.headers["cache-control"]
    assert (await browser.get("/static/../sessions.py")).status_code == 404
    assert (await browser.get("/static/%2e%2e/sessions.py")).status_code == 404
