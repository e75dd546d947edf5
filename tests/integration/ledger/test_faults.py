"""A ledger that is full, away, stopped or fresh; and what a waiting job costs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

from builders import QUEUE, RUNNER, a_job, claim, finish, read, submit, submitted
from own_valkey import EVERY_WRITE, Server
from pydantic import SecretStr

from callboard_shared.errors import LedgerFull, LedgerUnavailable
from callboard_shared.ledger import AsyncLedger, Ledger, Submitted, verbs
from callboard_shared.ledger.client import ledger_errors
from callboard_shared.settings import LedgerSettings
from callboard_shared.states import JobStatus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "valkey", EVERY_WRITE)
    yield server
    server.end()


@pytest.fixture
def its_ledger(server: Server) -> Iterator[Ledger]:
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(server.url)))
    yield ledger
    ledger.close()


def test_a_full_ledger_refuses_new_jobs_while_accepted_ones_end(valkey_url: str, real_ledger: Ledger) -> None:
    running, waiting = submitted(real_ledger), submitted(real_ledger)
    claim(real_ledger)
    with redis.Redis.from_url(valkey_url) as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(LedgerFull) as refusal:
            submit(real_ledger, a_job())
        assert (refusal.value.problem()["code"], refusal.value.status) == ("queue-full", 503)
        (in_a_row,) = real_ledger.run_many([verbs.submit(QUEUE, [a_job()])])
        assert isinstance(in_a_row, LedgerFull)
        assert finish(real_ledger, running.id, 1, "succeeded", output=b"1") == "committed"
        assert real_ledger.run(verbs.sweep(QUEUE)).forgotten == 0
        assert [job.id for job in claim(real_ledger).jobs] == [waiting.id]
        assert real_ledger.run(verbs.report(QUEUE, RUNNER, waiting.id, 1, [("log", b"{}")], b"{}")) == "held"
        assert finish(real_ledger, waiting.id, 1, "retry", error=b"{}") == "committed"
        assert real_ledger.run(verbs.cancel(waiting.id, QUEUE)) == "ended"
        assert real_ledger.run(verbs.delete(waiting.id, QUEUE))[0] == "deleted"
        client.config_set("maxmemory", 0)
    submitted(real_ledger)


def test_scripts_that_the_server_forgot_are_sent_again(valkey_url: str, real_ledger: Ledger) -> None:
    first = submitted(real_ledger)
    with redis.Redis.from_url(valkey_url) as client:
        client.script_flush()
    replies = real_ledger.run_many([verbs.submit(QUEUE, [a_job()]), verbs.read(QUEUE, [first.id])])
    assert replies[0].results[0].position == 2
    with redis.Redis.from_url(valkey_url) as client:
        client.script_flush()
    assert read(real_ledger, first.id).status is JobStatus.QUEUED


def test_a_killed_ledger_is_unavailable_and_used_again_by_the_same_client_when_it_is_back(
    server: Server, its_ledger: Ledger
) -> None:
    job = submitted(its_ledger)
    server.kill()
    asked = time.monotonic()
    with pytest.raises(LedgerUnavailable) as error:
        submit(its_ledger, a_job())
    assert time.monotonic() - asked < 2
    assert (error.value.status, error.value.retryable) == (503, True)
    with pytest.raises(LedgerUnavailable):
        its_ledger.run_many([verbs.read(QUEUE, [job.id])])
    with pytest.raises(LedgerUnavailable):
        its_ledger.wait_any(["list"], 0.1)
    server.start()
    assert read(its_ledger, job.id).status is JobStatus.QUEUED
    assert its_ledger.wait_any(["list"], 0.05) is None


def test_a_connection_that_uvloop_has_just_closed_is_a_ledger_that_is_away(valkey_url: str) -> None:
    async def write_to_what_is_closed() -> None:
        parts = urlsplit(valkey_url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.transport.abort()
        await asyncio.sleep(0)
        with ledger_errors():
            writer.writelines([b"PING"])

    with pytest.raises(LedgerUnavailable) as error:
        uvloop.run(write_to_what_is_closed())
    assert isinstance(error.value.__cause__, RuntimeError)


def test_a_ledger_that_does_not_answer_is_unavailable_within_two_seconds(
    server: Server, its_ledger: Ledger
) -> None:
    job = submitted(its_ledger)
    server.freeze()
    try:
        asked = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            its_ledger.run(verbs.read(QUEUE, [job.id]))
        assert time.monotonic() - asked < 2
    finally:
        server.thaw()
    assert read(its_ledger, job.id).status is JobStatus.QUEUED


def test_a_submission_that_a_stopped_ledger_did_not_answer_is_one_job_when_it_is_repeated(
    server: Server, its_ledger: Ledger
) -> None:
    submitted(its_ledger)
    job = a_job()
    server.freeze()
    with pytest.raises(LedgerUnavailable, match="may have been accepted"):
        submit(its_ledger, job)
    server.thaw()
    (result,) = submit(its_ledger, job)
    assert isinstance(result, Submitted) and result.existed  # the ledger had read it all the same
    assert [claimed.id for claimed in claim(its_ledger, max_jobs=5).jobs].count(job.id) == 1


async def test_the_client_that_does_not_block_does_the_same(server: Server) -> None:
    ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(server.url)))
    job = a_job()
    await ledger.run(verbs.submit(QUEUE, [job]))
    server.freeze()
    asked = time.monotonic()
    answers = await asyncio.gather(
        ledger.run(verbs.read(QUEUE, [job.id])),
        ledger.run_many([verbs.submit(QUEUE, [a_job()])]),
        return_exceptions=True,
    )
    assert time.monotonic() - asked < 2
    assert [type(answer) for answer in answers] == [LedgerUnavailable, LedgerUnavailable]
    server.thaw()
    (record,) = await ledger.run(verbs.read(QUEUE, [job.id]))
    assert record is not None
    server.kill()
    with pytest.raises(LedgerUnavailable):
        await ledger.run(verbs.read(QUEUE, [job.id]))
    server.start()
    (record,) = await ledger.run(verbs.read(QUEUE, [job.id]))
    assert record is not None
    await ledger.close()


async def test_waiting_on_lists_ends_with_an_item_or_with_the_time_and_may_be_given_up(
    aledger: AsyncLedger, real_ledger: Ledger
) -> None:
    await aledger.redis.rpush("list-b", "item")
    assert await aledger.wait_any(["list-a", "list-b"], 1) == b"item"
    assert await aledger.wait_any(["list-a", "list-b"], 0.05) is None
    given_up = asyncio.create_task(aledger.wait_any(["list-a"], 5))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await aledger.redis.rpush("list-a", "for the next one")
    assert real_ledger.wait_any(["list-a"], 1) == b"for the next one"


def test_a_small_job_that_waits_takes_at_most_a_kilobyte(valkey_url: str, real_ledger: Ledger) -> None:
    def used(client: redis.Redis) -> int:
        return int(client.info("memory")["used_memory"])

    jobs = 20_000
    spec = (
        b'{"input":{"texts":["A short text, as such jobs have."],"model":"all-MiniLM-L6-v2"},"metadata":{}}'
    )
    with redis.Redis.from_url(valkey_url) as client:
        submit(real_ledger, a_job(spec=spec))  # the scripts
        before = used(client)
        for _ in range(jobs // 500):
            batch = [
                a_job(spec=spec, batch_key="nlp.embed|all-MiniLM-L6-v2", expires_in_ms=86_400_000, weight=32)
                for _ in range(500)
            ]
            submit(real_ledger, *batch)
        per_job = (used(client) - before) / jobs
    print(f"{per_job:.0f} bytes a waiting job")
    assert per_job <= 1024


async def test_more_questions_at_once_than_connections_are_all_answered(settings: LedgerSettings) -> None:
    ledger = AsyncLedger(settings, max_connections=4)
    others = {client["id"] for client in await ledger.redis.client_list()}  # of earlier tests, and this one
    answers = await asyncio.gather(*(ledger.run(verbs.queue_stats(QUEUE)) for _ in range(200)))
    assert len(answers) == 200
    assert len({client["id"] for client in await ledger.redis.client_list()} - others) <= 3
    await ledger.close()


async def test_a_question_given_up_does_not_answer_the_next_one(server: Server) -> None:
    ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(server.url)), max_connections=1)
    job = a_job()
    await ledger.run(verbs.submit(QUEUE, [job]))
    server.freeze()
    for call in (verbs.queue_stats(QUEUE), verbs.owned(QUEUE, "key_ann", None, None, 10)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ledger.run(call)
    server.thaw()
    (record,) = await ledger.run(verbs.read(QUEUE, [job.id]))
    assert record is not None and record.id == job.id
    assert (await ledger.run(verbs.queue_stats(QUEUE))).ready == 1
    await ledger.close()
