"""What a click does: submit, cancel, retry. Each goes through the API itself, so that its rules hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.types import Message

from callboard_gateway.pages.console import console, job_fragment
from callboard_gateway.pages.render import page
from callboard_gateway.sessions import CSRF_HEADER, Session, acting
from callboard_shared.documents import compact, parse_json
from callboard_shared.errors import CallboardError

router = APIRouter()
Acting = Annotated[Session, Depends(acting)]

_KEPT = ("type", "asgi", "http_version", "scheme", "server", "client", "root_path", "state")
_HEADERS = (b"host", b"cookie", b"x-request-id", b"traceparent")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said: its status, and the JSON object of its body."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.status < 400


@router.post("/console/submit")
async def submit(
    request: Request, session: Acting, type: Annotated[str, Form()] = "", input: Annotated[str, Form()] = ""
) -> Response:
    """The playground: a job of the type, with the text as its input."""
    try:
        body = compact({"type": type, "input": parse_json(input.encode("utf-8", "replace"))}, "body")
    except CallboardError as error:
        return await console(request, session, chosen=type, text=input, error=error.problem())
    answer = await call_api(request, session, "/v1/jobs", body)
    if not answer.ok:
        return await console(request, session, chosen=type, text=input, error=answer.body)
    return _see(answer.body["id"])


@router.post("/console/jobs/{job_id}/cancel")
async def cancel(request: Request, session: Acting, job_id: str) -> Response:
    answer = await call_api(request, session, f"/v1/jobs/{job_id}/cancel")
    if not answer.ok and answer.status != 409:  # it ended while the click was on its way: show that
        return _refused(request, session, answer)
    if "hx-request" in request.headers:
        return await job_fragment(request, session, job_id)
    return _see(job_id)


@router.post("/console/jobs/{job_id}/retry")
async def retry(request: Request, session: Acting, job_id: str) -> Response:
    answer = await call_api(request, session, f"/v1/jobs/{job_id}/retry")
    return _see(answer.body["id"]) if answer.ok else _refused(request, session, answer)


def _see(job_id: str) -> Response:
    return Response(status_code=303, headers={"Location": f"/jobs/{job_id}"})


def _refused(request: Request, session: Session, answer: Answer) -> Response:
    return page(request, "refused.html", session, status=answer.status, problem=answer.body)


async def call_api(request: Request, session: Session, path: str, body: bytes = b"") -> Answer:
    """POST to our own API as the one who is signed in, without leaving the process."""
    headers = [pair for pair in request.scope["headers"] if pair[0] in _HEADERS]
    headers += [
        (CSRF_HEADER.encode(), session.csrf.encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {name: request.scope[name] for name in _KEPT if name in request.scope}
    scope |= {"method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope["headers"] = headers
    status = 500
    received = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            received.extend(message.get("body", b""))

    await request.app(scope, receive, send)
    return Answer(status, orjson.loads(received) if received else {})
