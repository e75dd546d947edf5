"""Webhooks, for both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from callboard_client import _webhook_calls as calls
from callboard_client._calls import When
from callboard_client._drivers import AsyncWire, SyncWire
from callboard_client._models import Job
from callboard_client._paging import Pages
from callboard_client._webhook_models import Delivery, WebhookEndpoint, WebhookSecret


class Webhooks:
    """``callboard.webhooks``. Where ``endpoint`` may be left out, it is about what goes to the URLs of single
    jobs, which the key's own secret signs."""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def create(
        self, url: str, *, events: Sequence[str] | None = None, description: str = ""
    ) -> WebhookEndpoint:
        """Have these events (every ending, if not said) of this key's jobs posted to a URL. ``secret`` is in the
        answer."""
        return self._wire.send(calls.create(url, events, description))

    def list(self, *, limit: int | None = None) -> Iterator[WebhookEndpoint]:
        """Endpoints of this key, newest first, page after page."""
        return self._wire.walk(Pages(calls.list_page, limit))

    def get(self, endpoint: WebhookEndpoint | str) -> WebhookEndpoint:
        return self._wire.send(calls.get(endpoint))

    def update(self, endpoint: WebhookEndpoint | str, **changes: Any) -> WebhookEndpoint:
        """Changes ``url``, ``events``, ``description`` or ``enabled``; what is not named stays."""
        return self._wire.send(calls.update(endpoint, changes))

    def delete(self, endpoint: WebhookEndpoint | str) -> None:
        """Nothing more is posted there."""
        self._wire.send(calls.delete(endpoint))

    def test(self, endpoint: WebhookEndpoint | str) -> Delivery:
        """Post a ``webhook.test`` event now, and come back with its delivery once that was tried."""
        return self._wire.send(calls.test(endpoint))

    def secret(self, endpoint: WebhookEndpoint | str | None = None) -> WebhookSecret:
        """What signs: the endpoint's secret, or the key's own."""
        return self._wire.send(calls.secret(endpoint))

    def rotate(self, endpoint: WebhookEndpoint | str | None = None) -> WebhookSecret:
        """A new secret. The one before signs too, for 24 hours."""
        return self._wire.send(calls.rotate(endpoint))

    def deliveries(
        self,
        endpoint: WebhookEndpoint | str | None = None,
        *,
        status: str | None = None,
        event: str | None = None,
        job: Job | str | None = None,
        limit: int | None = None,
    ) -> Iterator[Delivery]:
        """Deliveries of this key, or to one endpoint, newest first, page after page."""
        job_id = job if job is None or isinstance(job, str) else job.id
        return self._wire.walk(
            Pages(lambda page, cursor: calls.deliveries(endpoint, status, event, job_id, page, cursor), limit)
        )

    def delivery(self, delivery: Delivery | str) -> Delivery:
        """A delivery with each try."""
        return self._wire.send(calls.delivery(delivery))

    def redeliver(self, delivery: Delivery | str) -> Delivery:
        """Post it again, under the same ``webhook-id``."""
        return self._wire.send(calls.redeliver(delivery))

    def recover(self, endpoint: WebhookEndpoint | str, since: When) -> int:
        """Make all deliveries again that failed since then; gives how many."""
        return self._wire.send(calls.recover(endpoint, since))


class AsyncWebhooks:
    """``callboard.webhooks``. Where ``endpoint`` may be left out, it is about what goes to the URLs of single
    jobs, which the key's own secret signs."""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def create(
        self, url: str, *, events: Sequence[str] | None = None, description: str = ""
    ) -> WebhookEndpoint:
        """Have these events (every ending, if not said) of this key's jobs posted to a URL. ``secret`` is in the
        answer."""
        return await self._wire.send(calls.create(url, events, description))

    def list(self, *, limit: int | None = None) -> AsyncIterator[WebhookEndpoint]:
        """Endpoints of this key, newest first, page after page."""
        return self._wire.walk(Pages(calls.list_page, limit))

    async def get(self, endpoint: WebhookEndpoint | str) -> WebhookEndpoint:
        return await self._wire.send(calls.get(endpoint))

    async def update(self, endpoint: WebhookEndpoint | str, **changes: Any) -> WebhookEndpoint:
        """Changes ``url``, ``events``, ``description`` or ``enabled``; what is not named stays."""
        return await self._wire.send(calls.update(endpoint, changes))

    async def delete(self, endpoint: WebhookEndpoint | str) -> None:
        """Nothing more is posted there."""
        await self._wire.send(calls.delete(endpoint))

    async def test(self, endpoint: WebhookEndpoint | str) -> Delivery:
        """Post a ``webhook.test`` event now, and come back with its delivery once that was tried."""
        return await self._wire.send(calls.test(endpoint))

    async def secret(self, endpoint: WebhookEndpoint | str | None = None) -> WebhookSecret:
        """What signs: the endpoint's secret, or the key's own."""
        return await self._wire.send(calls.secret(endpoint))

    async def rotate(self, endpoint: WebhookEndpoint | str | None = None) -> WebhookSecret:
        """A new secret. The one before signs too, for 24 hours."""
        return await self._wire.send(calls.rotate(endpoint))

    def deliveries(
        self,
        endpoint: WebhookEndpoint | str | None = None,
        *,
        status: str | None = None,
        event: str | None = None,
        job: Job | str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Delivery]:
        """Deliveries of this key, or to one endpoint, newest first, page after page."""
        job_id = job if job is None or isinstance(job, str) else job.id
        return self._wire.walk(
            Pages(lambda page, cursor: calls.deliveries(endpoint, status, event, job_id, page, cursor), limit)
        )

    async def delivery(self, delivery: Delivery | str) -> Delivery:
        """A delivery with each try."""
        return await self._wire.send(calls.delivery(delivery))

    async def redeliver(self, delivery: Delivery | str) -> Delivery:
        """Post it again, under the same ``webhook-id``."""
        return await self._wire.send(calls.redeliver(delivery))

    async def recover(self, endpoint: WebhookEndpoint | str, since: When) -> int:
        """Make all deliveries again that failed since then; gives how many."""
        return await self._wire.send(calls.recover(endpoint, since))
