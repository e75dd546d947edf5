"""Processes of a measurement: each in a group of its own, ended together, and with the bench if that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from callboard_embedded.processes import dies_with_parent

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 25.0


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with ``extra``, and with the bench importable as ``bench``."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **extra}


class Failed(RuntimeError):
    """A program of the bench ended with an error; the message is the end of what it said."""


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], log: Path, python: str = sys.executable
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python <command>`` for the length of the block; what it prints goes to ``log``."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [python, *command], env=environment(env), stdout=out, stderr=out, start_new_session=True,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 – calls prctl and nothing else
        )  # fmt: skip
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group of a process that this bench started, then SIGKILL to what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def output(
    command: Sequence[str], env: Mapping[str, str], limit_s: float = 600, python: str = sys.executable
) -> str:
    """Run ``python <command>`` to its end; its standard output. Raises ``Failed``, also after ``limit_s``."""
    try:
        ended = subprocess.run(
            [python, *command], env=environment(env), capture_output=True, text=True, timeout=limit_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)[:100]}: not done after {limit_s:.0f} s") from None
    if ended.returncode:
        raise Failed(f"{' '.join(command)[:100]}: {ended.stderr.strip()[-400:]}")
    return ended.stdout


def wait_until(reached: Callable[[], bool], limit_s: float, what: str, every_s: float = 0.02) -> float:
    """Ask until it is so; the moment it was (``time.perf_counter``). Raises ``TimeoutError``."""
    deadline = time.perf_counter() + limit_s
    while not reached():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(every_s)
    return time.perf_counter()
