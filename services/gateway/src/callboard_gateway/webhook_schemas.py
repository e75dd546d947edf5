"""The shapes of what is asked and answered about webhooks, for validation and for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from callboard_shared.submission import Time
from callboard_shared.urls import MAX_URL
from callboard_shared.webhooks import EVENTS

Event = Literal[*EVENTS]  # type: ignore[valid-type]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
Description = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
_URL: dict[str, Any] = {
    "description": "https, on a public address.",
    "examples": ["https://example.com/hooks"],
}
_EVENTS = "Which events; null: every ending, also of kinds of things to come."
_AT = "2026-11-22T09:30:00.000Z"
_ENDPOINT_ID, _DELIVERY_ID = "whe_01kaq3v5ef7v8m2c4r6t8w0y2z", "whd_01kaq3v5ef7v8m2c4r6t8w0y2z"


class NewWebhookEndpoint(BaseModel):
    """A URL that is to hear what becomes of the key's jobs."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"url": "https://example.com/hooks", "events": ["job.failed"]}},
    )

    url: Url = Field(**_URL)
    events: list[Event] | None = Field(default=None, min_length=1, description=_EVENTS)
    description: Description = ""


class WebhookEndpointChanges(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": {"enabled": True}})

    url: Url = Field(default="", **_URL)
    events: list[Event] | None = Field(default=None, min_length=1, description=_EVENTS)
    description: Description = ""
    enabled: bool = Field(default=True, description="true enables one that was disabled, false disables it.")


class Since(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    since: Time = Field(description="RFC 3339; deliveries made from then on.")


class WebhookEndpointObject(BaseModel):
    """A registered endpoint. `enabled` is true until something disables it; then `disabled_reason` says what."""

    id: str = Field(examples=[_ENDPOINT_ID])
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_at: str | None
    disabled_reason: str | None
    created_at: str = Field(examples=[_AT])
    updated_at: str


class WebhookEndpointWithSecret(WebhookEndpointObject):
    secret: str = Field(description="What its webhooks are signed with.", examples=["whsec_…"])


class WebhookEndpointList(BaseModel):
    data: list[WebhookEndpointObject]
    next_cursor: str | None


class WebhookSecret(BaseModel):
    secret: str = Field(examples=["whsec_…"])
    previous: list[str] = Field(
        description="Those before that sign too, for 24 hours after they were replaced."
    )


class DeliveryTry(BaseModel):
    at: str
    status_code: int | None
    latency_ms: int | None
    response: str | None = Field(description="The first 1,000 bytes of the answer.")
    error: str | None = Field(
        description="`code: sentence` where there was no answer, or it cannot be right."
    )


class DeliveryObject(BaseModel):
    """One event on its way to one URL. `failed`: the last try failed, and `next_try_at` says when the next one
    comes (null: none does); `exhausted`: all ten tries failed."""

    id: str = Field(examples=[_DELIVERY_ID])
    webhook_id: str = Field(description="The `webhook-id` that the receiver sees, the same on every try.")
    event: str = Field(examples=["job.succeeded"])
    subject: str = Field(description="The id of what the event happened to.")
    job_id: str | None
    endpoint_id: str | None = Field(description="null: the URL is that of the job itself.")
    url: str
    status: Literal["pending", "delivered", "failed", "exhausted"]
    tries: list[DeliveryTry] = Field(description="Oldest first; the last twenty.")
    next_try_at: str | None
    created_at: str


class DeliveryList(BaseModel):
    data: list[DeliveryObject]
    next_cursor: str | None


class Recovered(BaseModel):
    since: str
    deliveries: int = Field(description="How many are made again.")


class InboxReceipt(BaseModel):
    verified: bool
    reason: str | None


class InboxEntry(InboxReceipt):
    """A webhook that came. `verified`: a secret of this key signed it; else `reason` says why it does not count."""

    received_at: str
    webhook_id: str | None
    event: str | None
    delivery_id: str | None
    headers: dict[str, str]
    body: Any


class InboxList(BaseModel):
    data: list[InboxEntry]
    next_cursor: None = None
