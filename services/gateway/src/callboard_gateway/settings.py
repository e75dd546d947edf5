"""Settings of the gateway (``CALLBOARD_…``), in groups by what reads them."""

from __future__ import annotations

from pydantic import Field, SecretStr

from callboard_shared.settings import Settings


class ServerSettings(Settings):
    """Where the gateway listens, and how it ends."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; loopback unless said otherwise."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    access_log: bool = Field(
        default=False, description="A line a request; costs about a tenth of the throughput."
    )
    gateway_grace_s: int = Field(
        default=10, ge=0, description="Seconds that open requests have after SIGTERM."
    )
    gateway_backlog: int = Field(default=2048, ge=1, description="Connections that may wait to be accepted.")


class GatewaySettings(Settings):
    """Limits and defaults of the HTTP interface. A limit of 0 switches a rate limit off."""

    admin_key: SecretStr | None = Field(
        default=None, description="The first admin key; cb_ and at least 32 more."
    )
    max_json_bytes: int = Field(default=8 * 1024 * 1024, gt=0, description="Largest JSON body.")
    max_waiting_jobs: int = Field(default=10_000, ge=1, description="Jobs one key may have waiting.")
    max_batches: int = Field(default=20, ge=1, description="Batches one key may have that have not ended.")
    max_conversations: int = Field(default=10_000, ge=1, description="Conversations one key may keep.")
    max_conversation_messages: int = Field(
        default=2_000, ge=2, description="Messages of one conversation, replies included."
    )
    max_conversation_bytes: int = Field(
        default=8 * 1024 * 1024,
        gt=0,
        description="Bytes of one conversation, its pictures in base64 included.",
    )
    conversation_idle_s: float | None = Field(
        default=None,
        ge=3600,
        description="Seconds after which a conversation goes in which nothing happens; never if not set.",
    )
    rate_limit_per_s: float = Field(default=200, ge=0, description="Requests a second one key may send.")
    rate_limit_burst: int = Field(default=1000, ge=1, description="Requests one key may send at once.")
    key_cache_s: float = Field(
        default=2, ge=0, le=2, description="Seconds a key is believed without asking again."
    )
    submit_timeout_s: float = Field(
        default=1.8, gt=0, description="Seconds a submission waits for the ledger."
    )
    submit_replicas: int = Field(
        default=0,
        ge=0,
        description="Replicas of the ledger that must have a submission before it is answered 202.",
    )
    submit_fsync: bool = Field(
        default=False,
        description="A submission is answered 202 when it is on the ledger's disk.",
    )
    default_expires_s: float | None = Field(
        default=86_400,
        gt=0,
        description="Seconds after which a job that did not start expires, unless it says.",
    )
    max_webhook_endpoints: int = Field(default=50, ge=1, description="Webhook endpoints of one key.")
    webhook_inbox: bool = Field(
        default=False,
        description="Offer /v1/webhook-inbox, a receiver to try webhooks with; on in `make run`.",
    )
    sse_comment_s: float = Field(default=15, gt=0, description="Seconds between comments on a quiet stream.")
    sse_patience_s: float = Field(
        default=30, gt=0, description="Seconds after which a stream whose reader takes nothing is dropped."
    )
    events_window_s: float = Field(
        default=300,
        ge=60,
        description="Seconds for which a reader of /v1/events may be gone and miss nothing.",
    )
