"""What a reader does with a conversation as a whole: rename it, change what it is told, delete it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response

from callboard_gateway.pages.chat import talk as talks
from callboard_gateway.pages.chat.kindness import KindRoute, from_htmx
from callboard_gateway.pages.chat.reading import known_models
from callboard_gateway.pages.chat.writing import Acting, to_talk
from callboard_gateway.pages.render import part
from callboard_gateway.routes.conversations import ConversationBody, find
from callboard_gateway.sessions import Session
from callboard_shared.documents import validate
from callboard_shared.errors import NotFound
from callboard_shared.ledger import conversing
from callboard_shared.ledger.conversing import Conversation

router = APIRouter(route_class=KindRoute)
Text = Annotated[str, Form()]
Open = Annotated[str, Query(max_length=40)]


@router.post("/chat/{conversation_id}/rename")
async def rename(
    request: Request, session: Acting, conversation_id: str, title: Text = "", open: Open = ""
) -> Response:
    changed = await _change(request, session, conversation_id, {"title": title.strip()})
    if not from_htmx(request):
        return to_talk(request, conversation_id)
    context: dict[str, Any] = {"one": talks.titled(request, changed), "open": open, "focus": True}
    return part(request, "chat/_renamed.html", session, headers={"HX-Trigger": "talkRenamed"}, **context)


@router.post("/chat/{conversation_id}/settings")
async def change_settings(
    request: Request,
    session: Acting,
    conversation_id: str,
    system: Text = "",
    model: Text = "",
    provider: Text = "auto",
) -> Response:
    """From the next message on."""
    told = {"system": system.replace("\r\n", "\n").strip() or None, "model": model.strip() or None}
    changed = await _change(request, session, conversation_id, told)
    if not from_htmx(request):
        return to_talk(request, conversation_id)
    context: dict[str, Any] = {
        "talk": talks.titled(request, changed),
        "models": known_models(request),
        "provider": provider,
    }
    return part(request, "chat/_settings.html", session, headers={"HX-Trigger": "settingsSaved"}, **context)


@router.post("/chat/{conversation_id}/delete")
async def delete(request: Request, session: Acting, conversation_id: str, open: Open = "") -> Response:
    """With its messages; what is being written in it is stopped."""
    found = await find(request, session.owner, conversation_id)
    await talks.ledger_of(request).run(conversing.remove(session.owner, found.id))
    if not from_htmx(request):
        return Response(status_code=303, headers={"Location": "/chat"})
    if open == conversation_id:
        return Response(status_code=200, headers={"HX-Redirect": "/chat"})
    return Response(status_code=200, headers={"HX-Trigger": "talkDeleted"})


async def _change(
    request: Request, session: Session, conversation_id: str, fields: dict[str, Any]
) -> Conversation:
    """Raises Invalid, NotFound."""
    asked = validate(ConversationBody, fields)
    await find(request, session.owner, conversation_id)  # also: is this an id
    given = {name: getattr(asked, name) or "" for name in fields}
    changed = await talks.ledger_of(request).run(conversing.change(session.owner, conversation_id, given))
    if changed is None:
        raise NotFound("There is no such conversation.")
    return changed
