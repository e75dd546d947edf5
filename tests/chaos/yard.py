"""The embedded stack in the test's own hands: its members under its own supervisor, and each process within reach.

Members are started, recorded and started again by the product's supervisor; only the pause before a restart is ours,
and single members may be given another address of the ledger: that of a proxy that spoils their connections.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import next_release
import redis
from pydantic import SecretStr
from scale import HEARTBEAT_S, LEASE_S
from webhook_receiver import Receiver, receiver
from wire_cutter import WireCutter

from callboard_client import Callboard, Retries
from callboard_embedded.folder import Folder, admin_key
from callboard_embedded.members import Member, ledger_member, service_members
from callboard_embedded.ports import free_port
from callboard_embedded.readiness import Readiness
from callboard_embedded.settings import EmbeddedSettings, member_environment
from callboard_embedded.supervisor import Supervisor
from callboard_embedded.valkey import configure
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, verbs
from callboard_shared.settings import LedgerSettings

T = TypeVar("T")
COURIERS_ONLY = "nlp=0,nlp-train=0,llm=0,vision=0,vision-train=0"
QUICK = {
    "CALLBOARD_LEASE_S": str(LEASE_S),
    "CALLBOARD_HEARTBEAT_S": str(HEARTBEAT_S),
    "CALLBOARD_CANCEL_GRACE_S": "1",
    "CALLBOARD_SHUTDOWN_GRACE_S": "4",
    "CALLBOARD_RATE_LIMIT_PER_S": "0",
    "CALLBOARD_MAX_WAITING_JOBS": "1000000",
    "CALLBOARD_OFFLINE": "true",
    "OPENAI_API_KEY": "",
    "ELEVENLABS_API_KEY": "",
}
READY_S = 120.0
PATIENT = Retries(times=60, first_s=0.1, longest_s=2.0)
"""Of a client that goes on until it is answered, under the same Idempotency-Key."""


def until(condition: Callable[[], T], within_s: float, what: str, every_s: float = 0.02) -> T:
    """The first true value of ``condition``; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
    return value


@dataclass(slots=True)
class Restarts:
    """How long the supervisor waits before it starts a member again; stands for its growing backoff."""

    pause_s: float = 0.2
    healthy_s: float = 0.0

    def after(self, failures: int) -> float:
        return self.pause_s


@dataclass(frozen=True, slots=True)
class Plan:
    """workers: as ``CALLBOARD_WORKERS``; errands: workers of queue ``nlp`` that do as they are told; env: further
    settings; links: names of proxies; reach: per member (or its kind) which address leads through which of them; own: settings of single members;
    releases: a folder whose files name each member's sources, all of them ``at_first``'s (``next_release.py``)."""

    workers: str = COURIERS_ONLY
    errands: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    reach: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    releases: Path | None = None
    at_first: str = ""


