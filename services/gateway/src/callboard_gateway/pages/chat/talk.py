"""Conversations made ready for reading: their turns as HTML, who said them, what is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request

from callboard_gateway.pages.chat import faults
from callboard_gateway.pages.chat.faults import Fault
from callboard_gateway.pages.chat.markdown import Labels, render
from callboard_gateway.pages.language import Translate, language_of, translator
from callboard_shared.errors import NotFound
from callboard_shared.ids import is_id
from callboard_shared.jobs import CATALOGUE, CHAT
from callboard_shared.jobs.llm import ENGLISH_ALONE
from callboard_shared.ledger import AsyncLedger, JobRecord, conversing, pipelining, verbs
from callboard_shared.ledger.conversing import Conversation, Turn
from callboard_shared.view import timestamp

TURNS_SHOWN = 40
SPEECH = "tts.speech"


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """A turn as templates take it. ``text`` is the user's, ``html`` the model's; ``index`` its place in the history.

    Of a reply, ``partial``: it was stopped; ``cut``: it had become as long as it might; ``warnings``: of the worker,
    such as that an early part of the history no longer fits. Of the user's, ``fault``: why there is no reply.
    """

    index: int
    role: str
    job_id: str
    created_at: str
    text: str = ""
    html: str = ""
    by: str = ""
    partial: bool = False
    cut: bool = False
    warnings: tuple[str, ...] = ()
    speakable: bool = False
    fault: Fault | None = None
    last: bool = False


NOTHING_SAID: dict[str, Any] = {
    "talk": None, "messages": [], "earlier": 0, "seen": 0, "running": None,
    "speaks": CATALOGUE.get(SPEECH) is not None, "voice": None,
}  # fmt: skip
"""What templates get in place of an excerpt, before the first message."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some turns of a conversation. ``running``: the job that answers the last one; ``ends``: the place after it."""

    turns: list[ShownTurn]
    begins: int
    ends: int
    running: str | None

    def context(self, request: Request, talk: Conversation) -> dict[str, Any]:
        """For the templates that show turns."""
        return {
            "talk": titled(request, talk),
            "messages": self.turns,
            "earlier": self.begins,
            "seen": self.ends,
            "running": self.running,
            "speaks": CATALOGUE.get(SPEECH) is not None,
            "voice": None,
        }


def titled(request: Request, talk: Conversation) -> dict[str, Any]:
    """What templates show of a conversation."""
    title = talk.title or translator(language_of(request))("chat_untitled")
    return {"id": talk.id, "title": title, "model": talk.model, "system": talk.system}


def ledger_of(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


def words_of(content: Any) -> str:
    """The text of a message's content; a picture is said to be one."""
    if isinstance(content, str):
        return content
    return "\n\n".join(part["text"] if part["type"] == "text" else "🖼" for part in content)


async def read_turns(
    request: Request, owner: str, conversation_id: str, first: int, last: int = -1
) -> tuple[int, list[Turn]]:
    """The place of the first of these turns, and the turns; negative numbers count from the end. Raises NotFound."""
    found = None
    if is_id(conversation_id, "conv"):
        found = await ledger_of(request).run(conversing.turns(owner, conversation_id, first, last))
    if found is None:
        raise NotFound("There is no such conversation.")
    count, turns = found
    begins = first if first >= 0 else max(0, count + first)
    return min(begins, count), turns


async def excerpt(
    request: Request, owner: str, conversation_id: str, first: int = -TURNS_SHOWN, last: int = -1
) -> Excerpt:
    """These turns as a reader sees them. Raises NotFound."""
    begins, turns = await read_turns(request, owner, conversation_id, first, last)
    failed = await _failed_jobs(request, turns)
    translate = translator(language_of(request))
    at_the_end = last == -1
    shown = await asyncio.to_thread(_show, turns, begins, failed, translate, at_the_end)
    waits = at_the_end and turns and (turns[-1].role, turns[-1].status) == ("user", "pending")
    return Excerpt(shown, begins, begins + len(turns), turns[-1].job_id if waits else None)


async def _failed_jobs(request: Request, turns: Sequence[Turn]) -> dict[str, JobRecord]:
    """The jobs that gave no reply, of those that are still kept: they say why."""
    ids = [turn.job_id for turn in turns if turn.role == "user" and turn.status == "failed"]
    if not ids:
        return {}
    records = await ledger_of(request).run(verbs.read(CHAT.queue, ids))
    return {record.id: record for record in records if record is not None}


def _show(
    turns: Sequence[Turn], begins: int, failed: dict[str, JobRecord], t: Translate, at_the_end: bool
) -> list[ShownTurn]:
    last = len(turns) - 1 if at_the_end else len(turns)
    return [
        _asked(turn, begins + n, failed, n == last)
        if turn.role == "user"
        else _replied(turn, begins + n, t, n == last)
        for n, turn in enumerate(turns)
    ]


def labels_of(t: Translate) -> Labels:
    return Labels(t("chat_code"), t("chat_copy_code"))


def _asked(turn: Turn, index: int, failed: dict[str, JobRecord], last: bool) -> ShownTurn:
    unanswered = turn.status in ("failed", "canceled")
    fault = faults.of_job(failed.get(turn.job_id), turn.status) if unanswered else None
    return ShownTurn(
        index, "user", turn.job_id, timestamp(turn.created_ms) or "",
        text=words_of(turn.content), fault=fault, last=last,
    )  # fmt: skip


def _replied(turn: Turn, index: int, t: Translate, last: bool) -> ShownTurn:
    body = orjson.loads(turn.body)
    text = words_of(body.get("content") or "")
    by = " · ".join(str(body[name]) for name in ("provider", "model") if body.get(name))
    return ShownTurn(
        index, "assistant", turn.job_id, timestamp(turn.created_ms) or "", text=text, html=render(text, labels_of(t)),
        by=by, partial=turn.status == "partial", cut=body.get("finish_reason") == "length",
        warnings=tuple(_in_words(str(one), t) for one in body.get("warnings") or ()),
        speakable=any(c.isalnum() for c in text), last=last,
    )  # fmt: skip


def _in_words(warning: str, t: Translate) -> str:
    return t("chat_english_alone") if warning == ENGLISH_ALONE else warning


async def last_choices(request: Request, turns: Sequence[ShownTurn]) -> tuple[str, bool]:
    """Who was asked for the last answer, and whether it was to be spoken, as far as its job is still kept: both are
    offered again."""
    asked = next((turn.job_id for turn in reversed(turns) if turn.role == "user"), None)
    if asked is None:
        return "auto", False
    (record,) = await ledger_of(request).run(verbs.read(CHAT.queue, [asked]))
    spec = orjson.loads(record.spec) if record is not None else {}
    return str(spec.get("input", {}).get("provider", "auto")), "pipeline" in spec


async def voice_of(request: Request, turn: ShownTurn | None) -> JobRecord | None:
    """The job that speaks a reply, where that was wished with the message and the reply is whole."""
    if turn is None or turn.role != "assistant" or turn.partial:
        return None
    (record,) = await ledger_of(request).run(verbs.read(CHAT.queue, [turn.job_id]))
    step: dict[str, str] = (orjson.loads(record.spec).get("pipeline") or {}) if record is not None else {}
    pipeline = await ledger_of(request).run(pipelining.find(step["id"])) if step else None
    for one in pipeline.steps if pipeline is not None else ():
        if one.type == SPEECH and step["step"] in one.needs:
            (voice,) = await ledger_of(request).run(verbs.read(one.queue, [one.job_id]))
            return voice
    return None
