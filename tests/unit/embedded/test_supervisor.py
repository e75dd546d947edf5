"""The supervisor, with small stand-ins for the members: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from callboard_embedded.folder import Folder
from callboard_embedded.members import Member
from callboard_embedded.processes import Record, end_recorded, records
from callboard_embedded.supervisor import Backoff, Supervisor

QUICK = Backoff(first_s=0.05, most_s=0.2, healthy_s=60)

STAYS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
HAS_A_CHILD = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN);"
    " time.sleep(60)']);"
    "print('child', child.pid, flush=True); time.sleep(60)"
)
FAILS = "import sys; sys.exit('the disk is on fire')"


class Told:
    """What the supervisor said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, member: str, text: str) -> None:
        self.lines.append(f"{member}: {text}")


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def member(name: str, code: str, *, last: bool = False) -> Member:
    return Member(name, (sys.executable, "-c", code), dict(os.environ), last=last)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def supervisor(folder: Folder, told: Told) -> AsyncIterator[Supervisor]:
    made = Supervisor(folder, told, QUICK, grace_s=1)
    yield made
    await made.stop()


def known(folder: Folder, name: str) -> Record | None:
    return next((each for each in records(folder.run) if each.name == name), None)


async def running(folder: Folder, name: str, other_than: int = 0) -> Record:
    def is_up() -> bool:
        found = known(folder, name)
        return (
            found is not None
            and found.pid != other_than
            and "up" in (folder.logs / f"{name}.log").read_text()
        )

    await until(is_up)
    found = known(folder, name)
    assert found is not None
    return found


def test_the_wait_before_a_restart_doubles_up_to_its_limit() -> None:
    assert [Backoff().after(failures) for failures in (1, 2, 3, 6, 7, 100)] == [0.5, 1, 2, 16, 30, 30]


async def test_a_killed_member_is_started_again_and_the_log_says_why(
    supervisor: Supervisor, folder: Folder, told: Told
) -> None:
    supervisor.keep([member("one", STAYS)])
    first = await running(folder, "one")
    os.kill(first.pid, signal.SIGKILL)
    second = await running(folder, "one", other_than=first.pid)
    assert second.is_alive()
    assert told.lines[0] == "one: ended (killed by SIGKILL); starting it again in 0.05 s"


async def test_a_member_that_cannot_run_is_tried_again_ever_more_slowly(
    supervisor: Supervisor, folder: Folder, told: Told
) -> None:
    supervisor.keep([member("bad", FAILS)])
    await until(lambda: supervisor.restarts("bad") >= 3)
    waits = [line.rsplit(" ", 2)[1] for line in told.lines if "starting it again" in line]
    assert waits[:3] == ["0.05", "0.1", "0.2"]
    assert "bad:     its last words: the disk is on fire" in told.lines


async def test_children_of_a_killed_member_end_with_it(supervisor: Supervisor, folder: Folder) -> None:
    supervisor.keep([member("parent", HAS_A_CHILD)])
    log = folder.logs / "parent.log"
    await until(lambda: log.exists() and "child" in log.read_text())
    child = int(log.read_text().split()[1])
    found = known(folder, "parent")
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    await until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    )


async def test_members_are_in_sessions_of_their_own_so_that_ctrl_c_reaches_only_the_supervisor(
    supervisor: Supervisor, folder: Folder
) -> None:
    supervisor.keep([member("one", STAYS)])
    found = await running(folder, "one")
    assert os.getsid(found.pid) == found.pid != os.getsid(0)


async def test_the_ledger_ends_last(folder: Folder, told: Told) -> None:
    supervisor = Supervisor(folder, told, QUICK, grace_s=5)
    says_when = (
        "import signal, sys, time;"
        "signal.signal(15, lambda *_: (print('ended', time.time(), flush=True), sys.exit()));"
        "print('up', flush=True); time.sleep(60)"
    )
    supervisor.keep([member("ledger", says_when, last=True), member("gateway", says_when)])
    await running(folder, "ledger")
    await running(folder, "gateway")
    await supervisor.stop()
    ended = {
        name: float((folder.logs / f"{name}.log").read_text().split()[-1]) for name in ("ledger", "gateway")
    }
    assert ended["gateway"] < ended["ledger"]
    assert records(folder.run) == []
    assert told.lines == []


async def test_a_member_that_does_not_end_is_killed_after_its_grace(folder: Folder, told: Told) -> None:
    supervisor = Supervisor(folder, told, QUICK, grace_s=0.3)
    supervisor.keep([member("stubborn", STUBBORN)])
    found = await running(folder, "stubborn")
    await supervisor.stop()
    assert not found.is_alive()
    assert "stubborn: did not end within 0.3 s, so it is killed" in told.lines


async def test_leftovers_of_a_killed_supervisor_are_ended_by_the_next(folder: Folder, told: Told) -> None:
    first = Supervisor(folder, told, QUICK, grace_s=1)
    first.keep([member("one", STAYS), member("ledger", STAYS, last=True)])
    left = [await running(folder, "one"), await running(folder, "ledger")]
    for task in first._tasks:  # what a SIGKILL does: nobody watches any more, and the records stay
        task.cancel()
    await asyncio.gather(*first._tasks, return_exceptions=True)
    second = Supervisor(folder, told, QUICK, grace_s=1)
    await second.end_leftovers()
    assert not any(each.is_alive() for each in left)
    assert records(folder.run) == []


def test_a_recycled_pid_is_never_taken_for_a_leftover(folder: Folder) -> None:
    mine = psutil.Process()
    stranger = Record("one", mine.pid, mine.create_time() - 3600)
    (folder.run / "one.json").write_text(
        f'{{"name": "one", "pid": {mine.pid}, "started": {stranger.started}, "last": false}}'
    )
    assert not stranger.is_alive()
    assert stranger.session() == []
    assert end_recorded(folder.run, 0.1) == []
    assert records(folder.run) == []


async def test_the_guard_ends_the_members_when_the_supervisor_vanishes(folder: Folder, told: Told) -> None:
    supervisor = Supervisor(folder, told, QUICK, grace_s=1)
    supervisor.start_guard()
    supervisor.keep([member("one", STAYS)])
    found = await running(folder, "one")
    for task in supervisor._tasks:
        task.cancel()
    await asyncio.gather(*supervisor._tasks, return_exceptions=True)
    guard = supervisor._guard
    assert guard is not None
    assert guard.stdin is not None
    guard.stdin.close()  # as the kernel does when the supervisor dies
    await asyncio.to_thread(guard.wait, 20)
    assert not found.is_alive()
