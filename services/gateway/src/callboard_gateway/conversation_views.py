"""How conversations look to clients: as objects, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from callboard_shared.ledger.conversing import Conversation, Turn
from callboard_shared.view import timestamp

_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}
_NOTES = {
    "pending": "being answered",
    "failed": "not answered: its job failed",
    "canceled": "not answered: its job was canceled",
    "partial": "broken off: its job was canceled",
}


def conversation_view(one: Conversation, *, with_system: bool = False) -> dict[str, Any]:
    """The object without its messages; ``system`` is there only if it is asked for."""
    path = f"/v1/conversations/{one.id}"
    view: dict[str, Any] = {
        "id": one.id,
        "title": one.title or None,
        "model": one.model or None,
        "message_count": one.turns,
        "running_job_id": one.running,
        "created_at": timestamp(one.created_ms),
        "updated_at": timestamp(one.updated_ms),
        "links": {"self": path, "messages": f"{path}/messages", "export": f"{path}/export"},
    }
    return view | {"system": one.system or None} if with_system else view


def turn_view(turn: Turn) -> dict[str, Any]:
    return {
        "role": turn.role,
        **orjson.loads(turn.body),
        "job_id": turn.job_id or None,
        "status": turn.status,
        "created_at": timestamp(turn.created_ms),
    }


def as_markdown(one: Conversation, turns: Sequence[Turn], *, with_system: bool) -> str:
    """A heading for each message; its text stays the Markdown that it is."""
    title = " ".join((one.title or "Conversation").split())
    parts = [f"# {title}"]
    if with_system and one.system:
        parts.append(f"## System\n\n{one.system}")
    for turn in turns:
        note = _NOTES.get(turn.status)
        head = _SPEAKERS[turn.role] + (f" ({note})" if note else "")
        parts.append(f"## {head}\n\n{_text(turn.content)}")
    return "\n\n".join(parts) + "\n"


def _text(content: Any) -> str:
    """Of a content that is a text or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n\n".join(
        part["text"] if part["type"] == "text" else _picture(part["image_url"]) for part in content
    )


def _picture(source: dict[str, Any]) -> str:
    if source.get("url", "").startswith("https:"):
        return f"![picture]({source['url']})"
    if source.get("file_id"):
        return f"![picture](/v1/files/{source['file_id']}/content)"
    return "*(a picture)*"
