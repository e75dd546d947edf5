"""Batches in the ledger: what each line becomes, how the whole ends, and that a crash at any point changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import LEASE_MS, OWNER, RUNNER, submit
from clocked import START_MS, ClockedLedger

from callboard_courier import batch_reading
from callboard_courier.batches import Batches
from callboard_shared import access
from callboard_shared.access import KeyLimits, KeyRecord
from callboard_shared.errors import LedgerFull, LedgerUnavailable, LimitReached
from callboard_shared.files import FileRecord, Files, LocalStore
from callboard_shared.ids import member_id, new_id
from callboard_shared.ledger import Call, Ended, NewJob, batching, filing, verbs
from callboard_shared.ledger.batching import BatchRecord, BatchSpec, NewBatch, Tally
from callboard_shared.ledger.keys import BATCHES, of
from callboard_shared.urls import Policy

QUEUES = ("system", "nlp", "llm")
HOOK = "completed,failed,canceled https://example.com/hook"


class Desk:
    """A courier by hand, its files, and a worker that runs echoes."""

    def __init__(self, ledger: ClockedLedger, folder: Path) -> None:
        self.ledger, self.files = ledger, Files(LocalStore(folder))
        self.rung: list[str] = []
        self.courier = self.another_courier()

    def another_courier(self, ledger: Any = None) -> Batches:
        return Batches(ledger or self.ledger, self.files, Policy(), self.rung.append, QUEUES)

    def upload(self, content: bytes) -> FileRecord:
        record = self.files.put_bytes(OWNER, "lines.jsonl", content)
        self.ledger.run(filing.put_file(record))
        return record

    def accept(self, lines: Iterable[Any], **more: Any) -> NewBatch:
        """Lines that are bytes stand as they are."""
        texts = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
        return self.accept_file(self.upload(b"\n".join(texts)).id, **more)

    def accept_file(
        self, file_id: str, hook: str = "", retention_ms: int = 604_800_000, **spec: Any
    ) -> NewBatch:
        batch = NewBatch(new_id("batch"), OWNER, BatchSpec(file_id, **spec), hook, retention_ms)
        assert self.ledger.run(batching.put(batch))
        return batch

    def carry_on(self, rounds: int = 100, courier: Batches | None = None) -> None:
        """Until nothing is due; time stands still."""
        for _ in range(rounds):
            if not (courier or self.courier).carry_on():
                return
        raise AssertionError("the courier has no end of it")

    def later(self, ms: int = 1_000) -> None:
        self.ledger.pass_time(ms)
        self.carry_on()

    def record(self, batch: NewBatch) -> BatchRecord:
        found = self.ledger.run(batching.find(batch.id))
        assert found is not None
        return found

    def tally(self, batch: NewBatch) -> Tally:
        return batching.summed([self.ledger.run(call) for call in batching.tallies(batch.id, QUEUES)])

    def work(self, most: int = 1000, outcomes: dict[Any, str] | None = None) -> list[Any]:
        """Claim and end what is ready; gives the values of the echoes, in the order in which they ran."""
        done: list[Any] = []
        while len(done) < most:
            claim = verbs.claim(
                "system",
                RUNNER,
                limits={"system.echo": (50, 0)},
                max_jobs=min(50, most - len(done)),
                lease_ms=LEASE_MS,
            )
            claimed = self.ledger.run(claim).jobs
            if not claimed:
                break
            ends = []
            for job in claimed:
                value = orjson.loads(job.spec)["input"]["value"]
                done.append(value)
                outcome: Any = (outcomes or {}).get(value, "succeeded")
                output = orjson.dumps({"value": value}) if outcome == "succeeded" else b""
                error = b'{"code":"x","detail":"why"}' if outcome == "failed" else b""
                ends.append(Ended(job.id, job.attempt, outcome, output=output, error=error))
            assert set(self.ledger.run(verbs.finish("system", RUNNER, ends)).results) == {"committed"}
        return done

    def run_out(self, batch: NewBatch, **more: Any) -> BatchRecord:
        self.carry_on()
        self.work(**more)
        self.later()
        record = self.record(batch)
        assert record.status is not None
        return record

    def written(self, record: BatchRecord, what: str = "output") -> list[dict[str, Any]]:
        reference = record.results[what]
        kept = self.ledger.run(filing.get_file(reference["file_id"]))
        assert kept is not None and kept.owner == OWNER
        content = self.files.get_bytes(kept.id)
        assert content.endswith(b"\n") and len(content) == reference["bytes"]
        return [orjson.loads(line) for line in content.splitlines()]

    def stored(self) -> set[str]:
        folder = self.files.store.folder  # type: ignore[attr-defined]
        return {path.name for path in folder.glob("*/*")}


@pytest.fixture
def desk(ledger: ClockedLedger, tmp_path: Path) -> Desk:
    return Desk(ledger, tmp_path)


def echo(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "system.echo", "input": {"value": value}, **more}


def echoes(count: int, start: int = 1) -> list[dict[str, Any]]:
    return [echo(n, custom_id=f"c{n}") for n in range(start, start + count)]


def outbox(ledger: ClockedLedger) -> list[tuple[str, str]]:
    rows = ledger.redis.xrange(of(BATCHES, "outbox"))
    return [(fields[b"event"].decode(), fields[b"subject"].decode()) for _, fields in rows]


# --- what lines become --------------------------------------------------------------------------------------


def test_every_line_becomes_a_job_and_is_written_in_order(desk: Desk) -> None:
    batch = desk.accept(echoes(1203), hook=HOOK)
    record = desk.run_out(batch, most=5000)
    assert record.counts == {
        "total": 1203, "pending": 0, "succeeded": 1203, "failed": 0, "canceled": 0, "expired": 0, "invalid": 0,
    }  # fmt: skip
    written = desk.written(record)
    assert [one["line"] for one in written] == list(range(1, 1204))
    assert written[1202] == {
        "custom_id": "c1203", "line": 1203, "job_id": member_id(batch.id, 1203), "status": "succeeded",
        "output": {"value": 1203},
    }  # fmt: skip
    assert "errors" not in record.results and record.status == "completed"
    assert outbox(desk.ledger) == [("batch.completed", batch.id)]
    assert set(desk.rung) == {"system"}


def test_a_line_that_is_no_job_spoils_none_of_the_others(desk: Desk) -> None:
    lines = [
        echo(1), b"{no json", b"[1]", {"type": "system.nothing", "input": {}}, echo(5, after=[new_id("job")]), b"",
        echo(7, custom_id=7), {"type": "system.echo", "input": {"value": 8, "sleep": 1}, "custom_id": "eight"}, echo(9),
    ]  # fmt: skip
    record = desk.run_out(desk.accept(lines))
    assert record.status == "completed" and record.counts is not None
    assert (record.counts["total"], record.counts["invalid"], record.counts["succeeded"]) == (8, 6, 2)
    statuses = {one["line"]: one["status"] for one in desk.written(record)}
    assert statuses == {n: "succeeded" if n in (1, 9) else "invalid" for n in (1, 2, 3, 4, 5, 7, 8, 9)}
    errors = {one["line"]: one for one in desk.written(record, "errors")}
    assert list(errors) == [2, 3, 4, 5, 7, 8]
    assert errors[2]["error"]["code"] == "malformed" and errors[2]["job_id"] is None
    assert errors[8]["custom_id"] == "eight"
    assert errors[8]["error"]["errors"][0]["field"] == "input.sleep"
    assert errors[5]["error"]["errors"][0]["field"] == "after"


def test_a_line_that_is_too_long_is_one_invalid_line(desk: Desk) -> None:
    long = b'{"type":"system.echo","input":{"value":"' + b"x" * 8_000_000 + b'"}}'
    record = desk.run_out(desk.accept([echo(1), long, echo(3)]))
    assert [one["status"] for one in desk.written(record)] == ["succeeded", "invalid", "succeeded"]
    assert desk.written(record, "errors")[0]["error"]["code"] == "too-large"


def test_a_job_knows_its_batch_and_keeps_its_options(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept([echo(1, custom_id="first", metadata={"a": "b"}, priority=3)], expires_s=60.0)
    desk.carry_on()
    (job,) = ledger.run(verbs.read("system", [member_id(batch.id, 1)]))
    assert job is not None
    spec = orjson.loads(job.spec)
    assert spec["batch"] == {"id": batch.id, "line": 1, "custom_id": "first"}
    assert (spec["metadata"], job.priority, job.expires_ms) == ({"a": "b"}, 3, START_MS + 60_000)


def test_a_file_that_another_key_owns_makes_its_line_invalid(desk: Desk, ledger: ClockedLedger) -> None:
    record = desk.files.put_bytes("key_bob", "a.txt", b"words words")
    ledger.run(filing.put_file(record))
    training = {"type": "nlp.word2vec.train", "input": {"file": {"file_id": record.id}, "name": "w"}}
    batch = desk.accept([training, echo(2)])
    desk.carry_on()
    assert (desk.record(batch).invalid, desk.tally(batch).submitted) == (1, 1)
    desk.work()
    desk.later()
    assert desk.written(desk.record(batch), "errors")[0]["error"]["code"] == "unknown-file"


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_a_file_without_lines_fails_the_batch(desk: Desk, content: bytes) -> None:
    batch = desk.accept_file(desk.upload(content).id, hook=HOOK)
    desk.carry_on()
    record = desk.record(batch)
    assert (record.status, (record.problem or {})["code"], record.results) == ("failed", "empty-batch", {})
    assert outbox(desk.ledger) == [("batch.failed", batch.id)]


def test_more_lines_than_a_batch_may_have_fail_it_before_anything_runs(desk: Desk) -> None:
    batch = desk.accept_file(desk.upload(b'{"type":"system.echo","input":{"value":1}}\n' * 50_001).id)
    desk.carry_on()
    record = desk.record(batch)
    assert (record.status, (record.problem or {})["code"]) == ("failed", "too-large")
    assert desk.work() == []


def test_a_file_that_goes_while_it_is_read_ends_the_batch_as_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reading, "_TURN_S", 0)
    batch = desk.accept(echoes(3))
    desk.courier.carry_on()  # counts, and has no time left to submit
    desk.files.delete(batch.spec.file_id)
    desk.carry_on()
    record = desk.record(batch)
    assert (record.status, (record.problem or {})["code"]) == ("failed", "input-file-gone")
    assert record.counts is not None and (record.counts["total"], record.counts["failed"]) == (3, 3)


# --- counts -------------------------------------------------------------------------------------------------


def test_counts_move_as_jobs_end_and_each_end_counts_once(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(6))
    desk.carry_on()
    assert desk.tally(batch) == Tally(submitted=6)
    desk.work(most=3, outcomes={2: "failed"})
    assert desk.tally(batch) == Tally(submitted=6, succeeded=2, failed=1)
    ended = Ended(member_id(batch.id, 1), 1, "succeeded", output=b"{}")
    assert ledger.run(verbs.finish("system", RUNNER, [ended])).results == ["committed"]  # said again
    assert desk.tally(batch).succeeded == 2


def test_a_job_without_a_batch_is_counted_nowhere(desk: Desk, ledger: ClockedLedger) -> None:
    submit(
        ledger, NewJob(new_id("job"), "system.echo", "system", OWNER, orjson.dumps({"input": {"value": 1}}))
    )
    desk.work()
    assert ledger.redis.keys("cb:*tally*") == []


def test_a_batch_leaves_its_keys_room_for_other_jobs(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(20))
    desk.carry_on()
    job = NewJob(new_id("job"), "system.echo", "system", OWNER, orjson.dumps({"input": {"value": "single"}}))
    (accepted,) = submit(ledger, job, max_waiting=1)
    assert not isinstance(accepted, LimitReached)
    (refused,) = submit(
        ledger, NewJob(new_id("job"), "system.echo", "system", OWNER, job.spec), max_waiting=1
    )
    assert isinstance(refused, LimitReached)
    desk.work()
    assert ledger.redis.hget(of("system", "waiting"), OWNER) is None
    desk.later()
    assert desk.record(batch).status == "completed"


def test_a_retried_attempt_and_a_released_job_are_counted_as_waiting_no_more_than_before(
    desk: Desk, ledger: ClockedLedger
) -> None:
    batch = desk.accept(echoes(2))
    desk.carry_on()
    claim = verbs.claim("system", RUNNER, limits={"system.echo": (2, 0)}, max_jobs=2, lease_ms=LEASE_MS)
    first, second = ledger.run(claim).jobs
    ends = [Ended(first.id, 1, "retry", error=b"{}", delay_ms=10), Ended(second.id, 1, "release")]
    ledger.run(verbs.finish("system", RUNNER, ends))
    assert ledger.redis.hget(of("system", "waiting"), OWNER) is None
    ledger.pass_time(20)
    ledger.run(verbs.sweep("system"))
    assert sorted(desk.work()) == [1, 2]
    assert desk.tally(batch) == Tally(submitted=2, succeeded=2)


# --- limits -------------------------------------------------------------------------------------------------


def test_a_key_may_have_so_many_batches_that_have_not_ended(desk: Desk, ledger: ClockedLedger) -> None:
    first = desk.accept([echo(1)])
    second = NewBatch(new_id("batch"), OWNER, first.spec)
    with pytest.raises(LimitReached):
        ledger.run(batching.put(second, 1))
    assert not ledger.run(batching.put(first, 1))  # said again
    desk.run_out(first)
    assert ledger.run(batching.put(second, 1))


def key_with(ledger: ClockedLedger, **daily: int) -> None:
    record = KeyRecord(OWNER, "ann", "cb_x", ("jobs:write",), START_MS, limits=KeyLimits(daily=daily))
    ledger.run(access.put_key(record, "secret"))


def test_a_batch_never_exceeds_its_keys_budget(desk: Desk, ledger: ClockedLedger) -> None:
    ledger.set_time(time.time_ns() // 1_000_000)  # a budget's day is the courier's
    key_with(ledger, jobs=4)
    batch = desk.accept(echoes(10))
    desk.carry_on()
    assert desk.tally(batch).submitted == 4
    waits = desk.record(batch).waits
    assert waits is not None and "under way" in waits
    desk.work()
    desk.later(5_000)
    waits = desk.record(batch).waits
    assert waits is not None and "may use 4 jobs a day" in waits
    assert desk.tally(batch).submitted == 4
    key_with(ledger, jobs=1_000_000)
    desk.later(5_000)
    desk.work()
    desk.later()
    record = desk.record(batch)
    assert record.counts is not None and record.counts["succeeded"] == 10


def test_a_full_ledger_lets_the_batch_wait(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(3))
    ledger.run(verbs.sweep("system", full=True))
    desk.carry_on()
    waits = desk.record(batch).waits
    assert waits is not None and "memory" in waits and desk.tally(batch).submitted == 0
    ledger.run(verbs.sweep("system"))
    desk.later(5_000)
    assert desk.tally(batch).submitted == 3 and desk.record(batch).waits is None


# --- canceling, running again -------------------------------------------------------------------------------


def test_a_canceled_batch_ends_when_what_ran_has_ended(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(5), hook=HOOK)
    desk.carry_on()
    claim = verbs.claim("system", RUNNER, limits={"system.echo": (1, 0)}, max_jobs=1, lease_ms=LEASE_MS)
    (running,) = ledger.run(claim).jobs
    assert ledger.run(batching.cancel(batch.id)) == "canceling"
    desk.later()
    assert desk.tally(batch) == Tally(submitted=5, canceled=4)
    assert desk.record(batch).status is None
    ledger.run(verbs.finish("system", RUNNER, [Ended(running.id, 1, "canceled")]))
    desk.later()
    record = desk.record(batch)
    assert record.status == "canceled" and record.counts is not None and record.counts["canceled"] == 5
    assert outbox(ledger) == [("batch.canceled", batch.id)]
    assert ledger.run(batching.cancel(batch.id)) == "already-ended"


def test_lines_that_were_not_read_are_canceled_too_and_named(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(700))
    assert ledger.run(batching.cancel(batch.id)) == "canceling"
    desk.carry_on()
    record = desk.record(batch)
    assert record.status == "canceled" and record.counts is not None and record.counts["canceled"] == 700
    written = desk.written(record)
    assert written[699]["custom_id"] == "c700" and written[699]["job_id"] is None
    assert desk.work() == []


def test_running_again_takes_only_the_lines_that_did_not_succeed(desk: Desk, ledger: ClockedLedger) -> None:
    lines = [*echoes(4), b"nonsense", *echoes(3, start=6)]
    batch = desk.accept(lines)
    first = desk.run_out(batch, outcomes={2: "failed", 3: "failed", 7: "canceled"})
    assert first.counts is not None and (first.counts["failed"], first.counts["canceled"]) == (2, 1)
    again = ledger.run(batching.lines_to_run_again(batch.id))
    assert again == "2-3,7"
    second = desk.accept_file(batch.spec.file_id, lines=again, retried_from=batch.id)
    record = desk.run_out(second)
    assert record.counts is not None
    assert (record.counts["total"], record.counts["succeeded"]) == (3, 3)
    assert [(one["line"], one["custom_id"]) for one in desk.written(record)] == [
        (2, "c2"),
        (3, "c3"),
        (7, "c7"),
    ]
    assert ledger.run(batching.lines_to_run_again(second.id)) == ""


# --- crashes ------------------------------------------------------------------------------------------------


class Cut(Exception):
    """The process ends here."""


class DyingLedger:
    """Runs so many calls, and then no more: what the courier's process would have done next is not done."""

    def __init__(self, ledger: ClockedLedger, calls: int) -> None:
        self._ledger, self.left = ledger, calls

    def _count(self) -> None:
        if self.left == 0:
            raise Cut
        self.left -= 1

    def run(self, call: Call[Any]) -> Any:
        self._count()
        return self._ledger.run(call)

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = []
        for call in calls:  # each by itself: a pipeline is no transaction
            self._count()
            answers.append(self._ledger.run(call))
        return answers


