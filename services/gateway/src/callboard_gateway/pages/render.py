"""From a template to an answer: Jinja that always escapes, and a policy without inline scripts or styles."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from callboard_gateway.pages.language import LANGUAGES, language_of, translator
from callboard_gateway.sessions import Session
from callboard_shared.view import timestamp

_PACKAGE = Path(__file__).parent.parent
STATIC = _PACKAGE / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _asset(name: str) -> str:
    """The address of a file in ``static/``, with the beginning of its hash."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


_environment = Environment(
    loader=FileSystemLoader(_PACKAGE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals |= {"languages": LANGUAGES, "timestamp": timestamp}
_environment.globals["asset"] = {
    name: _asset(name)
    for name in (
        "base.css", "chat.css", "chat.js", "composer.js", "console.css", "console.js", "docs.css", "docs.js",
        "favicon.svg", "page.js", "vendor/htmx/htmx.min.js", "vendor/htmx-ext-sse/sse.min.js",
        "vendor/swagger-ui/swagger-ui-bundle.js", "vendor/swagger-ui/swagger-ui.css",
    )
}  # fmt: skip


def page(
    request: Request, template: str, session: Session | None, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """A whole page in the reader's language. ``policy`` in the context replaces the usual one."""
    html = rendered(request, template, session, context)
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "Vary": "Accept-Language, Cookie",
    }
    return HTMLResponse(html, status, headers)


def fragment(request: Request, template: str, session: Session, **context: Any) -> Response:
    """A part of a page that is asked for again and again; 204 when the asker has it already (``?seen=``).

    The template gets ``seen``, the hash of what it shows, to send along next time.
    """
    shown = repr((context, session.scopes, language_of(request)))
    seen = hashlib.sha256(shown.encode()).hexdigest()[:16]
    if request.query_params.get("seen") == seen:
        return Response(status_code=204)
    html = rendered(request, template, session, context | {"seen": seen})
    return HTMLResponse(html, headers={"Cache-Control": "no-store"})


def part(
    request: Request,
    template: str,
    session: Session | None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """A part of a page that is the answer to what a reader did; ``headers`` are htmx's."""
    html = rendered(request, template, session, context)
    return HTMLResponse(html, status, {"Cache-Control": "no-store"} | (headers or {}))


def rendered(request: Request, template: str, session: Session | None, context: dict[str, Any]) -> str:
    """The text of a template, in the reader's language."""
    language = language_of(request)
    return _environment.get_template(template).render(
        context, t=translator(language), language=language, session=session, path=request.url.path
    )
