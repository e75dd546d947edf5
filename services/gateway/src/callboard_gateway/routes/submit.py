"""``POST /v1/jobs`` and ``POST /v1/jobs:batch``: the way in.

Plain ASGI, since a submission is what the gateway does most: a framework's request handling would cost more than
all the rest. Their OpenAPI entries are in ``openapi.py``.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from callboard_gateway.auth import KeyRing
from callboard_gateway.bodies import header, read_body, require_json
from callboard_gateway.desk import Desk
from callboard_gateway.tracing import sending, sent
from callboard_shared.documents import parse_json
from callboard_shared.errors import CallboardError, Invalid, NotFound
from callboard_shared.ids import member_id, new_id
from callboard_shared.ledger import JobRecord, NewJob
from callboard_shared.view import job_view

MOST_JOBS = 1000
MOST_WAIT_S = 60

_JSON = (b"content-type", b"application/json")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)

Headers = list[tuple[bytes, bytes]]


class SubmitRoute:
    """One job: 202 with the job; 200 if the caller waited (``Prefer: wait=N``) and it has ended."""

    def __init__(self, keyring: KeyRing, desk: Desk, max_bytes: int) -> None:
        self._keyring, self._desk, self._max_bytes = keyring, desk, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._keyring.authenticate(scope, "jobs:write")
        require_json(scope)
        body = await read_body(scope, receive, self._max_bytes)
        job = self._job(scope, caller.owner, parse_json(body))
        wait_s = preferred_wait(header(scope, b"prefer"))
        headers: Headers = []
        replayed = await self._replayed(scope, job, self._identity(scope, body), headers)
        if isinstance(replayed, NewJob):
            job, record = replayed, None
        else:
            record = replayed
        if record is None or (wait_s and not record.status.is_terminal):
            record = await self._accept(scope, job, record, wait_s, hang_up(receive))
        ended = record.status.is_terminal
        if wait_s and ended:
            headers.append((b"preference-applied", b"wait=%d" % wait_s))
        await respond(send, record, 200 if ended and (wait_s or headers) else 202, headers)

    def _job(self, scope: Scope, owner: str, document: Any) -> NewJob:
        return self._desk.reader.read(document, owner, sending(scope))

    def _identity(self, scope: Scope, body: bytes) -> bytes:
        """What requests with the same Idempotency-Key must have in common."""
        return body

    async def _replayed(self, scope: Scope, job: NewJob, body: bytes, headers: Headers) -> JobRecord | NewJob:
        """The job that this Idempotency-Key has made already; else the one to make, under the id it reserved."""
        key = idempotency_key(scope)
        if key is None:
            return job
        replay = await self._desk.reserve(job.owner, key, body, job.id)
        if replay is None:
            return job
        headers.append((b"idempotency-replayed", b"true"))
        try:
            return await self._desk.find(job.owner, replay.job_id)
        except NotFound:  # reserved, but never submitted: the first request was cut off in between
            return replace(job, id=replay.job_id)

    async def _accept(
        self,
        scope: Scope,
        job: NewJob,
        record: JobRecord | None,
        wait_s: int,
        gone: Callable[[], Awaitable[None]],
    ) -> JobRecord:
        """Submit (unless there is a record already) and wait, listening before there is anything to miss."""
        desk = self._desk
        if not wait_s:
            record = await desk.submit(job)
            sent(scope, [job])
            return record
        if record is not None:
            return await desk.wait(record.owner, record.id, wait_s, gone)
        async with desk.news.expect(job.id) as bulletin:
            record = await desk.submit(replace(job, watcher=desk.news.name))
            sent(scope, [job])
            return await desk.until(record, bulletin, wait_s, gone)


class SubmitBatchRoute:
    """Up to 1,000 jobs in one round trip: 202 with a job or a problem for each, in order."""

    def __init__(self, keyring: KeyRing, desk: Desk, max_bytes: int) -> None:
        self._keyring, self._desk, self._max_bytes = keyring, desk, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._keyring.authenticate(scope, "jobs:write")
        require_json(scope)
        body = await read_body(scope, receive, self._max_bytes)
        documents = _documents(parse_json(body))
        headers: Headers = [_JSON]
        batch_id = None
        if (key := idempotency_key(scope)) is not None:
            batch_id = new_id("batch")
            replay = await self._desk.reserve(caller.owner, key, body, batch_id)
            if replay is not None:
                batch_id = replay.job_id
                headers.append((b"idempotency-replayed", b"true"))
        entries = await self._read(documents, caller.owner, batch_id, sending(scope))
        jobs = [entry for entry in entries if isinstance(entry, NewJob)]
        accepted = iter(await self._desk.submit_many(jobs) if jobs else ())
        sent(scope, jobs)
        outcomes = [next(accepted) if isinstance(entry, NewJob) else entry for entry in entries]
        content = orjson.dumps(
            {"data": [self._shown(one, scope, index) for index, one in enumerate(outcomes)]}
        )
        await send({"type": "http.response.start", "status": 202, "headers": _sized(headers, content)})
        await send({"type": "http.response.body", "body": content})

    async def _read(
        self, documents: list[Any], owner: str, batch_id: str | None, traceparent: str | None
    ) -> list[NewJob | CallboardError]:
        entries: list[NewJob | CallboardError] = []
        for index, document in enumerate(documents):
            if index % 50 == 49:
                await asyncio.sleep(0)  # let other requests through
            try:
                job = self._desk.reader.read(document, owner, traceparent)
            except CallboardError as error:
                entries.append(error)
            else:
                entries.append(job if batch_id is None else replace(job, id=member_id(batch_id, index)))
        return entries

    def _shown(self, outcome: JobRecord | CallboardError, scope: Scope, index: int) -> dict[str, Any]:
        if isinstance(outcome, JobRecord):
            return job_view(outcome)
        return outcome.problem() | {
            "instance": f"{scope['path']}#/jobs/{index}",
            "trace_id": scope["callboard.trace_id"],
        }


async def respond(send: Send, record: JobRecord, status: int, headers: Headers) -> None:
    """A job as the answer to its submission."""
    content = orjson.dumps(job_view(record))
    headers += (_JSON, (b"location", b"/v1/jobs/" + record.id.encode()))
    if not record.status.is_terminal:
        headers.append((b"retry-after", b"%d" % retry_after_s(record)))
    await send({"type": "http.response.start", "status": status, "headers": _sized(headers, content)})
    await send({"type": "http.response.body", "body": content})


def retry_after_s(record: JobRecord) -> int:
    """Seconds after which asking again is worth while: the estimate, within 1…60."""
    return min(60, max(1, math.ceil((record.eta_ms or 0) / 1000)))


def preferred_wait(prefer: str | None) -> int:
    """Seconds of ``Prefer: wait=N`` (RFC 7240), at most 60; 0 if it is not said, or not a number."""
    if prefer is None:
        return 0
    found = _WAIT.search(prefer)
    return min(MOST_WAIT_S, int(found[1])) if found else 0


def idempotency_key(scope: Scope) -> str | None:
    key = header(scope, b"idempotency-key")
    if key is None or _KEY.fullmatch(key):
        return key
    raise Invalid(
        "The Idempotency-Key is not usable.",
        errors=[
            {
                "field": "Idempotency-Key",
                "message": "give 1 to 255 visible ASCII characters",
                "code": "header",
            }
        ],
    )


def hang_up(receive: Receive) -> Callable[[], Awaitable[None]]:
    """What returns when the client closes its connection."""

    async def gone() -> None:
        for _ in range(2):  # the body's last message may still be there
            if (await receive())["type"] == "http.disconnect":
                return
        await asyncio.Event().wait()

    return gone


def _documents(document: Any) -> list[Any]:
    if (
        not isinstance(document, dict)
        or document.keys() != {"jobs"}
        or not isinstance(document["jobs"], list)
    ):
        raise Invalid(
            'The body is {"jobs": [...]} and nothing else.',
            errors=[
                {"field": "jobs", "message": "give a list of jobs here, and no other field", "code": "list"}
            ],
        )
    jobs = document["jobs"]
    if not 1 <= len(jobs) <= MOST_JOBS:
        raise Invalid(
            f"A batch has 1 to {MOST_JOBS:,} jobs, this one {len(jobs):,}.",
            errors=[{"field": "jobs", "message": f"give 1 to {MOST_JOBS:,} jobs", "code": "length"}],
        )
    return jobs


def _sized(headers: Headers, content: bytes) -> Headers:
    headers.append((b"content-length", b"%d" % len(content)))
    return headers
