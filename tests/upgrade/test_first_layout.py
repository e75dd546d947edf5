"""Data from before there were versions: the URL of a job's webhook joins it, and stored bytes are counted."""

from __future__ import annotations

import json

import redis

from callboard_shared.files import FileRecord
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ledger, NewJob, keys, outbox, schema, verbs
from callboard_shared.ledger.filing import put_file, stored_bytes
from callboard_shared.ledger.migrations import MIGRATIONS
from callboard_shared.ledger.records import Ended

URL = "https://example.com/hook?a=b c"


def job(hook: str, webhook: object = None, queue: str = "nlp") -> NewJob:
    spec = {"input": {}, "metadata": {}} | ({"webhook": webhook} if webhook else {})
    return NewJob(new_id("job"), "nlp.embed", queue, "key_1", json.dumps(spec).encode(), hook=hook)


def as_it_was(server: redis.Redis) -> None:
    """What this code has written becomes what code of then would have."""
    server.delete(keys.SCHEMA, keys.FILES_BYTES)


def end(ledger: Ledger, job_id: str) -> None:
    limits = {"nlp.embed": (10, 0)}
    claimed = ledger.run(verbs.claim("nlp", "by hand", limits=limits, max_jobs=10, lease_ms=9_000)).jobs
    (attempt,) = [one.attempt for one in claimed if one.id == job_id]
    ended = Ended(job_id, attempt, "succeeded", output=b"{}")
    assert ledger.run(verbs.finish("nlp", "by hand", [ended])).results == ["committed"]


def test_a_webhook_that_was_asked_for_then_is_told_now(ledger: Ledger, server: redis.Redis) -> None:
    hooked = job("succeeded,failed", {"url": URL, "events": ["job.succeeded", "job.failed"]})
    plain, newer = job(""), job(f"succeeded {URL}", {"url": URL, "events": ["job.succeeded"]})
    ledger.run(verbs.submit("nlp", [hooked, plain, newer]))
    as_it_was(server)
    assert schema.ensure(ledger) == 0
    end(ledger, hooked.id)
    (row,) = ledger.run(outbox.take_rows("nlp", "courier"))
    assert isinstance(row, outbox.OutboxRow)
    assert (row.subject, row.event, row.url) == (hooked.id, "job.succeeded", URL)
    kept = [server.hget(keys.of("nlp", "job", one.id), "hook") for one in (plain, newer)]
    assert kept == [None, f"succeeded {URL}".encode()]


def test_what_each_key_has_stored_is_counted_from_the_records(ledger: Ledger, server: redis.Redis) -> None:
    for owner, size in (("key_1", 5), ("key_1", 2**40), ("key_2", 7)):
        record = FileRecord(new_id("file"), owner, "a", "text/plain", size, "", None, 1)
        assert ledger.run(put_file(record)) is None
    before = {owner: ledger.run(stored_bytes(owner)) for owner in ("key_1", "key_2")}
    as_it_was(server)
    assert schema.ensure(ledger) == 0
    assert (
        {owner: ledger.run(stored_bytes(owner)) for owner in before}
        == before
        == {"key_1": 2**40 + 5, "key_2": 7}
    )


def test_a_count_that_was_killed_half_way_counts_nothing_twice(ledger: Ledger, server: redis.Redis) -> None:
    for _ in range(2_000):
        ledger.run(put_file(FileRecord(new_id("file"), "key_1", "a", "text/plain", 3, "", None, 1)))
    as_it_was(server)
    steps = MIGRATIONS[0].steps(ledger)
    while (counted := ledger.run(stored_bytes("key_1"))) == 0:
        next(steps)
    assert counted < 6_000
    assert schema.ensure(ledger) == 0
    assert ledger.run(stored_bytes("key_1")) == 6_000
    assert not server.exists(keys.MIGRATED_FILES)


def test_data_of_this_layout_without_a_version_stay_as_they_are(ledger: Ledger, server: redis.Redis) -> None:
    """As the code of the day before versions wrote them."""
    ledger.run(verbs.submit("nlp", [job(f"succeeded {URL}", {"url": URL, "events": ["job.succeeded"]})]))
    ledger.run(put_file(FileRecord(new_id("file"), "key_1", "a", "text/plain", 5, "", None, 1)))
    before = {key: server.dump(key) for key in server.keys("*")}
    assert schema.ensure(ledger) == 0
    after = {key: server.dump(key) for key in server.keys("*")}
    assert after.pop(keys.SCHEMA.encode()) is not None
    assert after == before


def test_many_jobs_are_migrated_page_by_page(ledger: Ledger, server: redis.Redis) -> None:
    webhook = {"url": URL, "events": ["job.failed"]}
    jobs = [job("failed", webhook) for _ in range(2_500)]
    for start in range(0, len(jobs), 500):
        ledger.run(verbs.submit("nlp", jobs[start : start + 500]))
    as_it_was(server)
    schema.ensure(ledger)
    hooks = {server.hget(keys.of("nlp", "job", one.id), "hook") for one in jobs}
    assert hooks == {f"failed {URL}".encode()}
