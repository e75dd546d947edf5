"""``/docs``: Swagger UI from our own assets over ``/openapi.json``; open to all, needs no network."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from callboard_gateway.pages.render import page
from callboard_gateway.sessions import find_session
from callboard_shared.errors import LedgerError

router = APIRouter()


@router.get("/docs")
async def api_docs(request: Request) -> Response:
    try:
        session = await find_session(request)
    except LedgerError:
        session = None  # the documentation can be read without a ledger
    return page(request, "docs.html", session)
