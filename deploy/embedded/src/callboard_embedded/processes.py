"""Processes of a stack: started in sessions of their own, recorded, found again, and ended whole.

Each member leads a session, so that a Ctrl-C in the terminal reaches only the supervisor, and so that a member's
children (Celery's pool) can be found and ended even when their parent has been killed. A record of pid and
start time lies in `.callboard/run/` while a member lives: a recycled pid is never mistaken for ours.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SAME_START_S = 2.0  # two readings of a start time may differ by the clock's adjustment
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A started process: enough to recognise it later. `started` is in seconds since the epoch."""

    name: str
    pid: int
    started: float
    last: bool = False

    def is_alive(self) -> bool:
        """Is the leader itself still there (and not just waiting to be reaped)?"""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def session(self) -> list[int]:
        """Pids of everything alive in the session that this process led."""
        try:
            if abs(psutil.Process(self.pid).create_time() - self.started) >= SAME_START_S:
                return []  # the pid belongs to someone else now
        except psutil.Error:
            pass  # the leader is gone; its children may not be
        return [pid for pid in psutil.pids() if _session_of(pid) == self.pid and _is_running(pid)]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def dies_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends the child SIGTERM when its parent ends (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return tie


def start(
    argv: Sequence[str], env: Mapping[str, str], log: Path, *, tied: bool = True
) -> subprocess.Popen[bytes]:
    """Starts a process as leader of a session; what it prints is appended to a log. Raises OSError."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            preexec_fn=dies_with_parent() if tied else None,  # noqa: PLW1509 – calls prctl and nothing else
        )


def record(folder: Path, name: str, pid: int, *, last: bool = False) -> Record:
    """Notes a started process in the folder of records."""
    made = Record(name, pid, psutil.Process(pid).create_time(), last)
    draft = folder / f"{name}.new"
    draft.write_text(json.dumps(asdict(made)))
    draft.replace(folder / f"{name}.json")
    return made


def forget(folder: Path, name: str) -> None:
    (folder / f"{name}.json").unlink(missing_ok=True)


def records(folder: Path) -> list[Record]:
    """All records in the folder; one that cannot be read is removed."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Record(**json.loads(path.read_text())))
        except (ValueError, TypeError):
            path.unlink(missing_ok=True)
    return found


def signal_each(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _empty_by(records: Sequence[Record], deadline: float) -> bool:
    while any(each.session() for each in records):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def end_recorded(folder: Path, grace_s: float, *, besides: Iterable[str] = ()) -> list[str]:
    """Ends every recorded process with its children: the ledger last. Returns the names of what was alive.

    Blocks for at most twice the grace, plus a moment.
    """
    skipped = set(besides)
    known = [each for each in records(folder) if each.name not in skipped]
    alive = [each for each in known if each.session()]
    for group in ([r for r in alive if not r.last], [r for r in alive if r.last]):
        signal_each([each.pid for each in group if each.is_alive()], signal.SIGTERM)
        if not _empty_by(group, time.monotonic() + grace_s):
            signal_each([pid for each in group for pid in each.session()], signal.SIGKILL)
            _empty_by(group, time.monotonic() + 2)
    for each in known:
        forget(folder, each.name)
    return [each.name for each in alive]


async def ended(process: subprocess.Popen[bytes]) -> None:
    """Returns when a process has ended; it is not reaped yet, so its pid is still its own."""
    if not hasattr(os, "pidfd_open"):
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 – macOS
            await asyncio.sleep(POLL_S)
        return
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, done.set)
    try:
        await done.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def how_it_ended(code: int) -> str:
    """An exit code in words: "exit code 1", "killed by SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
