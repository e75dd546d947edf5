"""A Redis that is there and may not write: a 503 that is worth trying again, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from builders import QUEUE, a_job

from callboard_shared.errors import LedgerUnavailable
from callboard_shared.ledger import AsyncLedger, Ledger, verbs


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
