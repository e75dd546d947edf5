"""Believing a webhook: only what a secret of ours has signed, and lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from callboard_client._errors import WebhookNotVerified


def verify_webhook(
    payload: bytes | str, headers: Mapping[str, str], secret: str | Sequence[str]
) -> dict[str, Any]:
    """The event, as ``{"type", "timestamp", "data"}``, once its signature is found to be right.

    payload: the body as it came, byte for byte. headers: those of the request, in any case. secret: ``whsec_…``, or
    several. Raises WebhookNotVerified for a wrong signature, and for a time more than five minutes off, which keeps
    what was once overheard from being sent again.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret)
    reason = "no secret was given"
    for one in secrets:
        try:
            event: dict[str, Any] = Webhook(one).verify(payload, dict(headers.items()))
            return event
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError) as error:
            reason = str(error)
    raise WebhookNotVerified(f"This webhook is not to be believed: {reason}.")
