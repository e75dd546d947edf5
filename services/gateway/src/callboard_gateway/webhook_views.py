"""How endpoints and deliveries look to clients."""

from __future__ import annotations

from typing import Any

import orjson

from callboard_shared.ledger.deliveries import Delivery
from callboard_shared.ledger.endpoints import Endpoint
from callboard_shared.view import timestamp


def endpoint_view(one: Endpoint) -> dict[str, Any]:
    return {
        "id": one.id,
        "url": one.url,
        "events": list(one.told),
        "description": one.description,
        "enabled": one.enabled,
        "disabled_at": timestamp(one.disabled_ms),
        "disabled_reason": one.disabled_reason,
        "created_at": timestamp(one.created_ms),
        "updated_at": timestamp(one.updated_ms),
    }


def delivery_view(one: Delivery) -> dict[str, Any]:
    tries = [orjson.loads(account) for account in one.tries]
    return {
        "id": one.id,
        "webhook_id": one.message,
        "event": one.event,
        "subject": one.subject,
        "job_id": one.subject if one.subject.startswith("job_") else None,
        "endpoint_id": one.endpoint or None,
        "url": one.url,
        "status": one.status,
        "tries": [account | {"at": timestamp(account["at"])} for account in tries],
        "next_try_at": timestamp(one.next_ms),
        "created_at": timestamp(one.created_ms),
    }
