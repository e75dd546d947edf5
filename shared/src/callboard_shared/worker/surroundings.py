"""What a worker sees around it: told with its presence, shown by ``/v1/workers``, ``/metrics``, ``callboard doctor``.

Looked at in a thread of its own, since a disk, a driver or a broker may keep one waiting. Nothing of it is a secret.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import structlog
from celery import Celery

from callboard_shared.bell import hears

log = structlog.get_logger(__name__)

Facts = dict[str, Any]
Look = Callable[[], Any]

_LOOK_S = 15.0
_PATIENCE_S = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Surroundings:
    """``looks``: fact -> what finds it; one that gives None, or raises, leaves its fact out."""

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = dict(looks)
        self._found: Facts = {}
        self._thread = threading.Thread(target=self._run, name="surroundings", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def told(self) -> bytes:
        """The facts as JSON, with this machine's clock and the process's use of it at this moment."""
        memory, cpu_s = used_by(os.getpid())
        now = {"clock_ms": time.time_ns() // 1_000_000, "memory_bytes": memory, "cpu_s": round(cpu_s, 2)}
        return orjson.dumps({**self._found, **now})

    def look(self) -> None:
        found: Facts = {"version": version("callboard-shared")}
        for name, look in self._looks.items():
            try:
                value = look()
            except Exception as error:
                log.warning("surroundings.not_seen", fact=name, reason=type(error).__name__)
                continue
            if value is not None:
                found[name] = value
        self._found = found

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(_LOOK_S)


def used_by(pid: int) -> tuple[int, float]:
    """Resident bytes and processor seconds of a process and its children, also of those that ended. Zero where there
    is no /proc. (Memory that a fork shares with its parent counts twice.)"""
    memory, cpu_s = 0, 0.0
    for one in (pid, *_children(pid)):
        try:
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        mine = stat[11:15] if one == pid else stat[11:13]  # the parent has the times of children that ended
        cpu_s += sum(map(int, mine)) / _TICKS
        memory += int(stat[21]) * _PAGE
    return memory, cpu_s


def _children(pid: int) -> Iterable[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return ()


def disk_free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def gpus() -> list[dict[str, Any]] | None:
    """What the NVIDIA driver tells, without opening a GPU in this process; None where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(query, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout
    return [_gpu(line) for line in told.splitlines() if line.strip()]


def _gpu(line: str) -> dict[str, Any]:
    index, name, used, total = (part.strip() for part in line.split(","))
    return {"index": int(index), "name": name, "used_bytes": int(used) << 20, "total_bytes": int(total) << 20}


def broker(celery: Celery) -> str:
    """``ok``, or what is wrong with the way to the broker."""
    try:
        with celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE_S)
    except Exception as error:
        return type(error).__name__
    return "ok"


def bells(worker_id: str) -> str:
    """``ok`` if this worker's consumer answers through the broker, else ``silent``.

    One that lost its connection may be online, and never hear of work.
    """
    return "ok" if hears(worker_id, _PATIENCE_S) else "silent"
