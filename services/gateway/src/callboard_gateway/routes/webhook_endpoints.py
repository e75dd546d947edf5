"""``/v1/webhook-endpoints``: URLs that hear what becomes of a key's jobs; and ``/v1/webhook-secret``, which signs
what goes to the URLs of single jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_model
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.routes.parameters import Cursor, Limit
from callboard_gateway.schemas import problems
from callboard_gateway.webhook_schemas import (
    DeliveryObject,
    NewWebhookEndpoint,
    Recovered,
    Since,
    WebhookEndpointChanges,
    WebhookEndpointList,
    WebhookEndpointObject,
    WebhookEndpointWithSecret,
    WebhookSecret,
)
from callboard_gateway.webhook_views import delivery_view, endpoint_view
from callboard_shared.errors import Conflict, Invalid, NotFound
from callboard_shared.ids import is_id, new_id
from callboard_shared.ledger import AsyncLedger, deliveries, endpoints
from callboard_shared.ledger.deliveries import Delivery, get_delivery, list_deliveries, post, to_endpoint
from callboard_shared.ledger.endpoints import Endpoint, Endpoints
from callboard_shared.ledger.outbox import OutboxRow
from callboard_shared.urls import check_url
from callboard_shared.view import timestamp
from callboard_shared.webhooks import OUTBOXES, TEST_EVENT, is_final, new_webhook_secret

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhooks"])
secret_router = APIRouter(prefix="/v1/webhook-secret", tags=["webhooks"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]

GONE = "There is no such webhook endpoint."
_TEST_S = 5
_LOOK_S = 0.05
_MOST_BYTES = 64 * 1024
_DAY_MS = 86_400_000


def _takes(model: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "", status_code=201, response_model=WebhookEndpointWithSecret, openapi_extra=_takes(NewWebhookEndpoint),
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    operation_id="create_webhook_endpoint", summary="Register a webhook endpoint",
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    """Its webhooks are signed with `secret`, which `GET /v1/webhook-endpoints/{id}/secret` shows again."""
    asked = await read_model(request.scope, request.receive, _MOST_BYTES, NewWebhookEndpoint)
    url = check_url(asked.url, request.app.state.urls, "url")
    endpoint_id, secret = new_id("whe"), new_webhook_secret()
    most: int = request.app.state.settings.max_webhook_endpoints
    call = endpoints.create_endpoint(
        caller.owner, endpoint_id, url=url, events=asked.events or (), description=asked.description, secret=secret,
        most=most,
    )  # fmt: skip
    made = await _ledger(request).run(call)
    if made is None:
        detail = f"This key has {most} webhook endpoints, which is its limit. Delete some first."
        raise Conflict(detail, code="too-many-endpoints")
    found = await _published(request, made, endpoint_id)
    headers = {"Location": f"/v1/webhook-endpoints/{endpoint_id}"}
    return _json(endpoint_view(found) | {"secret": secret}, 201, headers)


@router.get(
    "", response_model=WebhookEndpointList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_webhook_endpoints", summary="List webhook endpoints, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    caller: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    before = position_of(cursor, "whe")
    found = (await _ledger(request).run(endpoints.list_endpoints(caller.owner))).all
    places = [(one.created_ms, one.id) for one in found]
    rest = [one for one, place in zip(found, places, strict=True) if before is None or place < before]
    last = rest[limit - 1] if len(rest) > limit else None
    following = cursor_of((last.created_ms, last.id) if last else None)
    return _json({"data": [endpoint_view(one) for one in rest[:limit]], "next_cursor": following})


@router.get(
    "/{endpoint_id}", response_model=WebhookEndpointObject, responses=problems(401, 403, 404, 429, 503),
    operation_id="get_webhook_endpoint", summary="A webhook endpoint",
)  # fmt: skip
async def get(request: Request, endpoint_id: str, caller: Reader) -> Response:
    return _json(endpoint_view(await existing(request, caller.owner, endpoint_id)))


@router.patch(
    "/{endpoint_id}", response_model=WebhookEndpointObject, openapi_extra=_takes(WebhookEndpointChanges),
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    operation_id="change_webhook_endpoint", summary="Change, disable or enable a webhook endpoint",
)  # fmt: skip
async def change(request: Request, endpoint_id: str, caller: Writer) -> Response:
    """What waits to be tried goes to the new URL. While it is disabled nothing is sent; what happens meanwhile is
    kept as failed deliveries, which `recover` makes again."""
    asked = await read_model(request.scope, request.receive, _MOST_BYTES, WebhookEndpointChanges)
    said = asked.model_fields_set
    fields: dict[str, str] = {}
    if "url" in said:
        fields["url"] = check_url(asked.url, request.app.state.urls, "url")
    if "events" in said:
        fields["events"] = ",".join(asked.events or ())
    if "description" in said:
        fields["description"] = asked.description
    found = await existing(request, caller.owner, endpoint_id)
    if fields:
        call = endpoints.change_endpoint(caller.owner, endpoint_id, fields)
        found = await _published(request, await _ledger(request).run(call), endpoint_id)
    if "enabled" in said and asked.enabled != found.enabled:
        switch = (
            endpoints.enable_endpoint(caller.owner, endpoint_id)
            if asked.enabled
            else endpoints.disable_endpoint(caller.owner, endpoint_id, "It was disabled by its owner.")
        )
        found = await _published(request, await _ledger(request).run(switch), endpoint_id)
    return _json(endpoint_view(found))


@router.delete(
    "/{endpoint_id}", status_code=204, responses=problems(401, 403, 404, 429, 503),
    operation_id="delete_webhook_endpoint", summary="Delete a webhook endpoint",
)  # fmt: skip
async def delete(request: Request, endpoint_id: str, caller: Writer) -> Response:
    """What waited to be tried ends as failed. Its deliveries stay to be read until their retention is over."""
    await existing(request, caller.owner, endpoint_id)
    ledger = _ledger(request)
    left = await ledger.run(endpoints.remove_endpoint(caller.owner, endpoint_id))
    if left is not None:
        await endpoints.publish(ledger, OUTBOXES, left)
    return Response(status_code=204)


@router.get(
    "/{endpoint_id}/secret", response_model=WebhookSecret, responses=problems(401, 403, 404, 429, 503),
    operation_id="get_webhook_endpoint_secret", summary="The secret of a webhook endpoint",
)  # fmt: skip
async def secret_of(request: Request, endpoint_id: str, caller: Reader) -> Response:
    await existing(request, caller.owner, endpoint_id)
    return _secrets(await _ledger(request).run(endpoints.endpoint_secrets(caller.owner, endpoint_id)))


@router.post(
    "/{endpoint_id}/rotate", response_model=WebhookEndpointWithSecret, responses=problems(401, 403, 404, 429, 503),
    operation_id="rotate_webhook_endpoint_secret", summary="Give a webhook endpoint a new secret",
)  # fmt: skip
async def rotate(request: Request, endpoint_id: str, caller: Writer) -> Response:
    """The one before signs too, for 24 hours: each webhook carries both signatures."""
    await existing(request, caller.owner, endpoint_id)
    secret = new_webhook_secret()
    changed = await _ledger(request).run(endpoints.rotate_secret(caller.owner, endpoint_id, secret))
    return _json(endpoint_view(await _published(request, changed, endpoint_id)) | {"secret": secret})


@router.post(
    "/{endpoint_id}/test", response_model=DeliveryObject,
    responses={
        202: {"description": "It is on its way; look again with `GET /v1/deliveries/{id}`.", "model": DeliveryObject},
        **problems(401, 403, 404, 409, 429, 503),
    },
    operation_id="test_webhook_endpoint", summary="Send a webhook.test event now",
)  # fmt: skip
async def test(request: Request, endpoint_id: str, caller: Writer) -> Response:
    """It goes the way of every webhook, and is tried once. The answer comes when it was tried, or after five
    seconds."""
    endpoint = await _enabled(request, caller.owner, endpoint_id)
    row = OutboxRow(
        new_id("evt"), "", TEST_EVENT, endpoint_id, caller.owner, "", int(time.time() * 1000), 0, _DAY_MS
    )  # fmt: skip
    delivery = to_endpoint(row, endpoint_id, endpoint.url)
    await _ledger(request).run(post([delivery], new_webhook_secret()))
    until = time.monotonic() + _TEST_S
    while True:
        found = await _ledger(request).run(get_delivery(caller.owner, delivery.id))
        if found is None:
            raise NotFound(GONE)
        if found.tries or time.monotonic() > until:
            return _json(delivery_view(found), 200 if found.tries else 202)
        await asyncio.sleep(_LOOK_S)


@router.post(
    "/{endpoint_id}/recover", status_code=202, response_model=Recovered, openapi_extra=_takes(Since),
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    operation_id="recover_webhook_endpoint", summary="Make failed deliveries again",
)  # fmt: skip
async def recover(request: Request, endpoint_id: str, caller: Writer) -> Response:
    """All endings that did not arrive since then: also what happened while the endpoint was disabled."""
    asked = await read_model(request.scope, request.receive, _MOST_BYTES, Since)
    await _enabled(request, caller.owner, endpoint_id)
    since_ms = int(asked.since.timestamp() * 1000)
    if since_ms > time.time() * 1000:
        raise Invalid(
            "Nothing was delivered since a time to come.",
            errors=[{"field": "since", "message": "give a time in the past", "code": "future"}],
        )
    ledger, owner = _ledger(request), caller.owner
    failed: list[str] = []
    before = None
    while True:
        found, before = await list_deliveries(
            ledger, owner, limit=500, endpoint=endpoint_id, before=before, since_ms=since_ms, keep=_missed
        )
        failed += [one.id for one in found]
        if before is None:
            break
    made = 0
    failed.reverse()  # oldest first, as they happened
    for at in range(0, len(failed), 250):
        made += (await ledger.run(deliveries.recover(owner, failed[at : at + 250]))).count("again")
    return _json({"since": timestamp(since_ms), "deliveries": made}, 202)


def _missed(one: Delivery) -> bool:
    """A test is no news, nor is it that something once began."""
    return one.status in ("failed", "exhausted") and one.event != TEST_EVENT and is_final(one.event)


@secret_router.get(
    "", response_model=WebhookSecret, responses=problems(401, 403, 429, 503),
    operation_id="get_webhook_secret", summary="The secret of the key itself",
)  # fmt: skip
async def own_secret(request: Request, caller: Reader) -> Response:
    """It signs what goes to the `webhook.url` of the key's jobs."""
    return _secrets(
        await _ledger(request).run(endpoints.own_secrets(caller.owner, new_webhook_secret()))
    )  # fmt: skip