def test_a_courier_killed_after_any_of_its_calls_changes_nothing(desk: Desk, ledger: ClockedLedger) -> None:
    """Accepting to ending takes so many calls; one batch for each place to be killed at."""
    survived = 0
    for calls in range(200):
        batch = desk.accept([*echoes(3), b"nonsense", *echoes(2, start=5)], hook=HOOK)
        dying = desk.another_courier(DyingLedger(ledger, calls))
        before = desk.stored()
        try:
            for _ in range(3):
                dying.carry_on()
            desk.work()
            ledger.pass_time(1_000)
            for _ in range(3):
                dying.carry_on()
            survived += 1
        except Cut:
            ledger.pass_time(LEASE_MS)
            desk.carry_on()
        desk.work()
        desk.later()
        record = desk.record(batch)
        assert record.status == "completed", calls
        assert [(one["line"], one["status"]) for one in desk.written(record)] == [
            (n, "invalid" if n == 4 else "succeeded") for n in range(1, 7)
        ]
        assert outbox(ledger)[-1] == ("batch.completed", batch.id)
        assert desk.stored() - before == {one["file_id"] for one in record.results.values()}, calls
        assert ledger.redis.keys("cb:*tally*") == [] and ledger.redis.zcard(of(BATCHES, "due")) == 0, calls
        if survived > 1:
            break
    assert calls > 20
    assert len(outbox(ledger)) == calls + 1
    runs = ledger.redis.hget(of("system", "stats"), "done")
    assert int(runs) == 5 * (calls + 1)  # none ran twice


