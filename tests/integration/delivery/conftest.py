"""A courier's delivery in the test's own event loop, with a real ledger and a real receiver; and a clock that moves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1] / "ledger"))
sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from builders import QUEUE, claim, finish, submitted
from clocked import ClockedLedger, on_test_clock
from webhook_receiver import Receiver, receiver

from callboard_courier.delivery.deliverer import Rounds
from callboard_courier.settings import DeliverySettings
from callboard_shared.ids import new_id
from callboard_shared.ledger import AsyncLedger, Call, keys
from callboard_shared.ledger.deliveries import Delivery, get_delivery, list_deliveries
from callboard_shared.ledger.endpoints import create_endpoint, publish
from callboard_shared.settings import LedgerSettings
from callboard_shared.urls import Policy
from callboard_shared.webhooks import OUTBOXES, hook, new_webhook_secret

T = TypeVar("T")
OWNER = "key_ann"


class ClockedAsyncLedger(AsyncLedger):
    """By the clock that ``ClockedLedger`` moves."""

    async def run(self, call: Call[T]) -> T:
        return await super().run(on_test_clock(call))

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return await super().run_many([on_test_clock(call) for call in calls])


class Desk:
    """Jobs that end, and couriers that tell of it."""

    def __init__(self, settings: LedgerSettings) -> None:
        self.clock = ClockedLedger(settings)
        self.ledger = ClockedAsyncLedger(settings)
        self._settings = settings
        self._couriers: list[asyncio.Task[None]] = []

    def courier(self, **settings: Any) -> asyncio.Task[None]:
        """One more courier. What is not said is quick enough for tests."""
        policy = Policy(allow_private=settings.pop("allow_private", True))
        quick = DeliverySettings(**({"webhook_timeout_s": 1} | settings))
        ledger = ClockedAsyncLedger(self._settings)
        stop = asyncio.Event()
        rounds = Rounds(ledger, quick, stop.is_set, 2, policy=policy)
        task = asyncio.create_task(rounds.run())
        task.add_done_callback(lambda _: asyncio.ensure_future(ledger.close()))
        task.stop = stop.set  # type: ignore[attr-defined]
        self._couriers.append(task)
        return task

    async def endpoint(self, url: str, *events: str) -> str:
        """A new endpoint of the owner; what it is told is said in every queue's outbox."""
        endpoint_id = new_id("whe")
        made = create_endpoint(
            OWNER, endpoint_id, url=url, events=events, description="", secret=new_webhook_secret(), most=50
        )
        endpoints = await self.ledger.run(made)
        assert endpoints is not None
        await publish(self.ledger, OUTBOXES, endpoints)
        return endpoint_id

    def job(self, url: str = "", *events: str) -> str:
        """A job that has ended well; with a webhook of its own if there is a URL."""
        own = hook(events or ("job.succeeded", "job.failed"), url) if url else ""
        job = submitted(self.clock, hook=own)
        claim(self.clock)
        finish(self.clock, job.id, 1, "succeeded", output=b'{"n":1}')
        return job.id

    async def pass_time(self, seconds: float) -> None:
        """Move the ledger's clock, and have the couriers look."""
        self.clock.pass_time(int(seconds * 1000))
        await self.look()

    async def look(self) -> None:
        await self.ledger.redis.publish(keys.HOOK_NEWS, "")

    async def deliveries(self, endpoint: str = "") -> list[Delivery]:
        """All there are, oldest first."""
        found, _ = await list_deliveries(self.ledger, OWNER, limit=1000, endpoint=endpoint)
        return found[::-1]

    async def until(self, condition: Callable[[list[Delivery]], Any], within_s: float = 10) -> list[Delivery]:
        """The deliveries, once the condition holds of them."""
        async with asyncio.timeout(within_s):
            while not condition(found := await self.deliveries()):
                await asyncio.sleep(0.01)
        return found

    async def read(self, delivery_id: str) -> Delivery:
        found = await self.ledger.run(get_delivery(OWNER, delivery_id))
        assert found is not None
        return found

    async def close(self) -> None:
        for task in self._couriers:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.2)
        await asyncio.sleep(0)
        await self.ledger.close()
        self.clock.close()


@pytest.fixture
async def desk(valkey_url: str) -> AsyncIterator[Desk]:
    desk = Desk(LedgerSettings(redis_url=SecretStr(valkey_url)))
    yield desk
    await desk.close()


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


__all__ = ["QUEUE", "Desk"]
