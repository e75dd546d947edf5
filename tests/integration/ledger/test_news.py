"""Whoever waits for a job hears of its changes, also after the connection was cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from builders import QUEUE, RUNNER, a_job, claim, finish

from callboard_shared.ledger import AsyncLedger, Ledger, NewJob, verbs
from callboard_shared.ledger.keys import NEWS, of
from callboard_shared.ledger.news import Bulletin, News
from callboard_shared.states import JobStatus

SOON_S = 5.0


@pytest.fixture
async def news(aledger: AsyncLedger) -> AsyncIterator[News]:
    """News that has subscribed."""
    news = News(aledger)
    await news.start()
    await subscribers(aledger, news, 1)
    yield news
    await news.stop()


async def subscribers(ledger: AsyncLedger, news: News, n: int) -> None:
    async with asyncio.timeout(SOON_S):
        while dict(await ledger.redis.pubsub_numsub(NEWS + news.name)).get((NEWS + news.name).encode()) != n:
            await asyncio.sleep(0.01)


async def next_change(bulletin: Bulletin) -> None:
    assert await bulletin.wait(SOON_S), "nothing was told"


async def submit(ledger: AsyncLedger, watcher: str = "") -> NewJob:
    job = a_job(watcher=watcher)
    await ledger.run(verbs.submit(QUEUE, [job]))
    return job


async def test_a_waiter_hears_of_the_start_the_progress_and_the_end(
    aledger: AsyncLedger, real_ledger: Ledger, news: News
) -> None:
    job = a_job(watcher=news.name)
    async with news.expect(job.id) as bulletin:
        await bulletin.wait(0)  # what the subscription itself woke
        await aledger.run(verbs.submit(QUEUE, [job]))
        claim(real_ledger)
        await next_change(bulletin)
        real_ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, [("log", b"{}")]))
        await next_change(bulletin)
        finish(real_ledger, job.id, 1, "succeeded")
        await next_change(bulletin)
    (record,) = await aledger.run(verbs.read(QUEUE, [job.id]))
    assert record is not None and record.status is JobStatus.SUCCEEDED


async def test_a_job_that_exists_can_be_watched_by_several_at_once(aledger: AsyncLedger, news: News) -> None:
    job = await submit(aledger)
    async with news.watch(job.id, QUEUE) as one, news.watch(job.id, QUEUE) as two:
        assert news.watched == 1
        await aledger.run(verbs.cancel(job.id, QUEUE))
        await next_change(one)
        await next_change(two)
    assert news.watched == 0
    assert await aledger.redis.hget(of(QUEUE, "job", job.id), "watch") == f"{news.name} ".encode()


async def test_two_gateways_hear_of_the_same_job(aledger: AsyncLedger, news: News) -> None:
    other = News(aledger)
    await other.start()
    await subscribers(aledger, other, 1)
    job = await submit(aledger, watcher=other.name)
    async with news.watch(job.id, QUEUE) as here, other.expect(job.id) as there:
        await aledger.run(verbs.cancel(job.id, QUEUE))
        await next_change(here)
        await next_change(there)
    await other.stop()


async def test_nothing_is_told_of_other_jobs(aledger: AsyncLedger, news: News) -> None:
    watched, other = await submit(aledger), await submit(aledger, watcher=news.name)
    async with news.watch(watched.id, QUEUE) as bulletin:
        await aledger.run(verbs.cancel(other.id, QUEUE))
        assert await bulletin.wait(0.2) is False


async def test_watching_a_job_that_is_not_there_waits_in_vain_but_harms_nothing(news: News) -> None:
    async with news.watch("job_nobody", QUEUE) as bulletin:
        assert await bulletin.wait(0.05) is False


async def test_after_its_connection_was_cut_it_wakes_all_and_hears_again(
    aledger: AsyncLedger, news: News
) -> None:
    job = await submit(aledger, watcher=news.name)
    async with news.expect(job.id) as bulletin:
        await aledger.redis.client_kill_filter(_type="pubsub")
        await next_change(bulletin)  # told to look again, since something may have been missed
        await subscribers(aledger, news, 1)
        while await bulletin.wait(0.2):
            pass
        await aledger.run(verbs.cancel(job.id, QUEUE))
        await next_change(bulletin)


async def test_whoever_waited_before_the_subscription_stood_looks_again_when_it_stands(
    aledger: AsyncLedger,
) -> None:
    news = News(aledger)
    async with news.expect("job_early") as bulletin:
        await news.start()
        await next_change(bulletin)
        await subscribers(aledger, news, 1)
    await news.stop()