def test_a_courier_that_was_taken_for_dead_writes_nothing_more(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept(echoes(3))
    taken = ledger.run(batching.take())
    assert taken is not None and taken[1] is not None
    stale = taken[1]
    ledger.pass_time(batching.LEASE_MS)
    desk.carry_on()
    assert not ledger.run(batching.advance(stale, {"total": 99, "line": 99}, [b"{}"]))
    assert not ledger.run(batching.hold(stale))
    assert not ledger.run(batching.end(stale, "failed", {}, {}, ""))
    record = desk.record(batch)
    assert (record.total, record.line, record.status) == (3, 3, None)


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), LedgerFull("full")])
def test_a_fault_in_the_middle_of_a_group_is_made_good(
    desk: Desk, ledger: ClockedLedger, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    batch = desk.accept(echoes(600))
    real, seen = ledger.run_many, []

    def failing(calls: Sequence[Call[Any]]) -> list[Any]:
        answers = real(calls)
        if len(calls) == 2 and not seen:  # a group of jobs: the second half's answer is lost
            seen.append(1)
            return [answers[0], error]
        return answers

    monkeypatch.setattr(ledger, "run_many", failing)
    with suppress(LedgerUnavailable):
        desk.carry_on()
    ledger.pass_time(batching.LEASE_MS)
    desk.carry_on()
    assert seen and desk.tally(batch) == Tally(submitted=600)


# --- retention ----------------------------------------------------------------------------------------------


def test_jobs_are_kept_until_their_batch_has_ended(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept([echo(1, retention_s=1), echo(2)])
    desk.carry_on()
    desk.work(most=1)
    ledger.pass_time(3_600_000)
    ledger.run(verbs.sweep("system"))
    assert ledger.run(verbs.delete(member_id(batch.id, 1), "system")) == ("held", [batch.id])
    desk.carry_on()
    desk.work()
    desk.later()
    record = desk.record(batch)
    assert [one["output"] for one in desk.written(record)] == [{"value": 1}, {"value": 2}]
    ledger.pass_time(60_000)
    assert ledger.run(verbs.sweep("system")).forgotten == 1
    assert ledger.run(verbs.read("system", [member_id(batch.id, 1)])) == [None]


def test_a_batch_is_forgotten_with_its_files(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept([echo(1), b"nonsense"], retention_ms=10_000)
    record = desk.run_out(batch)
    assert ledger.run(batching.forget()) == []
    ledger.pass_time(10_000)
    assert set(ledger.run(batching.forget())) == {one["file_id"] for one in record.results.values()}
    assert ledger.run(batching.find(batch.id)) is None
    assert ledger.run(batching.owned(OWNER, None, 10)) == []
    left = [key for key in ledger.redis.keys("cb:{batches}:*") if not key.endswith(b":outbox")]
    assert left == []


def test_only_an_ended_batch_is_removed_and_only_by_its_owner(desk: Desk, ledger: ClockedLedger) -> None:
    batch = desk.accept([echo(1)])
    assert not ledger.run(batching.remove(batch.id, OWNER))
    desk.run_out(batch)
    assert not ledger.run(batching.remove(batch.id, "key_bob"))
    assert ledger.run(batching.remove(batch.id, OWNER))
    assert ledger.run(batching.find(batch.id)) is None
