"""Row group j: webhooks to a receiver on this machine, and what a dead endpoint costs the others."""

from __future__ import annotations

import json
import socket
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bench.processes import running, wait_until
from bench.report import Row, plain
from bench.scale import Scale
from bench.valkey import valkey
from callboard_shared.errors import LedgerError
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ended, Ledger, NewJob, verbs
from callboard_shared.ledger.endpoints import create_endpoint, list_endpoints
from callboard_shared.ledger.outbox import subscribe
from callboard_shared.settings import LedgerSettings
from callboard_shared.webhooks import hook, new_webhook_secret

GROUP = "j. webhooks to a receiver on this machine"
QUEUE, OWNER, RUNNER = "system", "key_bench", "bench@here#1"
SPEC = b'{"input":{"value":{"hello":"world"}},"metadata":{}}'
OUTPUT = b'{"value":{"hello":"world"}}'
TARGET, NOTHING = 2_000, 1.2
BATCH = 250
OFFERED_PER_S, OFFERED_S = 200, 10
START_S, END_S = 60.0, 120.0


def rows(scale: Scale) -> Iterator[Row]:
    rates, alone, beside_dead = [], [], []
    for _ in range(scale.rounds):
        rates.append(_rate(scale.rival_jobs))
        alone.append(_p95_ms(dead=False))
        beside_dead.append(_p95_ms(dead=True))
    rate = statistics.median(rates)
    yield Row(
        GROUP, "delivered by one courier from a backlog, to one URL", rate, "/s", None, f"≥ {TARGET:,}/s", rate >= TARGET,
        rates,
    )  # fmt: skip
    offered = f"from the job's end to the receiver, p95, {OFFERED_PER_S}/s"
    yield plain(GROUP, offered, alone, "ms")
    base, figure = statistics.median(alone), statistics.median(beside_dead)
    yield Row(
        GROUP, f"{offered}, beside an endpoint that never answers", figure, "ms", figure / base, f"≤ {NOTHING:g} × without",
        figure <= NOTHING * base, beside_dead,
    )  # fmt: skip


@dataclass
class Desk:
    """A ledger, a receiver, and room for a courier."""

    ledger: Ledger
    url: str
    env: dict[str, str]
    log: Path
    stack: ExitStack = field(repr=False)

    def ask(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/", timeout=10) as answer:
            return json.load(answer)

    def courier(self) -> None:
        self.stack.enter_context(running(["-m", "callboard_courier"], self.env, self.log))

    def online(self) -> bool:
        return bool(self.ledger.run(verbs.workers(QUEUE)))

    def end_jobs(self, count: int, hook: str = "") -> None:
        """Submit, claim and finish jobs, as a gateway and a worker would."""
        jobs = [NewJob(new_id("job"), "system.echo", QUEUE, OWNER, SPEC, hook=hook) for _ in range(count)]
        self.ledger.run(verbs.submit(QUEUE, jobs))
        limits = {"system.echo": (count, 0)}
        claim = self.ledger.run(verbs.claim(QUEUE, RUNNER, limits=limits, max_jobs=count, lease_ms=60_000))
        ended = [Ended(job.id, job.attempt, "succeeded", OUTPUT) for job in claim.jobs]
        self.ledger.run(verbs.finish(QUEUE, RUNNER, ended, 1))

    def register(self, path: str) -> None:
        """An endpoint of the key, of which the outbox knows."""
        made = create_endpoint(
            OWNER, new_id("whe"), url=self.url + path, events=(), description="", secret=new_webhook_secret(), most=9
        )  # fmt: skip
        self.ledger.run(made)
        known = self.ledger.run(list_endpoints(OWNER))
        self.ledger.run(subscribe(QUEUE, OWNER, known.revision, known.events))


@contextmanager
def _desk() -> Iterator[Desk]:
    with (
        valkey() as url,
        tempfile.TemporaryDirectory(prefix="callboard-bench-") as home,
        ExitStack() as stack,
    ):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = Path(home, "said")
        env = {
            "CALLBOARD_REDIS_URL": f"{url}/0", "CALLBOARD_WEBHOOK_ALLOW_PRIVATE": "true", "CALLBOARD_HOME": home,
            "CALLBOARD_LOG_LEVEL": "WARNING",
        }  # fmt: skip
        stack.enter_context(running(["-m", "bench.receiver", str(port)], {}, log))
        ledger = Ledger(LedgerSettings(redis_url=SecretStr(f"{url}/0"), redis_timeout_s=10))
        desk = Desk(ledger, f"http://127.0.0.1:{port}", env, log, stack)
        wait_until(lambda: _listens(port), START_S, "the receiver listens")
        yield desk
        stack.close()
        ledger.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _rate(count: int) -> float:
    """Posts a second from the first to the last, of jobs that had ended before the courier was started."""
    with _desk() as desk:
        for _ in range(count // BATCH):
            desk.end_jobs(BATCH, hook(["job.succeeded"], f"{desk.url}/live"))
        desk.courier()
        came: list[Any] = []

        def all_came() -> bool:
            came.append(desk.ask())
            return sum(one["count"] for one in came) >= count // BATCH * BATCH

        wait_until(all_came, END_S, "all webhooks came", every_s=0.5)
        some = [one for one in came if one["count"]]
        return float(sum(one["count"] for one in some) / (some[-1]["last"] - some[0]["first"]))


def _p95_ms(*, dead: bool) -> float:
    """From the end of a job to its webhook's arrival, with jobs ending at a steady rate."""
    with _desk() as desk:
        desk.register("/live")
        if dead:
            desk.register("/dead")
        desk.courier()
        wait_until(lambda: _asked(desk), START_S, "the courier is online", every_s=0.1)
        desk.end_jobs(5)  # the scripts and connections are there from here on
        wait_until(lambda: desk.ask()["count"] > 0, START_S, "the first webhook", every_s=0.5)
        each, began = 4, time.perf_counter()
        for n in range(OFFERED_PER_S * OFFERED_S // each):
            time.sleep(max(0.0, began + n * each / OFFERED_PER_S - time.perf_counter()))
            desk.end_jobs(each)
        took: list[float] = []

        def all_came() -> bool:
            took.extend(desk.ask()["ms"])
            return len(took) >= OFFERED_PER_S * OFFERED_S

        wait_until(all_came, END_S, "all webhooks came", every_s=0.5)
        return statistics.quantiles(took, n=20)[18]


def _asked(desk: Desk) -> bool:
    try:
        return desk.online()
    except LedgerError:
        return False
