"""A worker of queue ``nlp`` whose handlers do what the text says: no model dies, stalls or dawdles on demand.

It is run from a folder as ``callboard_errand``, by Celery, with the runtime of every worker; its job types are those of
the catalogue, so that the gateway takes them. ``nlp.embed`` runs in batches, ``nlp.classify`` alone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace

from callboard_shared.jobs.nlp.encode import (
    CLASSIFY,
    EMBED,
    ClassifyInput,
    ClassifyOutput,
    EmbedInput,
    EmbedOutput,
)
from callboard_shared.worker import Job, Worker

worker = Worker("errand", queues=("nlp",), slots=int(os.environ.get("ERRAND_SLOTS", "1")))
app = worker.celery


def run_errand(text: str) -> None:
    """``sleep SECONDS``, ``die`` (with the whole process, as by lack of memory), or anything else: nothing."""
    word, _, rest = text.partition(" ")
    if word == "sleep":
        time.sleep(float(rest))
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)


def embed(jobs: Sequence[Job[EmbedInput]]) -> list[EmbedOutput]:
    for job in jobs:
        run_errand(job.input.texts[0])
    return [EmbedOutput(embeddings=[[1.0]], dimensions=1, tokens=1, model="errand") for _ in jobs]


def classify(job: Job[ClassifyInput]) -> ClassifyOutput:
    job.context.log("info", str(os.getpid()))
    run_errand(job.input.texts[0])
    return ClassifyOutput(results=[], tokens=1, model="errand")


worker.handles(EMBED)(embed)
worker.handles(replace(CLASSIFY, batch=None))(classify)

if __name__ == "__main__":
    worker.main()