class Yard:
    """A running stack: ``callboard`` is a client that is patient, ``ledger`` the ledger past all proxies, ``cutters`` the
    proxies by name, ``receiver`` takes the webhooks."""

    def __init__(self, home: Path, plan: Plan) -> None:
        self.folder, self.plan = Folder(home), plan
        self.restarts = Restarts()
        self.said: list[str] = []
        self.cutters: dict[str, WireCutter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="yard", daemon=True)
        self._stop = ExitStack()
        self._supervisor = Supervisor(self.folder, self._say, self.restarts)  # type: ignore[arg-type]
        self._names: list[str] = []

    # --- its life ---

    def __enter__(self) -> Self:
        self._thread.start()
        self._stop.callback(self._end_thread)
        try:
            self.run(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self.folder.make()
        settings = EmbeddedSettings(
            home=self.folder.home, port=free_port(), host="127.0.0.1", workers=self.plan.workers, offline=True
        )
        self._supervisor.start_guard()
        self._stop.callback(lambda: self.run(self._supervisor.stop()))
        key = admin_key(self.folder)
        valkey = configure(self.folder)
        env = {**member_environment(settings, valkey.url, key), **QUICK, **self.plan.env}
        self.url, self.key, self.redis_url = settings.url, key, valkey.url
        self._supervisor.keep([ledger_member(valkey, env)])
        assert await valkey.wait(30), self.log("valkey")
        for name in {name for reach in self.plan.reach.values() for name in reach.values()}:
            self.cutters[name] = WireCutter(valkey.port)
            await self.cutters[name].start()
            self._stop.callback(lambda cutter=self.cutters[name]: self.run(cutter.stop()))
        members = [self._addressed(member, valkey.port) for member in self._members(settings, env)]
        self._names = [member.name for member in members]
        self._supervisor.keep(members)
        hooks = receiver()
        self.receiver: Receiver = await hooks.__aenter__()
        self._stop.callback(lambda: self.run(hooks.__aexit__(None, None, None)))
        self._open_clients()
        readiness = Readiness(self.url, key, members, self._supervisor.pid, self._say)
        assert await readiness.wait(READY_S), f"not ready: {readiness.missing}\n" + "\n".join(self.said)

    def _members(self, settings: EmbeddedSettings, env: Mapping[str, str]) -> list[Member]:
        package = self.folder.home / "callboard_errand"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("errands.py"), package / "main.py")
        path = os.pathsep.join([str(self.folder.home), env.get("PYTHONPATH", "")])
        argv = (sys.executable, "-c", "from callboard_errand.main import worker; worker.main()")
        errands = [
            Member(f"errand-{number}", argv, {**env, "PYTHONPATH": path}, ("nlp",))
            for number in range(1, self.plan.errands + 1)
        ]
        members = [*service_members(settings, env), *errands]
        if self.plan.releases is None:
            return members
        for member in members:
            (self.plan.releases / member.name).write_text(self.plan.at_first)
        return [next_release.startable(member, self.plan.releases) for member in members]

    def _addressed(self, member: Member, port: int) -> Member:
        kind = member.name.partition("-")[0]
        reach = self.plan.reach.get(member.name, self.plan.reach.get(kind, {}))
        urls = {
            name: self.redis_url.replace(f":{port}/", f":{self.cutters[to].port}/")
            for name, to in reach.items()
        }
        return replace(member, env={**member.env, **urls, **self.plan.own.get(member.name, {})})

    def _open_clients(self) -> None:
        self.ledger = Ledger(LedgerSettings(redis_url=SecretStr(self.redis_url)))
        self._stop.callback(self.ledger.close)
        self.redis = self._stop.enter_context(redis.Redis.from_url(self.redis_url, socket_timeout=5))
        self.callboard = self._stop.enter_context(Callboard(self.url, self.key, retries=PATIENT))

    def _say(self, member: str, text: str) -> None:
        self.said.append(f"{time.monotonic():.2f} {member}: {text}")

    def log(self, member: str) -> str:
        path = self.folder.logs / f"{member}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def answers(self) -> bool:
        """Whether the ledger answers."""
        try:
            return bool(self.redis.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def is_ready(self) -> bool:
        """Whether the gateway takes jobs."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    # --- its processes ---

    def names(self, kind: str) -> list[str]:
        """Members of a kind: ``courier``, ``errand``, ``nlp``."""
        return [name for name in self._names if name == kind or name.startswith(f"{kind}-")]

    def pid(self, name: str) -> int | None:
        """The process that leads a member now; None between two lives."""
        return self._supervisor.pid(name)

    def signal(self, name: str, number: signal.Signals, *, tree: bool = True) -> int:
        """To every process of a member's tree, or to the one that leads it. Gives that one's pid."""
        pid = until(lambda: self.pid(name), 30, f"{name} runs")
        os.killpg(pid, number) if tree else os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        """SIGKILL for the whole tree, awaited."""
        pid = self.signal(name, signal.SIGKILL)
        until(lambda: self.pid(name) != pid, 20, f"{name} is gone")
        return pid

    def is_online(self, name: str) -> bool:
        """Whether the process that the member is now serves its queues, its models loaded."""
        pid = self.pid(name)
        rows = [row for queue in QUEUES for row in self.ledger.run(verbs.workers(queue)) if row.pid == pid]
        return bool(rows) and not any(row.note.startswith("loading") for row in rows)

    def await_online(self, names: Sequence[str], within_s: float = 60) -> None:
        until(lambda: all(map(self.is_online, names)), within_s, f"{names} are online", 0.1)
