"""A Redis that is there and may not write: a 503 that is worth trying again, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from builders import QUEUE, a_job
from pydantic import SecretStr

from callboard_shared.errors import LedgerUnavailable
from callboard_shared.ledger import AsyncLedger, Call, Copies, Ledger, verbs
from callboard_shared.settings import LedgerSettings


@pytest.fixture
def too_few_replicas(valkey_url: str) -> Iterator[None]:
    with redis.Redis.from_url(valkey_url) as client:
        client.config_set("min-replicas-to-write", 1)
        yield
        client.config_set("min-replicas-to-write", 0)


@pytest.fixture
def a_replica(valkey_url: str) -> Iterator[None]:
    """Of nobody, as a primary that was replaced while a failover goes on."""
    with redis.Redis.from_url(valkey_url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("state", ["too_few_replicas", "a_replica"])
async def test_a_submission_is_told_to_come_again(
    real_ledger: Ledger, aledger: AsyncLedger, request: pytest.FixtureRequest, state: str
) -> None:
    request.getfixturevalue(state)
    submission = verbs.submit(QUEUE, [a_job()])
    with pytest.raises(LedgerUnavailable):
        real_ledger.run(submission)
    with pytest.raises(LedgerUnavailable):
        await aledger.run(submission)
    assert isinstance(real_ledger.run_many([submission])[0], LedgerUnavailable)


ID: Call[int] = Call(("CLIENT", "ID"), int)
"""Which connection the client speaks by."""


def test_a_connection_to_what_is_a_replica_now_is_left(real_ledger: Ledger, a_replica: None) -> None:
    before = real_ledger.run(ID)
    with pytest.raises(LedgerUnavailable):
        real_ledger.run(verbs.submit(QUEUE, [a_job()]))
    after = real_ledger.run(ID)
    assert after != before
    assert isinstance(real_ledger.run_many([verbs.submit(QUEUE, [a_job()])])[0], LedgerUnavailable)
    assert real_ledger.run(ID) != after


@pytest.mark.parametrize("copies", [Copies(), Copies(replicas=1)])
async def test_so_does_the_client_that_does_not_block(
    valkey_url: str, a_replica: None, copies: Copies
) -> None:
    ledger = AsyncLedger(LedgerSettings(redis_url=SecretStr(valkey_url)), copies=copies)
    before = await ledger.run(ID)
    with pytest.raises(LedgerUnavailable):
        await ledger.run(verbs.submit(QUEUE, [a_job()]))
    after = await ledger.run(ID)
    assert after != before
    assert isinstance((await ledger.run_many([verbs.submit(QUEUE, [a_job()])]))[0], LedgerUnavailable)
    assert await ledger.run(ID) != after
    await ledger.close()
