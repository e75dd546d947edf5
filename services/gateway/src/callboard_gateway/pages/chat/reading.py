"""The chat's page: a conversation with the list of all, found by their titles, and older messages on demand."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.known_models import KnownModels
from callboard_gateway.pages.chat import talk as talks
from callboard_gateway.pages.chat.faults import Fault
from callboard_gateway.pages.chat.kindness import KindRoute
from callboard_gateway.pages.render import page, part
from callboard_gateway.routes.conversations import find
from callboard_gateway.sessions import Session, signed_in
from callboard_shared.errors import NotFound
from callboard_shared.jobs import CHAT
from callboard_shared.jobs.llm import DEFAULT_CHAT_MODEL
from callboard_shared.ledger import conversing

router = APIRouter(route_class=KindRoute)
SignedIn = Annotated[Session, Depends(signed_in)]
Query200 = Annotated[str, Query(max_length=200)]
_LISTED = 50


@router.get("/chat")
async def new_talk(request: Request, session: SignedIn, q: Query200 = "", cursor: Query200 = "") -> Response:
    return await show(request, session, None, q=q, cursor=cursor)


@router.get("/chat/list")
async def talk_list(
    request: Request, session: SignedIn, q: Query200 = "", cursor: Query200 = "", open: Query200 = ""
) -> Response:
    """The list, or with a ``cursor`` what goes on with it."""
    context = await _list(request, session, q, cursor, open)
    return part(request, "chat/_talks.html" if cursor else "chat/_list.html", session, **context)


@router.get("/chat/{conversation_id}")
async def one_talk(
    request: Request,
    session: SignedIn,
    conversation_id: str,
    q: Query200 = "",
    cursor: Query200 = "",
    before: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    try:
        return await show(request, session, conversation_id, q=q, cursor=cursor, before=before)
    except NotFound:
        return page(request, "chat/refused.html", session, status=404, fault=Fault("chat_gone"))


@router.get("/chat/{conversation_id}/turns")
async def older_turns(
    request: Request, session: SignedIn, conversation_id: str, before: Annotated[int, Query(ge=1)]
) -> Response:
    """The messages before the ``before``-th."""
    found = await find(request, session.owner, conversation_id)
    turns = await _before(request, session, conversation_id, before)
    return part(request, "chat/_turns.html", session, **turns.context(request, found))


async def show(
    request: Request,
    session: Session,
    conversation_id: str | None,
    *,
    q: str = "",
    cursor: str = "",
    before: int = 0,
    draft: str = "",
    fault: Fault | None = None,
    status: int = 200,
) -> Response:
    """The whole page; ``draft`` and ``fault`` bring back what was not sent, and say why. Raises NotFound."""
    context: dict[str, Any] = talks.NOTHING_SAID
    provider, aloud = "auto", False
    if conversation_id is not None:
        found = await find(request, session.owner, conversation_id)
        if before:
            turns = await _before(request, session, conversation_id, before)
        else:
            turns = await talks.excerpt(request, session.owner, conversation_id)
        context = turns.context(request, found)
        provider, aloud = await talks.last_choices(request, turns.turns)
        if aloud and not before:
            context["voice"] = await talks.voice_of(request, turns.turns[-1])
    return page(
        request,
        "chat/page.html",
        session,
        status=status,
        **context,
        **await _list(request, session, q, cursor, conversation_id or ""),
        models=known_models(request),
        provider=provider,
        aloud=aloud,
        draft=draft,
        fault=fault,
    )


async def _before(request: Request, session: Session, conversation_id: str, before: int) -> talks.Excerpt:
    first = max(0, before - talks.TURNS_SHOWN)
    return await talks.excerpt(request, session.owner, conversation_id, first, before - 1)


async def _list(request: Request, session: Session, q: str, cursor: str, open_id: str) -> dict[str, Any]:
    """``more``: the query that goes on with the list."""
    found, following = await conversing.list_conversations(
        talks.ledger_of(request),
        session.owner,
        limit=_LISTED,
        before=position_of(cursor or None, "conv"),
        titled=q,
    )
    goes_on = cursor_of(following)
    more = urlencode({"q": q, "open": open_id, "cursor": goes_on}) if goes_on else ""
    return {"talks": [talks.titled(request, one) for one in found], "more": more, "q": q, "open": open_id}


def known_models(request: Request) -> list[str]:
    """What is offered to choose from; any other name may be written."""
    known: KnownModels = request.app.state.models
    return sorted({DEFAULT_CHAT_MODEL, *known.names(CHAT.queue, ["chat"])})
