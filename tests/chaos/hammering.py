"""Submissions that do not wait: so many a second whatever is answered, and a client that waits as it is told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
from submitting import Order


@dataclass(slots=True)
class Heard:
    """ids: of the 202s; statuses: answers by status; took_s: of every answer."""

    ids: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    untold: int = 0
    """Refusals without a Retry-After."""

    def note(self, answer: httpx.Response, took_s: float) -> None:
        self.statuses[answer.status_code] += 1
        self.took_s.append(took_s)
        if answer.status_code == 202:
            self.ids.append(answer.json()["id"])
        else:
            self.codes.add(answer.json()["code"])
            self.untold += "retry-after" not in answer.headers


class Hammer(threading.Thread):
    """One lane of a client that submits at a rate and heeds nothing."""

    def __init__(self, url: str, key: str, order: Order, rate_per_s: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        self._order, self._every_s, self._stopping = order, 1 / rate_per_s, stop
        self.heard = Heard()
        self.error: BaseException | None = None

    def run(self) -> None:
        due = time.monotonic()
        try:
            with self._http:
                while not self._stopping.wait(max(0.0, due - time.monotonic())):
                    self._submit()
                    due += self._every_s
        except BaseException as error:
            self.error = error

    def _submit(self) -> httpx.Response:
        began = time.monotonic()
        answer = self._http.post("/v1/jobs", json=self._order)
        self.heard.note(answer, time.monotonic() - began)
        return answer


class Obedient(Hammer):
    """Submits until it is refused, waits as long as it is told, and submits again: was it told the truth?"""

    def __init__(self, url: str, key: str, order: Order, stop: threading.Event) -> None:
        super().__init__(url, key, order, 1_000, stop)
        self.kept = self.broken = 0
        self.waited_s: list[int] = []

    def _submit(self) -> httpx.Response:
        answer = super()._submit()
        if answer.status_code == 429:
            self.waited_s.append(int(answer.headers["retry-after"]))
            if not self._stopping.wait(self.waited_s[-1]):
                if super()._submit().status_code == 202:
                    self.kept += 1
                else:
                    self.broken += 1
        return answer
