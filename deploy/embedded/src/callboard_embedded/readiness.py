"""Waits until a stack can take and run jobs, telling meanwhile what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from callboard_embedded.members import Member

POLL_S = 0.1
LOADING = "loading"  # how a worker's note begins while it is online and cannot work yet


class Readiness:
    """Asks the gateway until each member with queues is online there and has loaded what it needs.

    pid_of: the process of a member now, so that a worker of an earlier run is not taken for one of this.
    """

    def __init__(
        self,
        url: str,
        key: str,
        members: Sequence[Member],
        pid_of: Callable[[str], int | None],
        say: Callable[[str, str], None],
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._waiting = {member.name: member for member in members if member.queues}
        self._gateway_ready = False
        self._notes: dict[str, str] = {}
        self._pid_of = pid_of
        self._say = say
        self._began = time.monotonic()

    @property
    def missing(self) -> list[str]:
        """Names of the members that are not ready yet."""
        return ([] if self._gateway_ready else ["gateway"]) + list(self._waiting)

    async def wait(self, timeout_s: float) -> bool:
        """True when all is ready, False after the timeout; `missing` names what is not."""
        until = time.monotonic() + timeout_s
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=2, trust_env=False
        ) as http:
            while self.missing:
                await self._look(http)
                if time.monotonic() > until:
                    break
                if self.missing:
                    await asyncio.sleep(POLL_S)
        return not self.missing

    async def _look(self, http: httpx.AsyncClient) -> None:
        if not self._gateway_ready:
            if await _get(http, "/readyz") is None:
                return
            self._gateway_ready = True
            self._say("gateway", f"ready after {self._elapsed()}")
        rows = (await _get(http, "/v1/workers") or {}).get("data") or []
        for name, member in list(self._waiting.items()):
            pid = self._pid_of(name)
            own = {row["queue"]: str(row.get("note") or "") for row in rows if pid and row.get("pid") == pid}
            notes = [note for note in own.values() if note]
            if set(member.queues) <= set(own) and not any(note.startswith(LOADING) for note in notes):
                del self._waiting[name]
                self._say(name, "; ".join([f"ready after {self._elapsed()}", *notes[:1]]))
            elif notes and notes[0] != self._notes.get(name):
                self._notes[name] = notes[0]
                self._say(name, f"{notes[0]} …")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"


async def _get(http: httpx.AsyncClient, path: str) -> dict[str, Any] | None:
    """The JSON object there, or None while the gateway does not give it."""
    try:
        answer = await http.get(path)
        body = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if answer.status_code == 200 and isinstance(body, dict) else None
