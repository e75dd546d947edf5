"""Whatever is done to it, in whatever order, the ledger does what its plain-Python model does.

``HYPOTHESIS_PROFILE=thorough`` tries many more and longer stories than a usual run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from clocked import START_MS, ClockedLedger
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model import ModelJob, ModelLedger

from callboard_shared.errors import LimitReached
from callboard_shared.ledger import Ended, NewJob, Submitted, settling, verbs
from callboard_shared.ledger.keys import of
from callboard_shared.settings import LedgerSettings
from callboard_shared.states import ACTIVE, MOVES, TERMINAL, WAITING, JobStatus

S = JobStatus
QUEUE = "nlp"
LEASE_MS = 3_000
OWNERS = ("key_ann", "key_bob", "key_cho")
RUNNERS = ("w1#1", "w1#2", "w2#9")
LIMITS = {"light": (4, 0), "heavy": (3, 5)}

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
STORIES = settings(
    max_examples=1_500 if THOROUGH else 120,
    stateful_step_count=80 if THOROUGH else 50,
    derandomize=not THOROUGH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

runners = st.sampled_from(RUNNERS)
orders = st.fixed_dictionaries(
    {
        "owner": st.sampled_from(OWNERS),
        "priority": st.sampled_from([0, 0, 0, 5, -3]),
        "type": st.sampled_from(["light", "light", "heavy"]),
        "batch_key": st.sampled_from(["", "", "", "", "", "light|other"]),
        "weight": st.integers(0, 6),
        "run_in": st.sampled_from([None, None, None, None, None, -50, 0, 400, 5_000]),
        "expires_in_ms": st.sampled_from([None, None, None, None, 100, 2_000]),
        "max_attempts": st.integers(1, 3),
        "retention_ms": st.sampled_from([500, 60_000]),
    }
)
picks = st.integers(0, 1_000)
offs = st.sampled_from([0, 0, -1, 1])
outcomes = st.sampled_from(["succeeded", "succeeded", "failed", "canceled", "retry", "release"])
few = st.lists(picks, min_size=1, max_size=3)


def someone_works(stories: LedgerStories) -> bool:
    return bool(stories.model.with_status(*ACTIVE))


class LedgerStories(RuleBasedStateMachine):
    def __init__(self, ledger: ClockedLedger) -> None:
        super().__init__()
        ledger.redis.flushall()
        ledger.set_time(START_MS)
        self.ledger = ledger
        self.model = ModelLedger(START_MS)
        self.made = 0
        self.ever: list[str] = []
        self.final: dict[str, JobStatus] = {}
        self.finishes = 0
        self.outputs: dict[str, bytes] = {}

    # --- small parts ---

    def _pick(self, jobs: Sequence[ModelJob], pick: int) -> ModelJob | None:
        return jobs[pick % len(jobs)] if jobs else None

    def _anyone(self, pick: int) -> str:
        return self.ever[pick % len(self.ever)] if self.ever else "job_nobody"

    def _submit(self, jobs: Sequence[NewJob], most: int = 0) -> None:
        for new, result in zip(jobs, self.ledger.run(verbs.submit(QUEUE, jobs, most)).results, strict=True):
            existed = new.id in self.model.jobs
            job = self.model.submit(new, most)
            if job is None:
                assert isinstance(result, LimitReached)
                continue
            assert isinstance(result, Submitted)
            assert (result.status, result.created_ms, result.existed) == (job.status, job.created, existed)
            assert result.position == self._places().get(new.id)

    def _places(self) -> dict[str, int]:
        return {job_id: place for place, job_id in enumerate(self.model.order(), 1)}

    def _settle(self, dependent: str, other: str, outcome: str) -> None:
        _, said, _ = self.ledger.run(settling.settle(dependent, QUEUE, other, outcome))
        assert said == self.model.settle(dependent, other, outcome)

    def _register(self, dependent: str, other: str) -> None:
        said = self.ledger.run(settling.depend(other, QUEUE, dependent, QUEUE))
        assert said == self.model.depend(other, dependent)
        if said != "pending":
            self._settle(dependent, other, said)

    # --- what happens ---

    @initialize(orders=st.lists(orders, min_size=6, max_size=12))
    def begin_with_some_jobs(self, orders: list[dict[str, Any]]) -> None:
        self._submit_all(orders)

    @rule(orders=st.lists(orders, min_size=2, max_size=6), most=st.sampled_from([0, 0, 0, 3]))
    def submit(self, orders: list[dict[str, Any]], most: int) -> None:
        self._submit_all(orders, most)

    def _submit_all(self, orders: list[dict[str, Any]], most: int = 0) -> None:
        new = []
        for order in orders:
            fields = dict(order)
            run_in = fields.pop("run_in")
            fields["run_at_ms"] = None if run_in is None else self.model.now + run_in
            new.append(self._new(**fields))
        self._submit(new, most)

    def _new(self, **fields: Any) -> NewJob:
        self.made += 1
        job_id = f"job_{self.made:04d}"
        self.ever.append(job_id)
        return NewJob(id=job_id, queue=QUEUE, spec=b'{"input":{}}', **fields)

    @rule(pick=picks, more=picks, run_in=st.sampled_from([None, None, 700]), crashed=st.booleans())
    def submit_after_others(self, pick: int, more: int, run_in: int | None, crashed: bool) -> None:
        after = tuple(dict.fromkeys([self._anyone(pick), self._anyone(more)]))
        run_at = None if run_in is None else self.model.now + run_in
        new = self._new(owner=OWNERS[0], type="light", after=after, run_at_ms=run_at)
        self._submit([new])
        for other in after[: 1 if crashed else None]:
            self._register(new.id, other)

    @precondition(lambda self: any(job.new.after for job in self.model.jobs.values()))
    @rule(pick=picks, other=picks, outcome=st.sampled_from(["succeeded", "succeeded", "failed"]))
    def settle_out_of_turn(self, pick: int, other: int, outcome: str) -> None:
        job = self._pick([job for job in self.model.jobs.values() if job.new.after], pick)
        assert job is not None
        self._settle(job.new.id, job.new.after[other % len(job.new.after)], outcome)

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks)
    def submit_again(self, pick: int) -> None:
        job = self._pick(list(self.model.jobs.values()), pick)
        assert job is not None
        self._submit([job.new])

    # Several rules claim and finish, so that most stories (each leaves some rules out) have them.

    @rule(runner=runners)
    def claim_one(self, runner: str) -> None:
        self._claim(runner, 1)

    @rule(runner=runners, most=st.integers(2, 3))
    def claim_some(self, runner: str, most: int) -> None:
        self._claim(runner, most)

    @rule(runner=runners)
    def claim_a_batch(self, runner: str) -> None:
        self._claim(runner, 8)

    def _claim(self, runner: str, most: int) -> None:
        got = self.ledger.run(
            verbs.claim(QUEUE, runner, limits=LIMITS, max_jobs=most, lease_ms=LEASE_MS, listen_ms=500)
        )
        assert [job.id for job in got.jobs] == self.model.claim(runner, LIMITS, most, LEASE_MS)
        for job in got.jobs:
            known = self.model.jobs[job.id]
            assert (job.attempt, job.owner, job.batch_key) == (
                known.attempt,
                known.new.owner,
                known.batch_key,
            )
        assert got.ready == (0 if self.model.paused else len(self.model.order()))

    @precondition(someone_works)
    @rule(pick=picks, runner=st.none() | runners, off=offs)
    def renew(self, pick: int, runner: str | None, off: int) -> None:
        job = self._pick(self.model.with_status(*ACTIVE), pick)
        assert job is not None and job.worker is not None
        who, attempt = runner or job.worker, job.attempt + off
        said = self.ledger.run(verbs.renew(QUEUE, who, [(job.new.id, attempt)], LEASE_MS))
        assert said == [self.model.renew(who, job.new.id, attempt, LEASE_MS)]

    @rule(pick=picks, runner=runners, attempt=st.integers(1, 3))
    def report(self, pick: int, runner: str, attempt: int) -> None:
        job_id = self._anyone(pick)
        said = self.ledger.run(verbs.report(QUEUE, runner, job_id, attempt, [("log", b"{}")]))
        held = self.model.holds(runner, job_id, attempt)
        assert said == ("lost" if held is None else "canceling" if held.status is S.CANCELING else "held")

    @precondition(someone_works)
    @rule(picked=few)
    def finish_well(self, picked: list[int]) -> None:
        self._finish_some(picked, "succeeded", 0)

    @precondition(someone_works)
    @rule(picked=few, outcome=st.sampled_from(["failed", "failed", "canceled"]))
    def finish_badly(self, picked: list[int], outcome: Any) -> None:
        self._finish_some(picked, outcome, 0)

    @precondition(someone_works)
    @rule(picked=few, delay=st.sampled_from([0, 200, 4_000]))
    def try_again(self, picked: list[int], delay: int) -> None:
        self._finish_some(picked, "retry", delay)

    @precondition(someone_works)
    @rule(picked=few)
    def hand_back(self, picked: list[int]) -> None:
        self._finish_some(picked, "release", 0)

    def _finish_some(self, picked: list[int], outcome: Any, delay: int) -> None:
        active = self.model.with_status(*ACTIVE)
        runner = active[picked[0] % len(active)].worker
        assert runner is not None
        mine = [job for job in active if job.worker == runner]
        for pick in picked:
            job = mine[pick % len(mine)]
            self._finish(runner, job.new.id, job.attempt, outcome, delay)

    @precondition(lambda self: any(job.ever_claimed for job in self.model.jobs.values()))
    @rule(pick=picks, runner=st.none() | runners, off=offs, outcome=outcomes)
    def finish_out_of_turn(self, pick: int, runner: str | None, off: int, outcome: Any) -> None:
        job = self._pick([job for job in self.model.jobs.values() if job.ever_claimed], pick)
        assert job is not None
        self._finish(runner or job.worker or RUNNERS[0], job.new.id, job.attempt + off, outcome, 100)

    def _finish(self, runner: str, job_id: str, attempt: int, outcome: Any, delay: int) -> None:
        self.finishes += 1
        output = b'{"finish":%d}' % self.finishes
        ended = Ended(job_id, attempt, outcome, output=output, error=b"{}", delay_ms=delay)
        reply = self.ledger.run(verbs.finish(QUEUE, runner, [ended]))
        holds = self.model.holds(runner, job_id, attempt) is not None
        assert reply.results == [self.model.finish(runner, job_id, attempt, outcome, delay)]
        kept = self.model.jobs[job_id].status in (S.SUCCEEDED, S.CANCELED) if holds else False
        if kept and outcome != "release":  # a canceled job keeps what it had made
            self.outputs[job_id] = output

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job_id = self._anyone(pick)
        assert self.ledger.run(verbs.cancel(job_id, QUEUE)) == self.model.cancel(job_id)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        job_id = self._anyone(pick)
        assert self.ledger.run(verbs.delete(job_id, QUEUE))[0] == self.model.delete(job_id)

    @rule(runner=runners)
    def lose_a_runner(self, runner: str) -> None:
        assert self.ledger.run(verbs.lost(QUEUE, runner))[1] == self.model.lost(runner)

    @rule(ms=st.sampled_from([1, 150, 600, 2_500, 3_100, 31_000]))
    def pass_time(self, ms: int) -> None:
        self.ledger.pass_time(ms)
        self.model.now += ms

    @rule(follow_up=st.booleans())
    def sweep(self, follow_up: bool) -> None:
        swept = self.ledger.run(verbs.sweep(QUEUE))
        due, lapsed, expired, forgotten, blocked = self.model.sweep()
        assert (swept.due, swept.lapsed, swept.expired, swept.forgotten) == (due, lapsed, expired, forgotten)
        assert swept.blocked == blocked
        rows = {
            (job_id, outcome, dependent) for job_id, outcome, _, dependent in map(str.split, swept.settle)
        }
        assert rows == self.model.settlements
        if follow_up:
            for row in swept.settle:
                job_id, outcome, _, dependent = row.split()
                self._settle(dependent, job_id, outcome)
                self.ledger.run(settling.settled(QUEUE, row))
                self.model.settlements.discard((job_id, outcome, dependent))
            for dependent in swept.blocked:
                for other in self.ledger.run(settling.waits_for(dependent, QUEUE)):
                    self._register(dependent, other)

    @rule(pausing=st.booleans())
    def pause_or_resume(self, pausing: bool) -> None:
        stats = self.ledger.run(verbs.pause(QUEUE) if pausing else verbs.resume(QUEUE))
        self.model.paused = pausing
        assert stats.paused == pausing

    # --- what always holds ---

    @invariant()
    def every_record_is_as_the_model_has_it(self) -> None:
        records = self.ledger.run(verbs.read(QUEUE, self.ever))
        places = self._places()
        for job_id, record in zip(self.ever, records, strict=True):
            job = self.model.jobs.get(job_id)
            assert (record is None) == (job is None)
            if record is None or job is None:
                continue
            assert (record.status, record.attempt) == (job.status, job.attempt)
            assert record.attempt <= record.max_attempts
            assert record.output == self.outputs.get(job_id)
            assert (record.position, record.waits) == (places.get(job_id), tuple(sorted(job.waits)))
            if record.status in ACTIVE or (record.status in TERMINAL and job.ever_claimed):
                assert record.worker == job.worker
            if record.status is S.SCHEDULED:
                assert record.scheduled_ms == job.due

    @invariant()
    def each_job_is_in_the_one_place_of_its_status(self) -> None:
        redis, model = self.ledger.redis, self.model

        def scores(name: str) -> dict[str, int]:
            found = redis.zrange(of(QUEUE, name), 0, -1, withscores=True)
            return {job_id.decode(): int(score) for job_id, score in found}

        def expected(field: str, *statuses: JobStatus) -> dict[str, int]:
            return {job.new.id: getattr(job, field) for job in model.with_status(*statuses)}

        assert scores("due") == expected("due", S.SCHEDULED)
        assert scores("blocked") == expected("look_again_at", S.BLOCKED)
        assert scores("lease") == expected("lease_until", *ACTIVE)
        running = Counter(job.new.owner for job in model.with_status(*ACTIVE))
        counted = redis.hgetall(of(QUEUE, "running"))
        assert {owner.decode(): int(jobs) for owner, jobs in counted.items()} == running
        assert scores("ended") == expected("forget_at", *TERMINAL)
        with_deadline = {one.new.id: one for one in model.jobs.values() if one.expires is not None}
        entries = scores("expiry")
        assert all(entries[name] == with_deadline[name].expires for name in entries)
        # A claimed job's entry stays until the sweep meets it; what waits for its first start must have one.
        not_started = {one.new.id for one in model.with_status(*WAITING) if not one.ever_claimed}
        assert not_started & set(with_deadline) <= set(entries)
        for name in ("waits", "dependents"):
            keys = {key.decode().split(f"{name}:")[1] for key in redis.keys(of(QUEUE, name, "*"))}
            assert keys == {job_id for job_id, job in model.jobs.items() if getattr(job, name)}
        lines = {
            (int(priority), owner)
            for key in redis.keys(of(QUEUE, "line", "*"))
            for priority, owner in [key.decode().split("line:")[1].split(":")]
        }
        assert lines == {(priority, owner) for priority, owners in model.rota.items() for owner in owners}
        for priority, owner in lines:
            line = redis.zrange(of(QUEUE, "line", f"{priority}:{owner}"), 0, -1)
            assert [job_id.decode() for job_id in line] == [j.new.id for j in model.line(priority, owner)]

    @invariant()
    def the_counters_agree(self) -> None:
        redis, model = self.ledger.redis, self.model
        ready = {int(p): int(n) for p, n in redis.hgetall(of(QUEUE, "ready")).items()}
        assert ready == {p: sum(len(model.line(p, o)) for o in owners) for p, owners in model.rota.items()}
        waiting = {o.decode(): int(n) for o, n in redis.hgetall(of(QUEUE, "waiting")).items()}
        assert waiting == {owner: n for owner in OWNERS if (n := model.waiting(owner))}
        rota = {
            int(key.decode().split("rota:")[1]): [owner.decode() for owner in redis.zrange(key, 0, -1)]
            for key in redis.keys(of(QUEUE, "rota", "*"))
        }
        assert rota == model.rota
        stats = self.ledger.run(verbs.queue_stats(QUEUE))
        assert stats.ready == len(model.order())
        assert (stats.running, stats.scheduled) == (
            len(model.with_status(*ACTIVE)),
            len(model.with_status(S.SCHEDULED)),
        )
        assert stats.stale_commits == model.stale

    @invariant()
    def every_job_ends_and_is_counted_once(self) -> None:
        day = self.ledger.now_ms // 86_400_000
        counted: Counter[tuple[str, str, str]] = Counter()
        for owner in OWNERS:
            for row in self.ledger.run(verbs.usage(QUEUE, owner, day)):
                ends = {status.value: row.figures.get(status.value, 0) for status in TERMINAL}
                counted.update({(owner, row.type, status): n for status, n in ends.items() if n})
                assert row.figures["jobs"] == sum(ends.values())
        assert counted == self.model.ended
        assert all(job.commits <= 1 for job in self.model.jobs.values())
        for job in self.model.with_status(*TERMINAL):
            assert self.final.setdefault(job.new.id, job.status) is job.status

    @invariant()
    def every_move_is_legal_and_told_in_order(self) -> None:
        ids = list(self.model.jobs)
        told = self.ledger.run_many([verbs.events(job_id, QUEUE) for job_id in ids])
        for job_id, events in zip(ids, told, strict=True):
            statuses = [
                event.data.decode().split('"status":"')[1].split('"')[0]
                for event in events
                if event.kind == "status"
            ]
            job = self.model.jobs[job_id]
            assert statuses == job.history
            for before, after in pairwise([job.first, *statuses]):
                assert JobStatus(after) in MOVES[JobStatus(before)]

    def teardown(self) -> None:
        """At the end all that is ready is claimed one by one: in the order that the positions told."""
        if self.model.paused:
            self.pause_or_resume(False)
        told = self.ledger.run(verbs.read(QUEUE, self.model.order()))
        assert [record.position for record in told if record] == list(range(1, len(told) + 1))
        for record in told:
            assert record is not None
            if (
                record.expires_ms is not None
                and not record.claimed_ms
                and record.expires_ms <= self.ledger.now_ms
            ):
                return  # what expires on the way changes who is next
        for record in told:
            (job,) = self.ledger.run(
                verbs.claim(QUEUE, "drain#1", limits=LIMITS, max_jobs=1, lease_ms=LEASE_MS)
            ).jobs
            assert record is not None and job.id == record.id


@pytest.mark.slow
def test_the_ledger_does_what_its_model_does(settings: LedgerSettings) -> None:
    ledger = ClockedLedger(settings)
    try:
        run_state_machine_as_test(lambda: LedgerStories(ledger), settings=STORIES)
    finally:
        ledger.close()
