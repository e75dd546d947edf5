"""What webhooks tell of, and which secrets sign them.

Another kind of thing that is told of joins here with its events and its outbox, and in the courier with what a webhook
says of it (``callboard_courier.delivery.subjects.READERS``).
"""

from __future__ import annotations

import base64
import os

from callboard_shared.jobs import QUEUES
from callboard_shared.ledger.keys import BATCHES, PIPELINES

JOB_EVENTS = ("job.running", "job.succeeded", "job.failed", "job.canceled", "job.expired")
PIPELINE_EVENTS = ("pipeline.succeeded", "pipeline.failed", "pipeline.canceled")
BATCH_EVENTS = ("batch.completed", "batch.failed", "batch.canceled")
EVENTS = (*JOB_EVENTS, *PIPELINE_EVENTS, *BATCH_EVENTS)
OUTBOXES = (*QUEUES, PIPELINES, BATCHES)
"""What has an outbox: couriers read these, and are told by these what endpoints ask for."""
TEST_EVENT = "webhook.test"
OVERLAP_MS = 86_400_000
"""How long the secret before signs too, once there is a new one."""


def is_final(event: str) -> bool:
    """Whether no later event of the same thing comes."""
    return not event.endswith(".running")


ENDINGS = tuple(event for event in EVENTS if is_final(event))


def new_webhook_secret() -> str:
    """``whsec_`` and 256 random bits in base64 (Standard Webhooks 1.0, "Signature scheme")."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def hook(events: object, url: str) -> str:
    """A job's own webhook as the ledger keeps it with the job: the statuses that it tells of, and where."""
    assert isinstance(events, list | tuple)
    return f"{','.join(dict.fromkeys(str(event).removeprefix('job.') for event in events))} {url}"
