"""The ledger is killed, stopped and full, and connections to it break within the steps of a job."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from evidence import enter, histories
from scale import dice, pick
from submitting import Accepted, errand, load, mixed
from table import quantile
from wire_cutter import At, steps
from yard import Plan, Yard, until

ANSWER_S, START_S = 2.0, 10.0


class Probe(threading.Thread):
    """Submits without patience while the ledger is away: what is said, and how soon."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(daemon=True)
        self._yard, self._stopping = yard, threading.Event()
        self.said: list[tuple[int, float]] = []
        self.keys: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._yard.url, timeout=10) as http:
            while not self._stopping.wait(0.2):
                self.keys.append(f"probe {len(self.keys)}".replace(" ", "-"))
                headers = {"Authorization": f"Bearer {self._yard.key}", "Idempotency-Key": self.keys[-1]}
                began = time.monotonic()
                answer = http.post("/v1/jobs", json=errand("nothing"), headers=headers)
                self.said.append((answer.status_code, time.monotonic() - began))

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def take_away(yard: Yard, how: str, away_s: float) -> float:
    """For so many seconds; gives the moment (epoch) from which it answers again."""
    if how == "stopped":
        yard.signal("valkey", signal.SIGSTOP)
        time.sleep(away_s)  # the length of the outage
        yard.signal("valkey", signal.SIGCONT)
    else:
        yard.restarts.pause_s = away_s
        old = yard.signal("valkey", signal.SIGKILL)
        until(lambda: yard.pid("valkey") not in (old, None), away_s + 20, "the ledger is started again")
        yard.restarts.pause_s = 0.2
    until(yard.answers, 20, "the ledger answers")
    return time.time()


@pytest.mark.parametrize("away_s", pick([3.0], [3.0, 30.0]))
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_all_accepted_jobs_end_although_the_ledger_was_away(
    yard_of: Callable[[Plan], Yard], how: str, away_s: float
) -> None:
    yard, probe_jobs = yard_of(Plan(errands=2)), Accepted()
    with load(yard.callboard, mixed(dice(f"ledger {how} {away_s}"), yard.receiver.url()), 30) as accepted:
        until(lambda: len(accepted.ids) > 30, 20, "jobs are under way")
        probe = Probe(yard)
        probe.start()
        back_at = take_away(yard, how, away_s)
        probe.stop()
        time.sleep(3)  # the load goes on
    for key in probe.keys:  # whoever was refused asks again, and hears of the same job
        job = yard.callboard.submit(**errand("nothing"), idempotency_key=key)
        probe_jobs.ids.append(job.id)
    accepted.ids += probe_jobs.ids
    refused = [took for status, took in probe.said if status == 503]
    assert refused and {status for status, _ in probe.said} <= {202, 503}
    seen, _ = enter(yard, f"ledger {how} for {away_s:g} s", 1, accepted, within_s=90,
                    also=f"503 after ≤ {max(refused):.1f} s; {_first_start(yard, accepted, back_at)}")  # fmt: skip
    starts = [
        change.at_ms / 1000
        for job in seen.jobs.values()
        for change in job.changes
        if change.status == "running"
    ]
    assert max(refused) <= ANSWER_S
    assert min(at for at in starts if at > back_at) - back_at <= START_S


def _first_start(yard: Yard, accepted: Accepted, back_at: float) -> str:
    def first() -> float | None:
        jobs = histories(yard, accepted.ids).values()
        starts = [c.at_ms / 1000 for job in jobs for c in job.changes if c.status == "running"]
        return min((at - back_at for at in starts if at > back_at), default=None)

    return f"first start {until(first, 30, 'a job starts'):.1f} s after it is back"


def test_a_full_ledger_refuses_new_jobs_and_ends_the_accepted_ones(yard_of: Callable[[Plan], Yard]) -> None:
    yard, accepted = yard_of(Plan(errands=2)), Accepted()
    for number in range(pick(60, 400)):
        order = errand("sleep 0.05") if number % 2 else {"type": "system.echo", "input": {"sleep_ms": 2000}}
        accepted.submit(yard.callboard, {**order, "webhook": {"url": yard.receiver.url()}})
    yard.redis.config_set("maxmemory", int(yard.redis.info("memory")["used_memory"]))
    headers = {"Authorization": f"Bearer {yard.key}"}
    with httpx.Client(base_url=yard.url, timeout=10, headers=headers) as http:
        answers: list[httpx.Response] = []
        while sum(answer.status_code != 202 for answer in answers) < 10:  # memory goes up and down a little
            answers.append(http.post("/v1/jobs", json=errand("nothing")))
            assert len(answers) < 2_000
        refused = [(a.status_code, a.json()["code"]) for a in answers if a.status_code != 202]
        accepted.ids += [answer.json()["id"] for answer in answers if answer.status_code == 202]
        seen, _ = enter(yard, "ledger at maxmemory", len(refused), accepted, within_s=90,
                        also="503 queue-full; all that was accepted ended meanwhile")  # fmt: skip
        yard.redis.config_set("maxmemory", 0)
        until(
            lambda: http.post("/v1/jobs", json=errand("nothing")).status_code == 202,
            10,
            "there is room again",
        )
    assert set(refused) == {(503, "queue-full")}
    assert {job.status for job in seen.jobs.values()} == {"succeeded"}


def test_connections_that_break_within_a_step_lose_and_double_nothing(
    yard_of: Callable[[Plan], Yard],
) -> None:
    through = {"CALLBOARD_REDIS_URL": "workers"}
    reach = {
        "gateway": {"CALLBOARD_REDIS_URL": "gateway", "CALLBOARD_BROKER_URL": "bells"},
        "errand": through,
        "courier": through,
    }
    yard = yard_of(Plan(errands=2, reach=reach))
    wires = {
        "gateway": At(steps("submit"), 0.1, dice("submit")),
        "bells": At(steps("ring"), 0.3, dice("ring")),
        "workers": At(steps("finish", "claim"), 0.05, dice("claim and finish")),
    }
    with load(yard.callboard, mixed(dice("wires"), yard.receiver.url()), 30, clients=8) as accepted:
        for name, spoil in wires.items():
            yard.cutters[name].spoil = spoil
        time.sleep(pick(15, 120))  # the length of the load
        for cutter in yard.cutters.values():
            cutter.spoil = None
    done = sum((spoil.done for spoil in wires.values()), start=wires["gateway"].done.__class__())
    by_step = {step: sum(n for fault, n in done.items() if fault.startswith(step)) for step in
               ("submit", "ring", "claim", "finish")}  # fmt: skip
    enter(yard, "connections cut, torn, unanswered or late inside a step", done.total(), accepted, within_s=120,
          also=", ".join(f"{step} {n}" for step, n in by_step.items())
          + f"; submissions p99 {quantile(accepted.took_s, 0.99):.1f} s")  # fmt: skip
    assert min(by_step.values()) > 0, done
