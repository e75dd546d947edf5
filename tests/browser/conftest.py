"""A real Chromium on the running stack. Whatever a page complains of, or asks of another host, fails its test."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "doubles"), str(TESTS / "integration" / "worker"), str(TESTS / "browser")]

AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

RECORD_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Visit:
    """A page, and what went wrong on it. ``expect`` takes the beginning of an error that a test provokes."""

    page: Page
    url: str
    key: str
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, error: str) -> None:
        self.expected.append(error)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked for {request.url}")

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not text.startswith(tuple(self.expected) or ("\0",))]

    async def sign_in(self) -> Page:
        await self.page.goto(f"{self.url}/sign-in")
        await self.page.fill("#key", self.key)
        await self.page.click("#enter")
        await self.page.wait_for_selector("#board")
        return self.page

    async def violations(self, exclude: tuple[str, ...] = ()) -> list[str]:
        """What axe-core calls serious or critical."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send(
            "Runtime.evaluate", {"expression": AXE.read_text("utf-8")}
        )  # no script tag: the CSP stands
        found: list[dict[str, Any]] = await self.page.evaluate(
            "(exclude) => axe.run({exclude}).then((result) => result.violations)", [[one] for one in exclude]
        )
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "no Chromium is installed (Debian: apt install chromium)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        await browser.close()


Open = Callable[..., Awaitable[Visit]]


@pytest.fixture
async def visit(browser: Browser, stack: Any) -> AsyncIterator[Open]:
    """Opens a fresh browser profile; options as of Playwright's ``new_context``."""
    visits: list[Visit] = []

    async def open_one(**options: Any) -> Visit:
        context = await browser.new_context(**{"locale": "en-US"} | options)
        await context.add_init_script(RECORD_VIOLATIONS)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        one = Visit(page, stack.url, stack.key)
        page.on("console", one.on_console)
        page.on("pageerror", lambda error: one.complaints.append(str(error)))
        page.on("request", one.on_request)
        visits.append(one)
        return one

    yield open_one
    complaints = [text for one in visits for text in one.unexpected()]
    for one in visits:
        await one.page.context.close()
    assert complaints == []
