"""Markdown that a model wrote, as HTML that is safe to show, and as text to be spoken.

Two fences, either of which would do: markdown-it-py reads no HTML (a tag in the text is text), and nh3 lets through
only the elements and attributes named here. A picture becomes a link to it, so that opening a chat asks no other host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_CHARS = 100_000
"""Of Markdown that is read as such; what is longer is shown as it was written."""

_HEADINGS_BELOW = 2
"""A message is itself under a heading of the page's second level."""
_ALIGNMENTS = {"text-align:left": "left", "text-align:center": "center", "text-align:right": "right"}


@dataclass(frozen=True, slots=True)
class Labels:
    """Words that the HTML of a code block holds, in the reader's language."""

    code: str
    copy: str


def render(text: str, labels: Labels) -> str:
    """Safe HTML of ``text``."""
    if len(text) > MAX_CHARS:
        return f'<p class="plain">{escape(text)}</p>'
    return _CLEANER.clean(_PARSER.render(text, {"labels": labels}))


def spoken(text: str) -> str:
    """What a voice says: the words without marks, a line for each block; code blocks are left out."""
    if len(text) > MAX_CHARS:
        return text
    said = (_words(token.children or ()) for token in _PARSER.parse(text) if token.type == "inline")
    return "\n".join(filter(None, said))


class LiveMarkdown:
    """Markdown that still grows: a block that is finished is rendered once, only the last one again and again.

    What a later line can change in an earlier block (a link's address far below) is set right by rendering the whole
    when it is there.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._open = ""

    def add(self, text: str) -> None:
        self._open += text.replace("\r", "")

    def take(self) -> tuple[str, str]:
        """HTML of the blocks that were finished since the last time, and of the one that is being written."""
        finished = ""
        if len(self._open) <= MAX_CHARS and (cut := self._last_block()):
            lines = self._open.split("\n")
            finished = render("\n".join(lines[:cut]), self._labels)
            self._open = "\n".join(lines[cut:])
        return finished, render(self._open, self._labels)

    def _last_block(self) -> int:
        """The line at which the last block begins; 0 if there is but one."""
        starts = [
            token.map[0]
            for token in _PARSER.parse(self._open)
            if token.level == 0 and token.nesting >= 0 and token.map
        ]
        return starts[-1] if len(starts) > 1 else 0


def _words(children: Sequence[Token]) -> str:
    words = []
    for child in children:
        if child.type in ("text", "code_inline"):
            words.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            words.append(" ")
        elif child.children:
            words.append(_words(child.children))
    return "".join(words).strip()


# --- rules of rendering; the first argument is the renderer, of which they become methods ---


def _fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    labels: Labels = env["labels"]
    info, code = tokens[index].info.split(maxsplit=1), escape(tokens[index].content)
    language = info[0][:40] if info else ""
    return (
        f'<div class="code"><p class="code-head"><span>{escape(language)}</span>'
        f'<button type="button" class="copy">{escape(labels.copy)}</button></p>'
        f'<pre tabindex="0" role="group" aria-label="{escape(labels.code)}"><code>{code}</code></pre></div>\n'
    )


def _image(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    address = str(tokens[index].attrs.get("src", ""))
    return f'<a href="{escape(address)}">{escape(_words(tokens[index].children or ()) or address)}</a>'


def _heading(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    slash = "/" if tokens[index].nesting < 0 else ""
    return f"<{slash}h{min(6, int(tokens[index].tag[1]) + _HEADINGS_BELOW)}>"


def _table(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n" if tokens[index].nesting < 0 else '<div class="scroll" tabindex="0"><table>\n'


def _cell(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """The alignment as a class: the page's policy allows no style in an element."""
    token = tokens[index]
    side = _ALIGNMENTS.get(str(token.attrs.get("style", "")))
    return f'<{token.tag} class="{side}">' if side else f"<{token.tag}>"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    rules = {
        "fence": _fence, "code_block": _fence, "image": _image, "heading_open": _heading, "heading_close": _heading,
        "table_open": _table, "table_close": _table, "th_open": _cell, "td_open": _cell,
    }  # fmt: skip
    for name, rule in rules.items():
        parser.add_render_rule(name, rule)
    return parser


_PARSER = _make_parser()
_CLEANER = nh3.Cleaner(
    tags={
        "a", "blockquote", "br", "button", "code", "div", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
        "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
    },
    clean_content_tags={"script", "style"},
    attributes={"a": {"href", "title"}, "ol": {"start"}, "pre": {"aria-label"}},
    tag_attribute_values={
        "button": {"type": {"button"}},
        "pre": {"tabindex": {"0"}, "role": {"group"}},
        "div": {"tabindex": {"0"}},
    },
    allowed_classes={
        "button": {"copy"}, "div": {"code", "scroll"}, "p": {"code-head"},
        "th": set(_ALIGNMENTS.values()), "td": set(_ALIGNMENTS.values()),
    },
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
)  # fmt: skip
