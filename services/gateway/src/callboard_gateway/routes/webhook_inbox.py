"""``/v1/webhook-inbox/{name}``: a receiver of webhooks that is built in, to see a signed one without a tunnel.

Whoever can reach the gateway may post to it, as to any receiver. Whose a webhook is follows from its signature: the
courier names its delivery in ``callboard-delivery``, that has an owner, and the owner's secrets must have signed
it. What is signed is shown to that key alone; what nobody signed is shown, as such, to any key that knows the name.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_body
from callboard_gateway.schemas import problems
from callboard_gateway.webhook_schemas import InboxList, InboxReceipt
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger
from callboard_shared.ledger.deliveries import find_owner
from callboard_shared.ledger.endpoints import endpoint_secrets, own_secrets
from callboard_shared.ledger.inboxes import list_inbox, put_in_inbox
from callboard_shared.view import timestamp
from callboard_shared.webhooks import new_webhook_secret

router = APIRouter(prefix="/v1/webhook-inbox", tags=["webhooks"])
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["first"])]

MOST_BYTES = 32 * 1024
_SHOWN = (
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "callboard-delivery",
    "content-type",
    "user-agent",
)


@router.post(
    "/{name}", response_model=InboxReceipt, responses=problems(413, 422, 503), openapi_extra={"security": []},
    operation_id="receive_webhook", summary="Receive a webhook (embedded stack only)",
)  # fmt: skip
async def receive(request: Request, name: Name) -> Response:
    """Always 200: a receiver that says why it does not believe what came. Bodies of up to 32 KiB, the last 20 a
    name, for an hour."""
    body = await read_body(request.scope, request.receive, MOST_BYTES)
    ledger: AsyncLedger = request.app.state.ledger
    headers = {one: request.headers[one][:1024] for one in _SHOWN if one in request.headers}
    owner, reason = await _signer(ledger, headers, body)
    receipt = {"verified": owner is not None, "reason": reason}
    document = _document(body)
    entry = receipt | {
        "received_at": timestamp(int(time.time() * 1000)),
        "webhook_id": headers.get("webhook-id"),
        "event": document.get("type") if isinstance(document, dict) else None,
        "delivery_id": headers.get("callboard-delivery"),
        "headers": headers,
        "body": document,
    }
    await ledger.run(put_in_inbox(name, owner or "", orjson.dumps(entry)))
    return _json(receipt)


@router.get(
    "/{name}", response_model=InboxList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_webhook_inbox", summary="What came to an inbox, newest first (embedded stack only)",
)  # fmt: skip
async def list_(
    request: Request, name: Name, caller: Annotated[Authenticated, Depends(require("jobs:read"))]
) -> Response:
    """What this key's secrets signed, and what nobody's did."""
    ledger: AsyncLedger = request.app.state.ledger
    entries = await ledger.run(list_inbox(name))
    mine = [orjson.Fragment(entry) for owner, entry in entries if owner in ("", caller.owner)]
    return _json({"data": mine, "next_cursor": None})


async def _signer(ledger: AsyncLedger, headers: dict[str, str], body: bytes) -> tuple[str | None, str | None]:
    """The key whose secret signed this; else why nobody's did."""
    delivery_id = headers.get("callboard-delivery", "")
    found = await ledger.run(find_owner(delivery_id)) if is_id(delivery_id, "whd") else None
    if found is None:
        return None, "not ours: 'callboard-delivery' names no delivery of this Callboard"
    owner, endpoint = found
    secrets = await ledger.run(
        endpoint_secrets(owner, endpoint) if endpoint else own_secrets(owner, new_webhook_secret())
    )
    reason = "the endpoint, and its secret with it, was deleted"
    for secret in secrets:
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
            return owner, None
        except (WebhookVerificationError, ValueError) as error:
            reason = f"{str(error)[:1].lower()}{str(error)[1:]}"
    return None, reason


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
