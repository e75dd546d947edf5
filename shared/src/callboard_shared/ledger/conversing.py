"""Conversations: their records and histories, kept with the jobs that speak in them, under the key that owns them.

A message joins its conversation in the step that submits the job that answers it (``verbs.submit``), the reply in the
step that ends that job; no two jobs answer in one conversation at a time. So the history of a job is the same at each
of its attempts, and has its reply once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from callboard_shared.jobs.llm.chat import CHAT
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import AsyncLedger, Call, lua

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Conversation:
    """``model`` and ``title`` are empty where there is none, ``system`` also where it was not asked for; ``running``:
    the job that answers."""

    id: str
    created_ms: int
    updated_ms: int
    turns: int
    title: str = ""
    model: str = ""
    system: str = ""
    running: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. role: user or assistant; body: JSON object with ``content``, of a reply also who gave it.

    status of the user's: pending, answered, failed, canceled; of the assistant's: complete, or partial where its job
    was canceled.
    """

    role: str
    job_id: str
    created_ms: int
    status: str
    body: bytes

    @property
    def content(self) -> Any:
        return orjson.loads(self.body)["content"]


@dataclass(frozen=True, slots=True)
class Past:
    """What a job is to go on from: all that was said before its own message, with the system message and the model
    that the conversation had when that was sent."""

    system: str
    model: str
    turns: list[Turn]


def create(
    owner: str,
    conversation_id: str,
    *,
    title: str,
    model: str,
    system: str,
    most: int,
    keep_ms: int | None = None,
) -> Call[bool]:
    """False when the owner has ``most`` conversations already. May be repeated. ``keep_ms``: how long it lives after
    anything happened in it; until it is removed if None."""
    args = ["create", owner, conversation_id, most, title, model, system, "" if keep_ms is None else keep_ms]
    return _verb(args, lambda reply: bool(reply == b"created"))


def find(owner: str, conversation_id: str) -> Call[Conversation | None]:
    """None also where it is another owner's."""
    return _verb(["find", owner, conversation_id], _one(conversation_id))


def change(owner: str, conversation_id: str, fields: Mapping[str, str]) -> Call[Conversation | None]:
    """Sets ``title``, ``model`` or ``system``; an empty text takes it away. A chat that runs goes on with what it
    was told."""
    args = ["change", owner, conversation_id]
    return _verb([*args, *(part for pair in fields.items() for part in pair)], _one(conversation_id))


def remove(owner: str, conversation_id: str) -> Call[bool]:
    """Forgets a conversation, and cancels the job that answers in it. False if there is none."""
    return _verb(["remove", owner, conversation_id], bool)


def turns(
    owner: str, conversation_id: str, first: int = 0, last: int = -1
) -> Call[tuple[int, list[Turn]] | None]:
    """How many turns there are, and those from ``first`` to ``last``, both included (-1: the newest), oldest first."""
    args = ["turns", owner, conversation_id, first, last]
    return _verb(args, lambda reply: (reply[0], [_turn(entry) for entry in reply[1]]) if reply else None)


def past(conversation_id: str, job_id: str) -> Call[Past | None]:
    """For the job that answers; None when the conversation is gone."""

    def parse(reply: Any) -> Past | None:
        if reply is None:
            return None
        told, asked, entries = reply
        return Past(told.decode(), asked.decode(), [_turn(entry) for entry in entries])

    return _verb(["past", job_id, conversation_id], parse)


async def list_conversations(
    ledger: AsyncLedger,
    owner: str,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
    titled: str = "",
) -> tuple[list[Conversation], tuple[int, str] | None]:
    """An owner's conversations without their system messages, newest first, after the one with (created, id)
    ``before``; and where the next page begins. ``titled``: words that a title must all hold, in any case."""
    words = titled.casefold().split()

    def wanted(one: Conversation) -> bool:
        title = one.title.casefold()
        return (before is None or (one.created_ms, one.id) < before) and all(word in title for word in words)

    found: list[Conversation] = []
    offset = 0
    newest = "+inf" if before is None else before[0]
    while len(found) <= limit:
        rows = await ledger.run(_verb(["list", owner, newest, _PAGE, offset], _many))
        there = [row for row in rows if row is not None]
        found += filter(wanted, there)
        offset += len(there)
        if len(rows) < _PAGE:
            break
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], (last.created_ms, last.id)


def _verb(args: Sequence[Any], parse: Callable[[Any], Any]) -> Call[Any]:
    return lua("converse", [keys.base(CHAT.queue)], args, parse)


def _one(conversation_id: str) -> Callable[[Any], Conversation | None]:
    return lambda reply: _conversation(conversation_id, *reply) if reply else None


def _many(reply: Any) -> list[Conversation | None]:
    return [_conversation(row[0].decode(), row[1], row[2]) if row[1] else None for row in reply]


def _conversation(conversation_id: str, flat: Sequence[bytes], count: int) -> Conversation:
    raw = {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
    return Conversation(
        conversation_id, int(raw["created"]), int(raw["updated"]), count, raw.get("title", ""), raw.get("model", ""),
        raw.get("system", ""), raw.get("running"),
    )  # fmt: skip


def _turn(entry: bytes) -> Turn:
    role, job_id, created, status, body = entry.split(b" ", 4)
    return Turn(role.decode(), job_id.decode(), int(created), status.decode(), body)
