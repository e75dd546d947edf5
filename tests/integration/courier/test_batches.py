"""A batch with couriers as processes: killed at any moment while it is read, run and written, they change nothing."""

from __future__ import annotations

from typing import Any

import orjson
from trials import Running, Trial, until

from callboard_shared.files import Files
from callboard_shared.ids import new_id
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import batching, filing
from callboard_shared.ledger.batching import BatchRecord, BatchSpec, NewBatch, Tally
from callboard_shared.ledger.keys import BATCHES, hook, of

LINES = 4000


def courier(trial: Trial) -> Running:
    running = trial.start("callboard_courier", {})
    until(lambda: trial.online(running, "system"), 30, "the courier is online")
    return running


def record_of(trial: Trial, batch: NewBatch) -> BatchRecord:
    record = trial.ledger.run(batching.find(batch.id))
    assert record is not None
    return record


def tally(trial: Trial, batch: NewBatch) -> Tally:
    return batching.summed([trial.ledger.run(call) for call in batching.tallies(batch.id, QUEUES)])


def accepted(trial: Trial, files: Files) -> NewBatch:
    lines = [
        {"type": "system.echo", "input": {"value": n}, "custom_id": f"c{n}"} for n in range(1, LINES + 1)
    ]
    lines[99]["input"] = {"valu": 1}
    content: list[Any] = [orjson.dumps(line) for line in lines]
    record = files.put_bytes("key_a", "lines.jsonl", b"\n".join(content))
    trial.ledger.run(filing.put_file(record))
    hook = "completed,failed,canceled http://127.0.0.1:9/"
    batch = NewBatch(new_id("batch"), "key_a", BatchSpec(record.id), hook)
    trial.ledger.run(batching.put(batch))
    return batch


def test_a_courier_killed_again_and_again_changes_nothing(trial: Trial) -> None:
    files = trial.files
    batch = accepted(trial, files)
    for part in (0, 0.3, 0.8):
        running = courier(trial)
        until(
            lambda part=part: tally(trial, batch).submitted > part * LINES or record_of(trial, batch).status,
            60,
            f"{part:.0%} of the lines are submitted",
        )
        running.kill()
    courier(trial)
    until(lambda: record_of(trial, batch).status, 120, "the batch has ended")
    ended = record_of(trial, batch)
    assert ended.status == "completed" and ended.counts is not None
    assert (ended.counts["succeeded"], ended.counts["invalid"]) == (LINES - 1, 1)
    output = [orjson.loads(line) for line in files.get_bytes(ended.results["output"]["file_id"]).splitlines()]
    assert [one["line"] for one in output] == list(range(1, LINES + 1))
    assert all(one["output"] == {"value": one["line"]} for one in output if one["line"] != 100)
    until(lambda: trial.redis.zcard(hook("deliveries", "key_a")), 30, "its webhook is to be delivered")
    ids = trial.redis.zrange(hook("deliveries", "key_a"), 0, -1)
    assert [trial.redis.hget(hook("delivery", one.decode()), "event") for one in ids] == [b"batch.completed"]
    assert int(trial.redis.hget(of("system", "stats"), "done") or 0) == LINES - 1
    until(lambda: trial.redis.zcard(of(BATCHES, "due")) == 0, 10, "the batch is closed")
    assert trial.redis.keys("cb:*tally*") == []
