"""The vision worker. It serves its queue from now on; its job types come with their own release."""

from __future__ import annotations

from callboard_shared.worker import Worker

worker = Worker("vision", queues=("vision",), pool="prefork", slots=1)
app = worker.celery
