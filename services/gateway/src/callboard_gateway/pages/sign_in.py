"""Signing in by an API key or by a one-time link, signing out, and choosing a language."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from callboard_gateway.auth import authenticate_key
from callboard_gateway.pages.language import COOKIE, LANGUAGES
from callboard_gateway.pages.render import page
from callboard_gateway.sessions import (
    Session,
    check_origin,
    end_session,
    find_session,
    own_form,
    start_session,
)
from callboard_shared import access
from callboard_shared.errors import Unauthorized

router = APIRouter()
_YEAR_S = 365 * 86_400


def _to(path: str) -> Response:
    return Response(status_code=303, headers={"Location": path, "Cache-Control": "no-store"})


def _own(path: str) -> str:
    """``path`` if it leads to one of our own pages, else the first page."""
    return path if re.fullmatch(r"/(?![/\\])[!-~]*", path) else "/"


def _form(
    request: Request, status: int = 200, *, next: str = "/", over: bool = False, error: str | None = None
) -> Response:
    context = {"next": _own(next), "over": over, "error": error}
    return page(request, "sign_in.html", None, status=status, **context)


@router.get("/sign-in")
async def sign_in_page(
    request: Request, ticket: str | None = None, next: str = "/", over: bool = False
) -> Response:
    """The form; or with a ticket, which holds for ten minutes and once, straight in. ``next``: where to go then."""
    if ticket is not None:
        key_id = await request.app.state.ledger.run(access.take_ticket(ticket[:100]))
        if key_id is None:
            return _form(request, 401, error="ticket_used")
        response = _to("/")
        await start_session(request, response, key_id)
        return response
    if await find_session(request) is not None:
        return _to(_own(next))
    return _form(request, next=next, over=over)


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form(max_length=200)] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    check_origin(request)
    try:
        caller = await authenticate_key(request, key.strip())
    except Unauthorized:
        return _form(request, 401, next=next, error="key_unknown")
    response = _to(_own(next))
    await start_session(request, response, caller.owner)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, session: Annotated[Session, Depends(own_form)]) -> Response:
    response = _to("/sign-in")
    await end_session(request, response)
    return response


@router.get("/language/{language}")
async def choose_language(request: Request, language: str, back: str = "/") -> Response:
    """Keep the choice in a cookie, and go back to where the reader was."""
    response = _to(_own(back))
    if language in LANGUAGES:
        response.set_cookie(COOKIE, language, max_age=_YEAR_S, path="/", samesite="lax", httponly=True)
    return response
