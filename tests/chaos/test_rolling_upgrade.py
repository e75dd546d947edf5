"""A rolling upgrade: members of this release and of the next at work together, one replaced after the other."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import next_release
import pytest
from evidence import enter
from scale import FULL, dice, pick
from submitting import load, mixed
from yard import COURIERS_ONLY, Plan, Yard, until

from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import keys, verbs


def replaced(yard: Yard, member: str, releases: Path, sources: str) -> None:
    """End it as an upgrade does, and await the one that comes instead."""
    (releases / member).write_text(sources)
    old = yard.signal(member, signal.SIGTERM, tree=False)
    until(lambda: yard.pid(member) not in (old, None), 30, f"{member} is restarted")
    if member == "gateway":
        until(yard.is_ready, 60, "the gateway is ready")
    else:
        yard.await_online([member])


def blue(yard: Yard, ids: list[str]) -> int:
    """How many of these jobs the next release's gateway submitted."""
    names = [keys.of(queue, "job", job) for job in ids for queue in ("system", "nlp")]
    pipe = yard.redis.pipeline()
    for name in names:
        pipe.hget(name, "color")
    return sum(value == b"blue" for value in pipe.execute())


BACK = pytest.param(False, marks=pytest.mark.skipif(not FULL, reason="of make chaos"), id="and back")


@pytest.mark.parametrize("forward", [pytest.param(True, id="to the next release"), BACK])
def test_a_rolling_upgrade_loses_nothing(
    yard_of: Callable[[Plan], Yard], tmp_path: Path, forward: bool
) -> None:
    newer, releases, chance = (
        next_release.make(tmp_path / "next"),
        tmp_path / "releases",
        dice(f"up {forward}"),
    )
    releases.mkdir()
    yard = yard_of(
        Plan(f"{COURIERS_ONLY},courier=2", errands=2, releases=releases, at_first="" if forward else newer)
    )
    members = ["gateway", *yard.names("courier"), *yard.names("errand")]
    chance.shuffle(members)
    with load(
        yard.callboard, mixed(chance, yard.receiver.url()), pick(40, 60), least=pick(300, 3_000)
    ) as accepted:
        for member in members:
            replaced(yard, member, releases, newer if forward else "")
    way = "to the next release" if forward else "back from the next release"
    seen, _ = enter(
        yard, f"rolling upgrade under load, {way}", len(members), accepted, also="no attempt used up"
    )
    assert {change.attempt for job in seen.jobs.values() for change in job.ends} == {1}
    assert {seen.jobs[job].status for job in accepted.ids} == {"succeeded"}
    assert 0 < blue(yard, accepted.ids) < len(accepted.ids), "both releases took jobs"
    facts = [worker.facts for queue in QUEUES for worker in yard.ledger.run(verbs.workers(queue))]
    assert {one.get("color") for one in facts} == ({"blue"} if forward else {None})
