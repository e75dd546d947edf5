"""What a reader sees when something fails: a sentence where they look, and what they wrote is still there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute

from callboard_gateway.pages.chat import faults
from callboard_gateway.pages.render import page, part
from callboard_gateway.sessions import SignInNeeded
from callboard_shared.errors import CallboardError, TooLarge

PROBLEM_PLACE = {"HX-Retarget": "#composer-problem", "HX-Reswap": "innerHTML"}


def from_htmx(request: Request) -> bool:
    return "hx-request" in request.headers


class KindRoute(APIRoute):
    """A route of the chat: errors become a part of the page, or a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def kindly(request: Request) -> Response:
            try:
                _check_length(request)
                return await handle(request)
            except SignInNeeded:
                return _to_sign_in(request)
            except CallboardError as error:
                return _told(request, error)

        return kindly


def _check_length(request: Request) -> None:
    """Forms are read whole; browsers say beforehand how long one is."""
    declared = request.headers.get("content-length", "0")
    limit: int = request.app.state.settings.max_json_bytes
    if not declared.isdigit() or int(declared) > limit:
        raise TooLarge(f"The message is larger than {limit:,} bytes.")


def _told(request: Request, error: CallboardError) -> Response:
    fault = faults.of_request(error)
    if from_htmx(request):
        headers = PROBLEM_PLACE
        return part(request, "chat/_problem.html", None, status=error.status, headers=headers, fault=fault)
    return page(request, "chat/refused.html", None, status=error.status, fault=fault)


def _to_sign_in(request: Request) -> Response:
    """There, and afterwards back to this conversation."""
    if not from_htmx(request):
        query = urlencode({"next": request.url.path if request.method == "GET" else "/chat"})
        return Response(status_code=303, headers={"Location": f"/sign-in?{query}"})
    path = urlsplit(request.headers.get("hx-current-url", "")).path
    query = urlencode({"next": path if path.startswith("/chat") else "/chat", "over": "1"})
    return Response(status_code=401, headers={"HX-Redirect": f"/sign-in?{query}"})
