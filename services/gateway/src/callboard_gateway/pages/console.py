"""The console: the board of queues, workers and latest jobs, and a page a job; fragments keep them live."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from callboard_gateway.pages.figures import board, detail
from callboard_gateway.pages.render import fragment, page
from callboard_gateway.sessions import Session, signed_in
from callboard_shared.errors import NotFound
from callboard_shared.jobs import CATALOGUE

router = APIRouter()
SignedIn = Annotated[Session, Depends(signed_in)]


@router.get("/")
async def first_page(request: Request, session: SignedIn, type: str = "") -> Response:
    return await console(request, session, chosen=type)


async def console(
    request: Request, session: Session, *, chosen: str = "", text: str | None = None, error: Any = None
) -> Response:
    """The first page; ``text`` and ``error`` bring back a submission that was refused."""
    types = [{"name": one.name, "summary": one.summary, "example": _pretty(one.example)} for one in CATALOGUE]
    selected = next((one for one in types if one["name"] == chosen), types[0])
    return page(
        request,
        "console.html",
        session,
        status=422 if error else 200,
        types=types,
        selected=selected,
        text=selected["example"] if text is None else text,
        error=error,
        seen="",
        **await board(request, session.owner),
    )


def _pretty(value: Any) -> str:
    return json.dumps(dict(value), ensure_ascii=False, indent=2)


@router.get("/console/board")
async def board_fragment(request: Request, session: SignedIn) -> Response:
    return fragment(request, "_board.html", session, **await board(request, session.owner))


@router.get("/jobs/{job_id}")
async def job_page(request: Request, session: SignedIn, job_id: str) -> Response:
    try:
        found = await detail(request, session.owner, job_id)
    except NotFound:
        return page(request, "not_found.html", session, status=404)
    return page(request, "job.html", session, seen="", **found)


@router.get("/console/jobs/{job_id}")
async def job_fragment(request: Request, session: SignedIn, job_id: str) -> Response:
    return fragment(request, "_job.html", session, **await detail(request, session.owner, job_id))
