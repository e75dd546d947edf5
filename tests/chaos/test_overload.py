"""Back-pressure: three times more is submitted than workers can do. Memory stays bounded, refusals tell the truth.

Truthful is a ``Retry-After`` when the client of that key, having waited so long and sent nothing meanwhile, is accepted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from evidence import enter
from hammering import Hammer, Obedient
from sampling import Sampler, footprint
from scale import FULL, pick
from submitting import Accepted, errand
from table import quantile
from yard import Plan, Yard

WAITING = 300
TASK_S = 0.02
OVER = 3
SPAN_S = pick(20.0, 600.0)
GROWTH_MB, KEPT_KB = 30.0, 5.0
"""What the gateway may grow between the first and the last third of the run; what the ledger may per job that it keeps."""


def capacity_per_s(yard: Yard, accepted: Accepted) -> float:
    """Jobs a second that the workers end."""
    count = pick(100, 300)
    began = time.monotonic()
    for _ in range(count):
        accepted.submit(yard.callboard, errand(f"sleep {TASK_S}"))
    while (
        yard.redis.hget("cb:{nlp}:stats", "done") is None
        or int(yard.redis.hget("cb:{nlp}:stats", "done") or 0) < count
    ):
        time.sleep(0.01)
    return count / (time.monotonic() - began)


def test_three_times_too_much_is_refused_truthfully_and_within_bounds(
    yard_of: Callable[[Plan], Yard],
) -> None:
    yard, accepted = yard_of(Plan(errands=2)), Accepted()
    capacity = capacity_per_s(yard, accepted)
    limits = {"waiting": WAITING}
    rude, polite = (yard.callboard.keys.create(name, limits=limits).key for name in ("rude", "polite"))
    assert rude and polite
    order, stop = errand(f"sleep {TASK_S}"), threading.Event()
    lanes: list[Hammer] = [Hammer(yard.url, rude, order, OVER * capacity / 6, stop) for _ in range(6)]
    obedient = Obedient(yard.url, polite, order, stop)
    sampler = Sampler(lambda: footprint(yard, ("gateway", "valkey")), 1.0)
    for thread in (*lanes, obedient, sampler):
        thread.start()
    time.sleep(SPAN_S)  # the length of the load
    stop.set()
    series = sampler.stop()
    for lane in (*lanes, obedient):
        lane.join()
        assert lane.error is None, lane.error
        accepted.ids += lane.heard.ids
    took = [took for lane in lanes for took in lane.heard.took_s]
    statuses = sum((lane.heard.statuses for lane in lanes), start=obedient.heard.statuses)
    thirds = {name: (values[: len(values) // 3], values[-(len(values) // 3) :]) for name, values in series.values.items()
              if name.startswith("memory")}  # fmt: skip
    grown = {name: max(last) - max(first) for name, (first, last) in thirds.items()}
    enter(yard, f"{OVER}× more than workers can do, {SPAN_S:.0f} s", statuses[429], accepted, within_s=60,
          also=f"{sum(map(len, (lane.heard.took_s for lane in lanes))) / SPAN_S / capacity:.1f}× of {capacity:.0f}/s; gateway "
          f"p99 {quantile(took, 0.99) * 1000:.0f} ms{_verdict(took)}; Retry-After true {obedient.kept} of "
          f"{obedient.kept + obedient.broken}; MB gateway {grown['memory gateway']:+.0f}, ledger {grown['memory valkey']:+.0f} (it keeps the jobs)")  # fmt: skip
    assert set(statuses) == {202, 429}
    assert {code for lane in (*lanes, obedient) for code in lane.heard.codes} == {"queue-full"}
    assert not any(lane.heard.untold for lane in (*lanes, obedient))
    assert obedient.kept > 0 and obedient.broken == 0, obedient.waited_s
    assert grown["memory gateway"] <= GROWTH_MB
    assert grown["memory valkey"] <= GROWTH_MB + KEPT_KB * len(accepted.ids) / 1024


def _verdict(took: list[float]) -> str:
    """A timed promise is judged where it can be kept: at full scale, with the machine to itself."""
    if not FULL:
        return ""
    return " (holds: < 100)" if quantile(took, 0.99) < 0.1 else " (MISSED: < 100)"
