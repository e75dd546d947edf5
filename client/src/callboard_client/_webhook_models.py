"""What the gateway says of webhooks: endpoints, their secrets, deliveries and each try."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from callboard_client._models import Answer


class WebhookEndpoint(Answer):
    """A URL that hears what becomes of the key's jobs. ``secret`` is there in the answer of ``webhooks.create``."""

    id: str
    url: str = ""
    events: list[str] = Field(default_factory=list)
    description: str = ""
    enabled: bool = True
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    secret: str | None = Field(default=None, repr=False)


class WebhookSecret(Answer):
    """``previous``: those before, which sign too for 24 hours after they were replaced."""

    secret: str = Field(repr=False)
    previous: list[str] = Field(default_factory=list, repr=False)


class DeliveryTry(Answer):
    """One try; ``error`` is ``code: sentence`` where there was no answer, or one that cannot be right."""

    at: datetime | None = None
    status_code: int | None = None
    latency_ms: int | None = None
    response: str | None = None
    error: str | None = None


class Delivery(Answer):
    """One event on its way to one URL. status: ``pending``, ``delivered``, ``failed`` (tried again at
    ``next_try_at``, if that is set) or ``exhausted``."""

    id: str
    webhook_id: str = ""
    event: str = ""
    subject: str = ""
    job_id: str | None = None
    endpoint_id: str | None = None
    url: str = ""
    status: str = ""
    tries: list[DeliveryTry] = Field(default_factory=list)
    next_try_at: datetime | None = None
    created_at: datetime | None = None
