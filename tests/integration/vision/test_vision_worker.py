"""The vision worker as a process: batches, cancels, kills."""

from __future__ import annotations

import os
import signal

import orjson
import pytest
from sights import QUEUE, SIGN, Sights, children, noise
from trials import until

from callboard_shared.ledger import verbs
from callboard_shared.view import job_view

pytestmark = pytest.mark.models


def test_jobs_that_wait_are_looked_at_together_and_each_gets_its_own(sights: Sights) -> None:
    blank = noise(1, 64, 64)
    inputs = [{"image": SIGN if place % 2 else blank, "confidence": 0.5} for place in range(8)]
    ids = sights.submit(*inputs)
    sights.worker()
    records = sights.ended(ids)
    assert [orjson.loads(record.output or b"{}")["counts"] for record in records] == [
        {"stop sign": 1} if place % 2 else {} for place in range(8)
    ]
    assert max(job_view(record)["usage"]["batch_jobs"] for record in records) > 1


def test_a_canceled_job_stops_between_two_parts_and_leaves_the_worker_alive(sights: Sights) -> None:
    worker = sights.worker()
    before = [child.pid for child in children(worker)]
    (long,) = sights.submit({"images": [noise(seed) for seed in range(8)] * 8})
    until(lambda: sights.steps(long) > 0, 60, "the first part is done")
    sights.trial.ledger.run(verbs.cancel(long, QUEUE))
    (record,) = sights.ended([long])
    assert record.status.value == "canceled"
    (output,) = sights.outputs(sights.submit({"image": SIGN}))
    assert output["counts"] == {"stop sign": 1}
    assert [child.pid for child in children(worker)] == before


def test_a_killed_process_costs_an_attempt_and_no_job(sights: Sights) -> None:
    worker = sights.worker()
    (long,) = sights.submit({"images": [noise(seed) for seed in range(8)] * 6, "annotate": True})
    until(lambda: sights.steps(long) > 0, 60, "the first part is done")
    for child in children(worker):
        os.kill(child.pid, signal.SIGKILL)
    (record,) = sights.ended([long], 120)
    assert record.status.value == "succeeded"
    assert record.attempt == 2
    output = orjson.loads(record.output or b"{}")
    assert len(output["images"]) == 48
    names = {seen["annotated"]["file_id"] for seen in output["images"]}
    assert len(names) == 48
    assert len(list((sights.trial.folder / "files").glob("*/file_*"))) >= 48


def test_without_its_default_model_a_worker_says_so_and_serves_others(
    sights: Sights, tmp_path: os.PathLike[str]
) -> None:
    empty = os.path.join(tmp_path, "none")
    sights.worker(CALLBOARD_DEFAULT_MODELS_DIR=empty)
    (record,) = sights.ended(sights.submit({"image": SIGN}))
    assert record.status.value == "failed"
    problem = orjson.loads(record.error or b"{}")
    assert problem["code"] == "unknown-model"
