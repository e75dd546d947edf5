"""The courier's delivery: takes what is due, posts it, records what came of it; on one event loop in a thread of
its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from redis.exceptions import RedisError

from callboard_courier.delivery.schedule import SCHEDULE_S, Answer, skipped, verdict
from callboard_courier.delivery.signing import signed_headers
from callboard_courier.delivery.spreading import Spreader
from callboard_courier.delivery.subjects import Tell, body, look_up
from callboard_courier.delivery.transport import Transport
from callboard_courier.settings import DeliverySettings
from callboard_shared import tracing
from callboard_shared.access import new_secret
from callboard_shared.errors import LedgerError
from callboard_shared.ledger import AsyncLedger, keys
from callboard_shared.ledger.deliveries import Bounds, Breaker, Collected, Due, Tried, collect, record
from callboard_shared.settings import OutboundSettings
from callboard_shared.telemetry import told
from callboard_shared.tracing import Span
from callboard_shared.urls import Policy
from callboard_shared.webhooks import OUTBOXES

T = TypeVar("T")
log = structlog.get_logger(__name__)

_LOOK_S = 1.0
"""News that got lost delay a delivery by no more."""
_AWAY_S = 0.5
_MARGIN_MS = 10_000
"""A claim lasts this much longer than a try may."""


class Deliverer:
    """``grace_s``: how long tries under way have when it is told to stop; then they are handed back."""

    def __init__(self, settings: DeliverySettings | None = None, *, grace_s: float = 10) -> None:
        self._settings = settings or DeliverySettings()
        self._grace_s = grace_s
        self._stopping = threading.Event()
        self._wake: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more. Returns at once: for a signal handler."""
        self._stopping.set()
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._wake()

    def join(self) -> None:
        """Wait until what was under way is done, or handed back."""
        if self._thread.ident is not None:
            self._thread.join(self._grace_s + 3)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._deliver())
            except Exception:
                log.exception("delivery.failed")
                self._stopping.wait(_LOOK_S)  # to begin anew: a courier that delivers no more is worse

    async def _deliver(self) -> None:
        ledger = AsyncLedger()
        rounds = Rounds(ledger, self._settings, self._stopping.is_set, self._grace_s)
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, rounds.look)
        try:
            await rounds.run()
        finally:
            await ledger.close()


