"""Headers of a signed webhook, after Standard Webhooks 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from standardwebhooks import Webhook


@lru_cache(maxsize=1024)
def _signer(secret: str) -> Webhook:
    return Webhook(secret)


def signed_headers(secrets: Sequence[str], message: str, body: bytes, now_ms: int) -> dict[str, str]:
    """``webhook-id``, ``-timestamp`` and ``-signature``, one signature a secret. The time is that of the try: receivers
    refuse what is older than a few minutes."""
    second = now_ms // 1000
    moment = datetime.fromtimestamp(second, UTC)  # the library mis-signs times of other zones
    text = body.decode()
    signatures = " ".join(_signer(secret).sign(message, moment, text) for secret in secrets)
    return {"webhook-id": message, "webhook-timestamp": str(second), "webhook-signature": signatures}
