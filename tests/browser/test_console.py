"""The console as a person uses it: in a real browser, on the running stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.browser


def submit(stack: Any, value: object = 1, sleep_ms: int = 0) -> str:
    answer = httpx.post(
        f"{stack.url}/v1/jobs",
        headers={"Authorization": f"Bearer {stack.key}"},
        json={"type": "system.echo", "input": {"value": value, "sleep_ms": sleep_ms}},
        timeout=20,
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def new_link(stack: Any) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "callboard_embedded", "sign-in"],
        env=os.environ | {"CALLBOARD_HOME": str(stack.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"/sign-in\?ticket=\S+", made.stdout)
    assert found, made.stdout
    return f"{stack.url}{found[0]}"


async def mark(page: Page) -> None:
    """Leave a trace that a reload would wipe out."""
    await page.evaluate("() => { window.notReloaded = true; }")


async def was_not_reloaded(page: Page) -> bool:
    return bool(await page.evaluate("() => window.notReloaded === true"))


async def test_a_key_signs_in_and_sign_out_ends_it(visit: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.goto(person.url)
    await expect(page).to_have_url(f"{person.url}/sign-in")


async def test_a_wrong_key_is_told_so(visit: Any) -> None:
    person = await visit()
    person.expect("Failed to load resource: the server responded with a status of 401")
    await person.page.goto(person.url)
    await person.page.fill("#key", "cb_nonsense")
    await person.page.keyboard.press("Enter")
    await expect(person.page.get_by_role("alert").first).to_contain_text("not known here")


async def test_the_link_signs_in_once(visit: Any, stack: Any) -> None:
    link = new_link(stack)
    person = await visit()
    await person.page.goto(link)
    await expect(person.page).to_have_url(f"{person.url}/")
    await expect(person.page.locator("#board")).to_be_visible()
    other = await visit()
    other.expect("Failed to load resource: the server responded with a status of 401")
    await other.page.goto(link)
    await expect(other.page.get_by_role("alert").first).to_contain_text("has been used")


async def test_a_job_of_another_program_appears_and_ends_without_a_reload(visit: Any, stack: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await mark(page)
    job = submit(stack, sleep_ms=3000)
    row = page.locator(f"#row-{job}")
    await expect(row).to_have_attribute("data-status", "running")
    await expect(row).to_have_attribute("data-status", "succeeded")
    assert await was_not_reloaded(page)
    assert "Latest job: succeeded" in (await page.locator("#announcer").text_content() or "")


async def test_the_playground_runs_a_job_and_its_page_follows_it(visit: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await page.get_by_label("Job type").select_option("system.echo")
    await expect(page.get_by_label("Input (JSON)")).to_have_value(re.compile('"hello": "world"'))
    await page.get_by_label("Input (JSON)").fill(json.dumps({"value": "come back", "sleep_ms": 2500}))
    await page.get_by_role("button", name="Submit job").click()
    await expect(page).to_have_url(re.compile("/jobs/job_"))
    await mark(page)
    job = page.locator("#job")
    await expect(job).to_have_attribute("data-status", "running")
    await expect(job).to_have_attribute("data-status", "succeeded")
    await expect(page.locator("pre.output")).to_contain_text("come back")
    await expect(page.locator(".events li").last).to_contain_text("succeeded")
    assert await was_not_reloaded(page)


async def test_what_was_refused_says_why_and_keeps_the_text(visit: Any) -> None:
    person = await visit()
    person.expect("Failed to load resource: the server responded with a status of 422")
    page = await person.sign_in()
    await page.get_by_label("Job type").select_option("system.echo")
    await page.get_by_label("Input (JSON)").fill('{"valu": 1}')
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".problem")).to_contain_text("valu")
    await expect(page.get_by_label("Input (JSON)")).to_have_value('{"valu": 1}')
    await expect(page.get_by_label("Job type")).to_have_value("system.echo")


async def test_a_running_job_is_canceled_by_its_button_and_retried(visit: Any, stack: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    job = submit(stack, sleep_ms=120_000)
    await page.goto(f"{person.url}/jobs/{job}")
    article = page.locator("#job")
    await expect(article).to_have_attribute("data-status", "running")
    await mark(page)
    await page.get_by_role("button", name="Cancel job").click()
    await expect(article).to_have_attribute("data-status", "canceled")
    assert await was_not_reloaded(page)
    await page.get_by_role("button", name="Retry job").click()
    await expect(page).not_to_have_url(re.compile(job))
    await expect(article).to_have_attribute("data-status", re.compile("queued|running"))
    await page.get_by_role("button", name="Cancel job").click()
    await expect(article).to_have_attribute("data-status", "canceled")


async def test_the_focus_stays_where_it_was_while_the_board_refreshes(visit: Any, stack: Any) -> None:
    first = submit(stack)
    person = await visit()
    page = await person.sign_in()
    await page.locator(f"#open-{first}").focus()
    second = submit(stack)
    await expect(page.locator(f"#row-{second}")).to_be_visible()
    assert await page.evaluate("() => document.activeElement.id") == f"open-{first}"


async def test_the_language_follows_the_browser_and_its_switch(visit: Any) -> None:
    person = await visit(locale="ko-KR")
    page = await person.sign_in()
    await expect(page.get_by_role("heading", name="대기열")).to_be_visible()
    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    await page.get_by_role("link", name="한국어").click()
    await expect(page.get_by_role("heading", name="최근 작업")).to_be_visible()
    assert await page.evaluate("() => document.documentElement.lang") == "ko"


async def test_the_first_tab_leads_past_the_navigation(visit: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


async def test_the_api_page_shows_and_tries_out_the_api_without_a_network(visit: Any) -> None:
    person = await visit()
    page = await person.sign_in()
    await page.goto(f"{person.url}/docs")
    await page.locator(".opblock").nth(14).wait_for()
    operation = page.locator(".opblock").filter(has=page.locator('[data-path="/v1/queues"]'))
    await operation.locator(".opblock-summary").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".live-responses-table tbody td.response-col_status")).to_contain_text(
        "200"
    )


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-US"), ("dark", "ko-KR")])
async def test_the_pages_are_accessible(visit: Any, stack: Any, scheme: str, locale: str) -> None:
    job = submit(stack, value={"text": "안녕"})
    person = await visit(color_scheme=scheme, locale=locale)
    await person.page.goto(f"{person.url}/sign-in")
    found = {"sign-in": await person.violations()}
    page = await person.sign_in()
    found["board"] = await person.violations()
    await page.goto(f"{person.url}/jobs/{job}")
    found["job"] = await person.violations()
    await page.goto(f"{person.url}/docs")
    await page.locator(".opblock").first.wait_for()
    found["docs"] = await person.violations(exclude=("#api",))  # inside is Swagger UI's own markup
    assert {name: faults for name, faults in found.items() if faults} == {}


async def test_a_narrow_screen_needs_no_sideways_scrolling(visit: Any, stack: Any) -> None:
    job = submit(stack)
    person = await visit(viewport={"width": 360, "height": 740})
    page = await person.sign_in()
    for path in ("/", f"/jobs/{job}", "/docs"):
        await page.goto(person.url + path)
        width = await page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 360, path
