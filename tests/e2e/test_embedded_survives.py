"""The embedded stack under kills: a member, all members, the supervisor itself; and the way it starts and ends.

Without the NLP worker, whose model takes seconds to load; tests of its jobs use the shared stack.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from callboard_client import Callboard, ConnectionFailed, NewJob
from callboard_embedded.folder import Folder
from callboard_embedded.processes import Record, records
from callboard_embedded.settings import stack_environment
from callboard_embedded.stack import Stack, StackFailed

LIGHT = {"CALLBOARD_WORKERS": "nlp=0"}
MEMBERS = {"courier", "gateway", "guard", "llm", "nlp-train", "valkey", "vision", "vision-train"}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for the tests that leave it running."""
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder / "home", env=LIGHT, output=folder / "output.txt") as stack:
        yield stack


def known(stack: Stack) -> dict[str, Record]:
    return {record.name: record for record in records(Folder(stack.home).run)}


def processes(stack: Stack) -> list[int]:
    """Everything alive that belongs to the stack, children of members included."""
    return [pid for record in known(stack).values() for pid in record.session()]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def echoes(stack: Stack) -> bool:
    try:
        with Callboard(stack.url, stack.key) as callboard:
            return bool(callboard.run("system.echo", {"value": 7}, wait_s=10) == {"value": 7})
    except (OSError, httpx.HTTPError, ConnectionFailed):
        return False


def test_every_member_that_is_killed_comes_back_and_jobs_run_again(own_stack: Stack) -> None:
    assert set(known(own_stack)) == MEMBERS
    before = known(own_stack)
    for name in sorted(MEMBERS - {"guard"}):
        os.kill(before[name].pid, signal.SIGKILL)
    until(
        lambda: all(known(own_stack).get(name, before[name]) != before[name] for name in MEMBERS - {"guard"})
    )
    until(lambda: echoes(own_stack))


@pytest.mark.slow
def test_a_killed_supervisor_leaves_nothing_running_and_the_next_run_ends_every_accepted_job(
    tmp_path: Path,
) -> None:
    first = Stack(tmp_path / "home", env=LIGHT, output=tmp_path / "output.txt").start()
    with Callboard(first.url, first.key) as callboard:
        callboard.pause_queue("system")
        accepted = callboard.submit_batch(NewJob(type="system.echo", input={"value": n}) for n in range(50))
    left = processes(first)
    assert len(left) >= len(MEMBERS)
    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    until(lambda: not any(map(is_running, left)), seconds=25)
    with Stack(tmp_path / "home", first.port, env=LIGHT, output=tmp_path / "output.txt") as second:
        assert second.key == first.key
        with Callboard(second.url, second.key) as callboard:
            callboard.resume_queue("system")
            outputs = [callboard.jobs.wait(job, 30).output for job in accepted]
    assert outputs == [{"value": n} for n in range(50)]


@pytest.mark.slow
def test_a_second_run_right_after_a_kill_takes_over_from_what_is_left(tmp_path: Path) -> None:
    first = Stack(tmp_path / "home", env=LIGHT, output=tmp_path / "output.txt").start()
    left = processes(first)
    os.kill(first.pid, signal.SIGKILL)
    with Stack(tmp_path / "home", first.port, env=LIGHT, output=tmp_path / "output.txt") as second:
        assert not any(map(is_running, left))
        assert echoes(second)
    first.stop()


def test_sigterm_to_the_process_group_ends_everything_in_time(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", env=LIGHT, output=tmp_path / "output.txt").start()
    left = processes(stack)
    began = time.monotonic()
    os.killpg(stack.pid, signal.SIGTERM)
    assert stack.stop() == 0
    assert time.monotonic() - began < 25
    assert not any(map(is_running, left))
    assert known(stack) == {}


def test_a_second_stack_on_the_same_folder_is_refused(own_stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(StackFailed, match="A stack runs on"):
        Stack(own_stack.home, env=LIGHT, output=tmp_path / "second.txt").start()
    assert echoes(own_stack)


def test_a_taken_port_is_told_with_the_setting_to_change(own_stack: Stack, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callboard_embedded", "run"],
        env=stack_environment(tmp_path / "other", own_stack.port, LIGHT),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"Port {own_stack.port} is taken" in done.stderr
    assert f"CALLBOARD_PORT={own_stack.port + 1} make run" in done.stderr


def test_no_secret_is_in_a_log_or_on_a_command_line(own_stack: Stack) -> None:
    assert echoes(own_stack)
    conf = (own_stack.home / "valkey.conf").read_text()
    password = next(line.split()[1] for line in conf.splitlines() if line.startswith("requirepass"))
    logs = "".join(path.read_text(errors="replace") for path in (own_stack.home / "logs").iterdir())
    words = "".join(word for pid in processes(own_stack) for word in psutil.Process(pid).cmdline())
    for secret in (password, own_stack.key):
        assert secret not in logs
        assert secret not in words


def test_the_printed_link_signs_in_once(own_stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callboard_embedded", "sign-in"],
        env=stack_environment(own_stack.home, own_stack.port, {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    link = done.stdout.strip()
    assert httpx.get(link).headers["location"] == "/"
    assert httpx.get(link).status_code == 401