class Rounds:
    """One event loop's worth of delivering."""

    def __init__(
        self,
        ledger: AsyncLedger,
        settings: DeliverySettings,
        stopping: Callable[[], bool],
        grace_s: float,
        *,
        policy: Policy | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._ledger, self._settings, self._stopping, self._grace_s = ledger, settings, stopping, grace_s
        self._policy = policy or OutboundSettings().policy
        self._breaker = breaker or Breaker()
        self._bounds = Bounds(
            per_lane=settings.webhook_tries_per_endpoint,
            per_host=settings.webhook_tries_per_host,
            lease_ms=int(settings.webhook_timeout_s * 1000) + _MARGIN_MS,
            last_step=len(SCHEDULE_S) - 1,
        )
        self._spreader = Spreader(ledger, OUTBOXES, f"courier-{new_secret()[:10]}")
        self._tries: dict[asyncio.Task[Tried], Due] = {}
        self._tried: list[Tried] = []
        self._beside: list[asyncio.Task[None]] = []
        self._news, self._something = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Deliver until told to stop."""
        self._beside = [asyncio.create_task(self._hear()), asyncio.create_task(self._spread())]
        try:
            async with Transport(self._settings.webhook_timeout_s, self._policy) as transport:
                self._transport = transport
                await self._work()
        finally:
            # More than once: the Redis client loses a cancel that comes while it connects.
            while pending := [task for task in (*self._beside, *self._tries) if not task.done()]:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=0.2)

    def look(self) -> None:
        """Look now, whether there is news or not."""
        self._something.set()

    # --- from outboxes to deliveries ---

    async def _spread(self) -> None:
        while True:
            rows = await self._patiently(self._spreader.spread)
            if rows:
                self._something.set()
                continue
            await _wait(self._news, _LOOK_S)

    async def _hear(self) -> None:
        """Be told that an outbox or a lane has something. What is missed is found by looking."""
        while True:
            try:
                async with self._ledger.redis.pubsub() as pubsub:
                    await pubsub.subscribe(keys.HOOK_NEWS)
                    while True:
                        if await pubsub.get_message(timeout=30):
                            self._news.set()
                            self._something.set()
            except (RedisError, OSError):
                await asyncio.sleep(_AWAY_S)

    # --- from deliveries to posts ---

    async def _work(self) -> None:
        stop_at: float | None = None
        while True:
            for task in self._beside:
                if task.done():
                    task.result()  # raises what broke it
            if self._stopping():
                stop_at = stop_at or time.monotonic() + self._grace_s
                if not self._tries and not self._tried:
                    return
                if time.monotonic() > stop_at:
                    await self._hand_back()
                    return
            wait_s = await self._round(0 if stop_at else self._settings.webhook_tries - len(self._tries))
            await _wait(self._something, wait_s)

    async def _round(self, free: int) -> float:
        """Record what ended, take what is due, begin to post it; gives the seconds until more is due."""
        ended, self._tried = self._tried, []
        calls = [record(ended, self._breaker)] if ended else []
        try:
            *recorded, collected = await self._ledger.run_many([*calls, collect(free, self._bounds)])
            for answer in (*recorded, collected):
                if isinstance(answer, LedgerError):
                    raise answer
        except LedgerError as error:
            log.warning("delivery.ledger_away", reason=error.problem_code)
            self._tried = ended + self._tried  # recording one twice does nothing
            await asyncio.sleep(_AWAY_S)
            return 0
        await self._begin(collected)
        return 0 if self._tried else min(_LOOK_S, collected.next_ms / 1000) if free else _LOOK_S

    async def _begin(self, collected: Collected) -> None:
        """Try what was taken, or put it off where its circuit is open."""
        read_at = time.monotonic()
        self._tried += [skipped(due, collected.now_ms) for due in collected.due if due.skip]
        wanted = [due for due in collected.due if not due.skip]
        try:
            told = await look_up(self._ledger, wanted)
        except LedgerError as error:
            log.warning("delivery.ledger_away", reason=error.problem_code)
            self._tried += [Tried(due.id, due.attempt, "released") for due in wanted]
            await asyncio.sleep(_AWAY_S)
            return
        for due in wanted:
            task = asyncio.create_task(self._try(due, told.get(due.id), collected.now_ms, read_at))
            self._tries[task] = due
            task.add_done_callback(self._landed)

    async def _try(self, due: Due, tell: Tell | None, now_ms: int, read_at: float) -> Tried:
        """One try. One that cannot even be made waits for its next time like any other, and holds up nothing."""
        now_ms += int((time.monotonic() - read_at) * 1000)  # by the ledger's clock, not this machine's
        try:
            if tell is None:
                answer = Answer(now_ms, 0, error="unknown-subject: this courier does not know such a thing")
            else:
                answer = await self._posted(due, tell, now_ms)
        except Exception as error:
            log.error("delivery.try_failed", **told(error), **about(due, tell))
            answer = Answer(now_ms, 0, error=f"internal: {type(error).__name__}")
        if not answer.is_success:
            log.info("delivery.not_taken", status=answer.status, error=answer.error, **about(due, tell))
        return verdict(due, answer)

    async def _posted(self, due: Due, tell: Tell, now_ms: int) -> Answer:
        text = body(due, tell.view())
        headers = signed_headers(due.secrets, due.message, text, now_ms)
        headers["callboard-delivery"] = due.id
        with tracing.span("POST", "client", parent=tell.traceparent, attributes=_attributes(due)) as span:
            if traceparent := span.traceparent if span else tell.traceparent:
                headers["traceparent"] = traceparent
            answer = await self._transport.post(due.url, headers, text, now_ms)
            if span is not None:
                _tell_answer(span, answer)
        return answer

    def _landed(self, task: asyncio.Task[Tried]) -> None:
        due = self._tries.pop(task)
        self._tried.append(Tried(due.id, due.attempt, "released") if task.cancelled() else task.result())
        self._something.set()

    async def _hand_back(self) -> None:
        """Tries that do not end in time are broken off; others make them again."""
        pending = list(self._tries)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        await asyncio.sleep(0)
        if self._tried:
            with contextlib.suppress(LedgerError):  # then their claims lapse
                await self._ledger.run(record(self._tried, self._breaker))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, however long the ledger is away."""
        while True:
            try:
                return await ask()
            except LedgerError as error:
                log.warning("delivery.ledger_away", reason=error.problem_code)
                await asyncio.sleep(_AWAY_S)


def _attributes(due: Due) -> dict[str, str | int]:
    """No more of the URL than its server: paths and queries of receivers hold secrets."""
    address = urlsplit(due.url)
    return {
        "http.request.method": "POST", "server.address": address.hostname or "",
        "server.port": address.port or (443 if address.scheme == "https" else 80),
        "http.request.resend_count": due.step, "callboard.webhook.event": due.event, "callboard.subject": due.subject,
    }  # fmt: skip


def _tell_answer(span: Span, answer: Answer) -> None:
    if answer.status is not None:
        span.tell({"http.response.status_code": answer.status})
    if not answer.is_success:
        span.fail(
            str(answer.status) if answer.status is not None else (answer.error or "error").partition(":")[0]
        )


def about(due: Due, tell: Tell | None) -> dict[str, Any]:
    """The members of each log line about a delivery."""
    return {
        "delivery": due.id, "job": due.subject, "attempt": due.run, "key": due.owner,
        "trace": tracing.trace_id(tell.traceparent) if tell else None,
    }  # fmt: skip


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or for so long; clears it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
