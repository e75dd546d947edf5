"""Settings of the courier."""

from __future__ import annotations

from pydantic import Field

from callboard_shared.settings import Settings


class CourierSettings(Settings):
    courier_slots: int = Field(default=64, ge=1, le=1024, description="System jobs at once in one courier.")


class DeliverySettings(Settings):
    """How a courier posts webhooks."""

    webhook_timeout_s: float = Field(default=15, gt=0, le=60, description="Seconds a receiver has to answer.")
    webhook_tries: int = Field(default=256, ge=1, description="Webhooks that one courier posts at once.")
    webhook_tries_per_endpoint: int = Field(
        default=32, ge=1, description="Webhooks on their way to one endpoint, or to one URL of jobs."
    )
    webhook_tries_per_host: int = Field(default=64, ge=1, description="Webhooks on their way to one host.")
