"""Keeps the members of a stack running: starts them, starts them again with backoff, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from callboard_embedded import guard
from callboard_embedded.folder import Folder
from callboard_embedded.logs import Log
from callboard_embedded.members import Member
from callboard_embedded.processes import (
    Record,
    end_recorded,
    ended,
    forget,
    how_it_ended,
    record,
    records,
    signal_each,
    start,
)

LEDGER_GRACE_S = 4.0
LEFTOVER_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a member is started again: doubling, and forgotten after a healthy while."""

    first_s: float = 0.5
    most_s: float = 30.0
    healthy_s: float = 60.0

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (1 or more)."""
        return float(min(self.most_s, self.first_s * 2 ** (failures - 1)))


@dataclass(slots=True)
class _Running:
    member: Member
    log: Log
    process: subprocess.Popen[bytes] | None = None
    known: Record | None = None
    failures: int = 0
    stopping: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Members as one tree. `say(member, text)` tells a person what happens."""

    def __init__(
        self,
        folder: Folder,
        say: Callable[[str, str], None],
        backoff: Backoff = Backoff(),
        grace_s: float = 18,
    ) -> None:
        self._folder = folder
        self._say = say
        self._backoff = backoff
        self._grace_s = grace_s
        self._running: dict[str, _Running] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._hurry = asyncio.Event()

    async def end_leftovers(self) -> None:
        """Ends what a killed supervisor left behind; its guard first, which may be doing the same."""
        known = [each for each in _records_named(self._folder, guard.NAME) if each.is_alive()]
        signal_each([each.pid for each in known], signal.SIGKILL)
        forget(self._folder.run, guard.NAME)
        names = await asyncio.to_thread(end_recorded, self._folder.run, LEFTOVER_GRACE_S)
        if names:
            self._say("leftovers", f"ended {', '.join(names)} of a stack that was killed; its jobs go on")

    def start_guard(self) -> None:
        argv = [sys.executable, "-m", "callboard_embedded.guard", str(self._folder.run)]
        with (self._folder.logs / "guard.log").open("ab") as log:
            self._guard = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        record(self._folder.run, guard.NAME, self._guard.pid)

    def keep(self, members: Iterable[Member]) -> None:
        """Starts members, and goes on starting each that ends."""
        for member in members:
            running = _Running(member, Log(self._folder.logs / f"{member.name}.log"))
            self._running[member.name] = running
            self._tasks.append(asyncio.create_task(self._keep(running), name=member.name))

    def pid(self, name: str) -> int | None:
        """The process that a member is now."""
        process = self._running[name].process
        return process.pid if process is not None else None

    def restarts(self, name: str) -> int:
        """How often in a row a member has failed lately."""
        return self._running[name].failures

    def show_logs(self) -> None:
        """Shows what members logged that a person should see."""
        for name, running in self._running.items():
            for line in running.log.to_show() if not running.member.last else []:
                self._say(name, line)

    def hurry(self) -> None:
        """Do not wait for members that are ending; kill them."""
        self._hurry.set()

    async def stop(self) -> None:
        """Ends every member, the ledger last; what does not end within its grace is killed with its children."""
        for last, grace in ((False, self._grace_s), (True, LEDGER_GRACE_S)):
            group = [each for each in self._running.values() if each.member.last == last]
            for running in group:
                running.stopping = True
                if running.process is not None and not running.gone.is_set():
                    signal_each([running.process.pid], signal.SIGTERM)
            await self._wait_or_kill(group, grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._dismiss_guard()

    async def _wait_or_kill(self, group: list[_Running], grace: float) -> None:
        waiting = [asyncio.create_task(each.gone.wait()) for each in group if each.process is not None]
        hurry = asyncio.create_task(self._hurry.wait())
        deadline = time.monotonic() + grace
        while (left := [task for task in waiting if not task.done()]) and not hurry.done():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            await asyncio.wait([*left, hurry], timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        for running in group:
            if not running.gone.is_set() and running.process is not None:
                if not self._hurry.is_set():
                    self._say(running.member.name, f"did not end within {grace:g} s, so it is killed")
                _end_session(running)
        await asyncio.gather(*waiting)
        hurry.cancel()

    async def _keep(self, running: _Running) -> None:
        """The life of a member: start, wait, tidy up, start again."""
        name = running.member.name
        while not running.stopping:
            began = time.monotonic()
            try:
                running.gone.clear()
                running.process = start(
                    running.member.argv,
                    running.member.env,
                    running.log.path,
                    tied=not running.member.last,
                )
            except OSError as error:
                how = f"cannot be started: {error}"
            else:
                running.known = record(self._folder.run, name, running.process.pid, last=running.member.last)
                await ended(running.process)
                _end_session(running)  # before it is reaped: children of a killed parent
                how = how_it_ended(running.process.wait())
                forget(self._folder.run, name)
            running.gone.set()
            if running.stopping:
                return
            healthy = time.monotonic() - began >= self._backoff.healthy_s
            running.failures = 1 if healthy else running.failures + 1
            wait_s = self._backoff.after(running.failures)
            self._say(name, f"ended ({how}); starting it again in {wait_s:g} s")
            if not healthy:
                for line in running.log.last_lines(1):
                    self._say(name, f"    its last words: {line}")
            running.process = None
            await asyncio.sleep(wait_s)

    def _dismiss_guard(self) -> None:
        if self._guard is None or self._guard.stdin is None:
            return
        try:
            self._guard.stdin.write(guard.ALL_IS_WELL)
            self._guard.stdin.close()
        except BrokenPipeError:
            pass  # it was killed; there is nothing left to guard
        self._guard.wait()
        forget(self._folder.run, guard.NAME)


def _records_named(folder: Folder, name: str) -> list[Record]:
    return [each for each in records(folder.run) if each.name == name]


def _end_session(running: _Running) -> None:
    """Kills what lives in a member's session."""
    if running.process is not None and running.process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.process.pid, signal.SIGKILL)
    if running.known is not None:
        signal_each(running.known.session(), signal.SIGKILL)
