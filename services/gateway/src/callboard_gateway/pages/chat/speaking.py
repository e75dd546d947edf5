"""Reading aloud: a reply becomes an ordinary ``tts.speech`` job, and its file a player in the page."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response

from callboard_gateway.desk import Desk
from callboard_gateway.pages.chat import faults
from callboard_gateway.pages.chat import talk as talks
from callboard_gateway.pages.chat.kindness import KindRoute, from_htmx
from callboard_gateway.pages.chat.markdown import spoken
from callboard_gateway.pages.chat.writing import Acting, to_talk
from callboard_gateway.pages.render import part
from callboard_gateway.routes.submit import hang_up
from callboard_gateway.sessions import Session, signed_in
from callboard_shared.errors import NotFound
from callboard_shared.ledger import JobRecord
from callboard_shared.states import JobStatus

router = APIRouter(route_class=KindRoute)

MOST_CHARS = 100_000
HELD_S = 8
"""A question for the audio is held so long; htmx gives up after ten seconds."""


@router.post("/chat/{conversation_id}/speech/{index}")
async def speak(request: Request, session: Acting, conversation_id: str, index: int) -> Response:
    """Has the reply at this place spoken; once, however often it is asked for within a day."""
    if index < 0:
        raise NotFound("There is no such message.")
    _, turns = await talks.read_turns(request, session.owner, conversation_id, index, index)
    if not turns or turns[0].role != "assistant":
        raise NotFound("There is no such message.")
    text = spoken(talks.words_of(turns[0].content))[:MOST_CHARS]
    record = await _submit(request, session, text)
    if not from_htmx(request):
        return to_talk(request, conversation_id)
    return _shown(request, session, record)


@router.get("/chat/speech/{job_id}")
async def speech(
    request: Request, session: Annotated[Session, Depends(signed_in)], job_id: str, play: str = "yes"
) -> Response:
    """The player as soon as there is something to play. ``play=no``: it was there before, and waits to be asked."""
    desk: Desk = request.app.state.desk
    record = await desk.wait(session.owner, job_id, HELD_S, hang_up(request.receive))
    return _shown(request, session, record, play=play != "no")


async def _submit(request: Request, session: Session, text: str) -> JobRecord:
    desk: Desk = request.app.state.desk
    job = desk.reader.read({"type": talks.SPEECH, "input": {"text": text}}, session.owner)
    replay = await desk.reserve(session.owner, f"read aloud {text}", text.encode(), job.id)
    if replay is not None:
        try:
            earlier = await desk.find(session.owner, replay.job_id)
        except NotFound:
            earlier = None
        if earlier is not None and (not earlier.status.is_terminal or earlier.status is JobStatus.SUCCEEDED):
            return earlier
    return await desk.submit(job)


def _shown(request: Request, session: Session, record: JobRecord, *, play: bool = True) -> Response:
    output = orjson.loads(record.output) if record.output else {}
    failed = record.status.is_terminal and record.status is not JobStatus.SUCCEEDED
    return part(
        request,
        "chat/_speech.html",
        session,
        job_id=record.id,
        file=output.get("file"),
        play=play,
        fault=faults.of_job(record) if failed else None,
    )
