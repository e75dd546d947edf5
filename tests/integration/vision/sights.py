"""Detection jobs for a worker of one's own."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import orjson
import psutil
from trials import Running, Trial, until

from callboard_shared.ids import new_id
from callboard_shared.jobs import DETECT, JobType
from callboard_shared.ledger import JobRecord, NewJob, verbs

QUEUE = "vision"
SIGN: dict[str, str] = dict(DETECT.example["image"])


def noise(seed: int, width: int = 640, height: int = 480) -> dict[str, str]:
    """A picture that takes its time, inline."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return {"base64": base64.b64encode(cv2.imencode(".jpg", pixels)[1].tobytes()).decode()}


class Sights:
    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def worker(self, **env: str) -> Running:
        running = self.trial.start("callboard_vision", env)
        until(self._ready, 60, "the vision worker has loaded its model")
        return running

    def _ready(self) -> bool:
        workers = self.trial.ledger.run(verbs.workers(QUEUE))
        return any(not worker.note for worker in workers)

    def submit(
        self, *inputs: dict[str, Any], owner: str = "key_a", job_type: JobType[Any, Any] = DETECT
    ) -> list[str]:
        return self.trial.submit(*(self._job(job_type, value, owner) for value in inputs))

    def _job(self, job_type: JobType[Any, Any], value: dict[str, Any], owner: str) -> NewJob:
        given = job_type.input.model_validate_json(orjson.dumps(value))
        spec = orjson.dumps({"input": value, "metadata": {}})
        return NewJob(
            new_id("job"), job_type.name, QUEUE, owner, spec,
            batch_key=job_type.batch_key(given), weight=job_type.weight(given),
        )  # fmt: skip

    def ended(self, ids: list[str], within_s: float = 60) -> list[JobRecord]:
        return self.trial.ended(ids, within_s, QUEUE)

    def outputs(self, ids: list[str]) -> list[Any]:
        return [orjson.loads(record.output or b"null") for record in self.ended(ids)]

    def steps(self, job_id: str) -> int:
        """How many of its pictures or frames a running job has told of."""
        record = self.trial.read(job_id, QUEUE)
        return int((orjson.loads(record.progress) if record.progress else {}).get("step") or 0)


def children(running: Running) -> Sequence[psutil.Process]:
    return psutil.Process(running.pid).children()
