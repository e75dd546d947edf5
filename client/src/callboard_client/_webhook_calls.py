"""The calls about webhooks, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callboard_client._calls import When, json_request, params_of, path_of, rfc3339
from callboard_client._models import Page
from callboard_client._webhook_models import Delivery, WebhookEndpoint, WebhookSecret
from callboard_client._wire import Call, Request, nothing, reading


def id_of(thing: WebhookEndpoint | Delivery | str) -> str:
    return thing if isinstance(thing, str) else thing.id


def _path(endpoint: WebhookEndpoint | str, *more: str) -> str:
    return path_of("webhook-endpoints", id_of(endpoint), *more)


def create(url: str, events: Sequence[str] | None, description: str) -> Call[WebhookEndpoint]:
    body: dict[str, Any] = {"url": url, "description": description}
    if events is not None:
        body["events"] = list(events)
    request = json_request("POST", "/v1/webhook-endpoints", body, repeatable=False)
    return Call(request, reading(WebhookEndpoint))


def list_page(limit: int, cursor: str | None) -> Call[Page[WebhookEndpoint]]:
    request = Request("GET", "/v1/webhook-endpoints", params_of(limit=limit, cursor=cursor))
    return Call(request, reading(Page[WebhookEndpoint]))


def get(endpoint: WebhookEndpoint | str) -> Call[WebhookEndpoint]:
    return Call(Request("GET", _path(endpoint)), reading(WebhookEndpoint))


def update(endpoint: WebhookEndpoint | str, changes: Mapping[str, Any]) -> Call[WebhookEndpoint]:
    return Call(json_request("PATCH", _path(endpoint), dict(changes)), reading(WebhookEndpoint))


def delete(endpoint: WebhookEndpoint | str) -> Call[None]:
    return Call(Request("DELETE", _path(endpoint)), nothing)


def test(endpoint: WebhookEndpoint | str) -> Call[Delivery]:
    return Call(Request("POST", _path(endpoint, "test"), patience_s=10, repeatable=False), reading(Delivery))


def rotate(endpoint: WebhookEndpoint | str | None) -> Call[WebhookSecret]:
    path = path_of("webhook-secret", "rotate") if endpoint is None else _path(endpoint, "rotate")
    return Call(Request("POST", path, repeatable=False), reading(WebhookSecret))


def secret(endpoint: WebhookEndpoint | str | None) -> Call[WebhookSecret]:
    path = "/v1/webhook-secret" if endpoint is None else _path(endpoint, "secret")
    return Call(Request("GET", path), reading(WebhookSecret))


def recover(endpoint: WebhookEndpoint | str, since: When) -> Call[int]:
    request = json_request("POST", _path(endpoint, "recover"), {"since": rfc3339(since)})
    return Call(request, lambda response: int(response.json()["deliveries"]))


def deliveries(
    endpoint: WebhookEndpoint | str | None,
    status: str | None,
    event: str | None,
    job_id: str | None,
    limit: int,
    cursor: str | None,
) -> Call[Page[Delivery]]:
    path = "/v1/deliveries" if endpoint is None else _path(endpoint, "deliveries")
    params = params_of(status=status, event=event, job_id=job_id, limit=limit, cursor=cursor)
    return Call(Request("GET", path, params), reading(Page[Delivery]))


def delivery(one: Delivery | str) -> Call[Delivery]:
    return Call(Request("GET", path_of("deliveries", id_of(one))), reading(Delivery))


def redeliver(one: Delivery | str) -> Call[Delivery]:
    return Call(Request("POST", path_of("deliveries", id_of(one), "redeliver")), reading(Delivery))
