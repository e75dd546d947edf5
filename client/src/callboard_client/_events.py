"""Following an event stream over broken connections, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx

from callboard_client import _calls as calls
from callboard_client._errors import ConnectionFailed
from callboard_client._models import Event, Job
from callboard_client._retries import Retries, connection_failed, pause_or_raise
from callboard_client._sse import EventReader
from callboard_client._wire import Request


class Following:
    """One reader's place in a stream, from the first connection to its end, if it has one.

    request: makes a connection, given the id of the last event that was read. last: the kind of the event that ends
    the stream; None for one that goes on until the reader leaves. Tries are counted anew with each event (without
    an end: with whatever comes), so that a stream may break any number of times while it gets on.
    """

    def __init__(
        self, request: Callable[[str | None], Request], after: str | None, last: str | None, retries: Retries
    ) -> None:
        self.done = False
        self._request, self._last = request, last
        self._reader = EventReader(after)
        self._retries = retries
        self._tries = 0

    def request(self) -> Request:
        """The next connection, resuming behind the last event that was read."""
        self._reader.restart()
        return self._request(self._reader.last_id)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        if self._last is None:
            self._tries = 0
        for event in self._reader.feed(chunk):
            self._tries = 0
            self.done = event.kind == self._last
            yield event
            if self.done:
                return

    def accept(self, response: httpx.Response) -> bool:
        """Whether events follow. 204 says that the event resumed from was the last."""
        self.done = response.status_code == httpx.codes.NO_CONTENT
        return response.is_success

    def pause_after_answer(self, response: httpx.Response) -> float:
        """Seconds until the next try after a refusal (its body already read), or the refusal is raised."""
        self._tries += 1
        return pause_or_raise(response, self._retries, self._tries)

    def pause_after_break(self, error: httpx.TransportError | None) -> float:
        """Seconds until the next try after the stream broke (``error``) or ended without ``done``."""
        self._tries += 1
        pause = self._retries.pause(self._tries)
        if pause is not None:
            return pause
        if error is not None:
            raise connection_failed(error, self._tries) from error
        raise ConnectionFailed(f"the event stream kept ending before its job did (tried {self._tries} times)")


def of_job(job: Job | str, after: str | None, retries: Retries) -> Following:
    return Following(lambda last_id: calls.job_events(job, last_id), after, "done", retries)


def of_all(
    kind: str | None,
    type: str | None,
    queue: str | None,
    status: str | None,
    after: str | None,
    retries: Retries,
) -> Following:
    def request(last_id: str | None) -> Request:
        return calls.key_events(kind, type, queue, status, last_id)

    return Following(request, after, None, retries)