@secret_router.post(
    "/rotate", response_model=WebhookSecret, responses=problems(401, 403, 429, 503),
    operation_id="rotate_webhook_secret", summary="Give the key a new webhook secret",
)  # fmt: skip
async def rotate_own_secret(request: Request, caller: Writer) -> Response:
    """The one before signs too, for 24 hours."""
    return _secrets(
        await _ledger(request).run(endpoints.rotate_own_secret(caller.owner, new_webhook_secret()))
    )  # fmt: skip


async def existing(request: Request, owner: str, endpoint_id: str) -> Endpoint:
    """The owner's endpoint. Raises NotFound."""
    if is_id(endpoint_id, "whe"):
        found = (await _ledger(request).run(endpoints.list_endpoints(owner))).find(endpoint_id)
        if found is not None:
            return found
    raise NotFound(GONE)


async def _enabled(request: Request, owner: str, endpoint_id: str) -> Endpoint:
    found = await existing(request, owner, endpoint_id)
    if not found.enabled:
        raise Conflict(
            f"The endpoint is disabled ({(found.disabled_reason or '').rstrip('.')}). Enable it first: PATCH it with "
            '{"enabled": true}.',
            code="endpoint-disabled",
        )
    return found


async def _published(request: Request, changed: Endpoints | None, endpoint_id: str) -> Endpoint:
    """The endpoint as a change left it, which the outboxes know of by now."""
    found = changed.find(endpoint_id) if changed else None
    if changed is None or found is None:
        raise NotFound(GONE)
    await endpoints.publish(_ledger(request), OUTBOXES, changed)
    return found


def _secrets(found: list[str]) -> Response:
    if not found:
        raise NotFound(GONE)
    return _json({"secret": found[0], "previous": found[1:]})


def _ledger(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
