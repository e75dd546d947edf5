"""What a person sees in a browser: sign-in, the console, the chat, the API's documentation; no build step."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from callboard_gateway.pages import actions, api_docs, chat, console, render, sign_in
from callboard_gateway.sessions import SignInNeeded


def install(app: FastAPI) -> None:
    """Add the pages. Needs ``app.state.ledger`` and, to submit jobs, what ``actions`` names."""
    app.mount("/static", _Assets(directory=render.STATIC), name="static")
    for part in (sign_in, console, chat, actions, api_docs):
        app.include_router(part.router, include_in_schema=False)
    app.add_exception_handler(SignInNeeded, _to_sign_in)


class _Assets(StaticFiles):
    """Assets are named with their version (``?v=``), so that a browser need not ask for them again."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


async def _to_sign_in(request: Request, error: Exception) -> Response:
    if "hx-request" in request.headers:  # a fragment: have the whole page go there
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return Response(status_code=303, headers={"Location": "/sign-in"})
