"""What a reader says: a message, which is submitted as any other chat job; again; and stop."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response

from callboard_gateway.auth import KeyRing
from callboard_gateway.desk import Desk
from callboard_gateway.pages.chat import faults
from callboard_gateway.pages.chat import talk as talks
from callboard_gateway.pages.chat.kindness import PROBLEM_PLACE, KindRoute, from_htmx
from callboard_gateway.pages.chat.reading import show
from callboard_gateway.pages.render import part
from callboard_gateway.pipeline_desk import PipelineDesk
from callboard_gateway.routes.conversations import ConversationBody, begin, find
from callboard_gateway.sessions import Session, acting
from callboard_shared.documents import validate
from callboard_shared.errors import CallboardError, Conflict, NotFound
from callboard_shared.jobs import CHAT
from callboard_shared.ledger import conversing
from callboard_shared.pipelines.references import escape

router = APIRouter(route_class=KindRoute)


async def counted(request: Request, session: Annotated[Session, Depends(acting)]) -> Session:
    """Who may write, within the rate limit of the key. Raises LimitReached."""
    keyring: KeyRing = request.app.state.keyring
    await keyring.count(session.owner, session.key.limits, request.scope)
    return session


Acting = Annotated[Session, Depends(counted)]
Text = Annotated[str, Form()]


@router.post("/chat/messages")
async def first_message(
    request: Request,
    session: Acting,
    content: Text = "",
    provider: Text = "auto",
    system: Text = "",
    model: Text = "",
    aloud: Text = "",
) -> Response:
    """Begins a conversation. Nothing of it stays if its message is not accepted."""
    try:
        told = {"system": system.replace("\r\n", "\n").strip() or None, "model": model.strip() or None}
        conversation_id = await begin(request, session.owner, validate(ConversationBody, told))
        try:
            await _say(request, session, conversation_id, content, provider, aloud=bool(aloud))
        except CallboardError:
            await talks.ledger_of(request).run(conversing.remove(session.owner, conversation_id))
            raise
    except CallboardError as error:
        if from_htmx(request):
            raise
        return await show(
            request, session, None, draft=content, fault=faults.of_request(error), status=error.status
        )
    return to_talk(request, conversation_id)


@router.post("/chat/{conversation_id}/messages")
async def next_message(
    request: Request,
    session: Acting,
    conversation_id: str,
    content: Text = "",
    provider: Text = "auto",
    aloud: Text = "",
    seen: Annotated[int, Form(ge=0)] = 0,
) -> Response:
    """Answers with what this tab has not yet shown: the message, and what came from others since ``seen``; also where
    another tab's message is being answered, and this one is refused."""
    found = await find(request, session.owner, conversation_id)
    fault, status, headers = None, 200, {}
    try:
        await _say(request, session, conversation_id, content, provider, aloud=bool(aloud))
    except CallboardError as error:
        if from_htmx(request) and not isinstance(error, Conflict):
            raise
        fault, status, headers = faults.of_request(error), error.status, PROBLEM_PLACE
    if not from_htmx(request):
        if fault is None:
            return to_talk(request, conversation_id)
        return await show(request, session, conversation_id, draft=content, fault=fault, status=status)
    turns = await talks.excerpt(request, session.owner, conversation_id, seen)
    context = turns.context(request, found) | {"earlier": 0, "fault": fault}
    context["voice"] = await talks.voice_of(request, turns.turns[-1]) if aloud and turns.turns else None
    template = "chat/_said.html" if fault is None else "chat/_busy.html"
    return part(request, template, session, status=status, headers=headers, **context)


@router.post("/chat/{conversation_id}/again")
async def again(request: Request, session: Acting, conversation_id: str) -> Response:
    """Says the last message anew, if it got no reply."""
    found = await find(request, session.owner, conversation_id)
    _, turns = await talks.read_turns(request, session.owner, conversation_id, -1)
    answering = turns[-1].job_id if turns else None
    if turns and turns[-1].role == "user" and turns[-1].status in ("failed", "canceled"):
        try:
            answering = (await _desk(request).retry(session.owner, turns[-1].job_id))[0].id
        except NotFound:
            raise Conflict("Its job is past its retention.", code="message-too-old") from None
    if not from_htmx(request):
        return to_talk(request, conversation_id)
    fresh = await talks.excerpt(request, session.owner, conversation_id, -1)
    # The job may have ended by now; its stream then brings the reply, or why there is none, at once.
    context = fresh.context(request, found) | {"earlier": 0, "messages": [], "running": answering}
    return part(request, "chat/_said.html", session, **context)


@router.post("/chat/{conversation_id}/stop")
async def stop(request: Request, session: Acting, conversation_id: str) -> Response:
    """The reply ends where it is; its stream says so to every tab."""
    found = await find(request, session.owner, conversation_id)
    if found.running is not None:
        with suppress(Conflict):  # it ended while the click was on its way
            await _desk(request).cancel(session.owner, found.running)
    return Response(status_code=204) if from_htmx(request) else to_talk(request, conversation_id)


def to_talk(request: Request, conversation_id: str) -> Response:
    path = f"/chat/{conversation_id}"
    if from_htmx(request):
        return Response(status_code=200, headers={"HX-Redirect": path})
    return Response(status_code=303, headers={"Location": path})


async def _say(
    request: Request, session: Session, conversation_id: str, content: str, provider: str, *, aloud: bool
) -> None:
    """Submit the job that answers ``content``; with ``aloud`` as a pipeline whose second step speaks the answer."""
    content = content.replace("\r\n", "\n")  # as forms send a new line
    said: dict[str, Any] = {"conversation_id": conversation_id, "message": content}
    if provider != "auto":
        said["provider"] = provider
    traceparent = request.scope.get("callboard.traceparent")
    if not aloud:
        desk = _desk(request)
        await desk.submit(desk.reader.read({"type": CHAT.name, "input": said}, session.owner, traceparent))
        return
    pipelines: PipelineDesk = request.app.state.pipelines
    steps = {
        "say": {"type": CHAT.name, "input": said | {"message": escape(content)}},
        "voice": {"type": talks.SPEECH, "input": {"text": "${say.output.message.content}"}},
    }
    await pipelines.submit(pipelines.reader.read({"steps": steps}, session.owner, traceparent))


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
