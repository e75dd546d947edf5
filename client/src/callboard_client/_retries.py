"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from callboard_client._errors import ApiError, ConnectionFailed
from callboard_client._wire import Call, Flow, Pause, problem_of

T = TypeVar("T")

NOT_ACCEPTED = frozenset({429, 503})
LEFT_OPEN = frozenset({502, 504})
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Retries:
    """At most ``times`` further tries. Pauses double from ``first_s`` to ``longest_s``, each drawn at random
    from its upper half. A longer ``Retry-After`` beats them; one beyond ``longest_s`` ends them at once."""

    times: int = 5
    first_s: float = 0.25
    longest_s: float = 20.0
    draw: Callable[[], float] = random.random

    def pause(self, tries: int, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait after the ``tries``-th try failed (1 for the first); ``None``: give up."""
        if tries > self.times or (retry_after_s is not None and retry_after_s > self.longest_s):
            return None
        doubled: float = min(self.longest_s, self.first_s * 2.0 ** (tries - 1))
        return max(retry_after_s or 0.0, doubled * (0.5 + float(self.draw()) / 2))


def exchange(call: Call[T], retries: Retries) -> Flow[T]:
    """Send one call until it is answered, refused for good, or the tries are used up."""
    request, tries, broke_off = call.request, 0, False
    while True:
        tries += 1
        try:
            response = yield request
        except httpx.TransportError as error:
            broke_off = True
            again = request.repeatable or isinstance(error, NEVER_SENT)
            pause = retries.pause(tries) if again else None
            if pause is None:
                raise connection_failed(error, tries) from error
        else:
            assert response is not None
            gone_before = broke_off and request.method == "DELETE" and response.status_code == 404
            if response.is_success or gone_before:
                return call.read(response)
            pause = pause_or_raise(response, retries, tries, request.repeatable)
        yield Pause(pause)


def pause_or_raise(response: httpx.Response, retries: Retries, tries: int, repeatable: bool = True) -> float:
    """Seconds until a refused request may be sent again; the refusal (its body already read) if it may not.

    429 and a full ledger's 503 say that nothing was accepted; a 503 of one that is away hardly ever was, and what
    submits goes under an Idempotency-Key; 502 and 504 (a proxy's words) leave it open.
    """
    worth_it = response.status_code in (NOT_ACCEPTED | LEFT_OPEN if repeatable else NOT_ACCEPTED)
    pause = retries.pause(tries, retry_after_s(response)) if worth_it else None
    if pause is None:
        raise ApiError.of(problem_of(response))
    return pause


def retry_after_s(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds, given as a number or as a date; ``None`` if there is none to understand."""
    text = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def connection_failed(error: httpx.TransportError, tries: int) -> ConnectionFailed:
    """``httpx.LocalProtocolError`` and the like say little by themselves: name the kind and the address."""
    try:
        where = f" {error.request.url.copy_with(query=None)}"
    except RuntimeError:  # httpx: the error knows of no request
        where = ""
    often = f" (tried {tries} times)" if tries > 1 else ""
    why = str(error) or type(error).__name__
    return ConnectionFailed(f"the gateway could not be reached at{where}: {why}{often}")
