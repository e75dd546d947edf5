"""What is kept, for how long, and how it is found again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders import OWNER, QUEUE, RUNNER, a_job, claim, finish, read, submit, submitted
from clocked import START_MS, ClockedLedger

from callboard_shared.files import FileRecord
from callboard_shared.ids import new_id
from callboard_shared.ledger import AsyncLedger, JobRecord, Ledger, filing, settling, upkeep, verbs
from callboard_shared.ledger.keys import of
from callboard_shared.ledger.lookup import find_job, list_jobs, read_jobs

QUEUES = ("nlp", "llm", "tts")


def keys_that_name(ledger: ClockedLedger, job_id: str) -> list[str]:
    """Every key whose name or content holds the id."""

    def contents(key: bytes) -> Iterator[bytes]:
        match ledger.redis.type(key):
            case b"string":
                yield ledger.redis.get(key) or b""
            case b"hash":
                yield from (part for pair in ledger.redis.hgetall(key).items() for part in pair)
            case b"set":
                yield from ledger.redis.smembers(key)
            case b"zset":
                yield from ledger.redis.zrange(key, 0, -1)
            case b"list":
                yield from ledger.redis.lrange(key, 0, -1)
            case b"stream":
                yield from (part for _, fields in ledger.redis.xrange(key) for part in fields.values())

    sought = job_id.encode()
    return [
        key.decode()
        for key in ledger.redis.scan_iter()
        if sought in key or any(sought in part for part in contents(key))
    ]


def ended_job(ledger: ClockedLedger) -> str:
    """A job with all that a job can leave behind."""
    job = submitted(ledger, retention_ms=1_000, expires_in_ms=60_000, watcher="gw", after=("job_before",))
    ledger.run(settling.settle(job.id, QUEUE, "job_before", "succeeded"))
    ledger.run(settling.depend(job.id, QUEUE, "job_later", "llm"))
    claim(ledger)
    ledger.run(verbs.report(QUEUE, RUNNER, job.id, 1, [("log", b"{}")], b"{}"))
    finish(ledger, job.id, 1, "succeeded", output=b"1", files=("file_1", "file_2"))
    for row in ledger.run(verbs.sweep(QUEUE)).settle:
        ledger.run(settling.settled(QUEUE, row))
    return job.id


def test_a_job_is_kept_until_its_retention_ends_and_then_no_key_remains(ledger: ClockedLedger) -> None:
    job_id = ended_job(ledger)
    ledger.pass_time(999)
    assert ledger.run(verbs.sweep(QUEUE)).forgotten == 0
    assert len(keys_that_name(ledger, job_id)) == 7  # its hash, spec, output, events; in ended, owned, expiry
    ledger.pass_time(1)
    swept = ledger.run(verbs.sweep(QUEUE))
    assert (swept.forgotten, swept.files) == (1, ["file_1", "file_2"])
    assert keys_that_name(ledger, job_id) == []


def test_deleting_an_ended_job_leaves_no_key_and_tells_its_files(ledger: ClockedLedger) -> None:
    job_id = ended_job(ledger)
    assert ledger.run(verbs.delete(job_id, QUEUE)) == ("deleted", ["file_1", "file_2"])
    assert keys_that_name(ledger, job_id) == []
    assert ledger.run(verbs.delete(job_id, QUEUE)) == ("missing", [])


def test_an_unfinished_job_is_not_deleted(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    assert ledger.run(verbs.delete(job.id, QUEUE)) == ("unfinished", [])
    claim(ledger)
    assert ledger.run(verbs.delete(job.id, QUEUE)) == ("unfinished", [])
    assert read(ledger, job.id).attempt == 1


def test_waiting_jobs_are_never_forgotten(ledger: ClockedLedger) -> None:
    job = submitted(ledger, retention_ms=1)
    ledger.pass_time(10 * 86_400_000)
    assert ledger.run(verbs.sweep(QUEUE)).forgotten == 0
    assert claim(ledger).jobs[0].id == job.id


def test_one_sweeper_holds_the_lock_until_it_falls_silent(real_ledger: Ledger) -> None:
    assert real_ledger.run(upkeep.hold_sweep_lock("one", 60_000)) is True
    assert real_ledger.run(upkeep.hold_sweep_lock("two", 60_000)) is False
    assert real_ledger.run(upkeep.hold_sweep_lock("one", 1)) is True
    while not real_ledger.run(upkeep.hold_sweep_lock("two", 60_000)):
        pass


async def all_pages(ledger: AsyncLedger, limit: int, **filters: object) -> list[list[JobRecord]]:
    pages, before = [], None
    while True:
        page, before = await list_jobs(ledger, QUEUES, OWNER, limit=limit, before=before, **filters)  # type: ignore[arg-type]
        pages.append(page)
        if before is None:
            return pages


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_pages_are_complete_and_without_repeats_though_times_are_equal(
    ledger: ClockedLedger, aledger: AsyncLedger, limit: int
) -> None:
    """All of one millisecond, over three queues; one queue alone has more than is fetched at a time."""
    jobs = [a_job(queue=queue) for queue, n in (("nlp", 230), ("llm", 20), ("tts", 0)) for _ in range(n)]
    for queue in ("nlp", "llm"):
        submit(ledger, *(job for job in jobs if job.queue == queue))
    submit(ledger, a_job(owner="key_bob"))
    ledger.pass_time(1)
    newest = submitted(ledger)
    listed = [record for page in await all_pages(aledger, limit) for record in page]
    assert [record.id for record in listed] == [newest.id, *sorted((job.id for job in jobs), reverse=True)]


async def test_the_last_page_names_no_next_one(ledger: ClockedLedger, aledger: AsyncLedger) -> None:
    for _ in range(6):
        submitted(ledger)
        ledger.pass_time(1)
    assert [len(page) for page in await all_pages(aledger, 3)] == [3, 3]
    assert await list_jobs(aledger, QUEUES, "key_nobody", limit=3) == ([], None)


async def test_jobs_submitted_while_paging_do_not_disturb_the_pages(
    ledger: ClockedLedger, aledger: AsyncLedger
) -> None:
    ids = []
    for _ in range(10):
        ids.append(submitted(ledger).id)
        ledger.pass_time(1)
    page, before = await list_jobs(aledger, QUEUES, OWNER, limit=4)
    submitted(ledger)
    rest, _ = await list_jobs(aledger, QUEUES, OWNER, limit=100, before=before)
    assert [record.id for record in page + rest] == ids[::-1]


async def test_lists_can_be_filtered_by_time_and_by_anything_else(
    ledger: ClockedLedger, aledger: AsyncLedger
) -> None:
    for n in range(10):
        submitted(ledger, priority=n)
        ledger.pass_time(10)
    page, before = await list_jobs(
        aledger, QUEUES, OWNER, limit=100, created_after_ms=START_MS + 30, created_before_ms=START_MS + 60
    )
    assert ([record.priority for record in page], before) == ([6, 5, 4, 3], None)
    odd = [
        record.priority
        for page in await all_pages(aledger, 2, keep=lambda r: r.priority % 2)
        for record in page
    ]
    assert odd == [9, 7, 5, 3, 1]


async def test_a_job_is_found_whatever_its_queue(ledger: ClockedLedger, aledger: AsyncLedger) -> None:
    job = submitted(ledger, queue="tts")
    found = await find_job(aledger, QUEUES, job.id)
    assert found is not None and (found.id, found.queue) == (job.id, "tts")
    assert await find_job(aledger, QUEUES, new_id("job")) is None
    records = await read_jobs(aledger, [("llm", "job_x"), ("tts", job.id)])
    assert [record and record.id for record in records] == [None, job.id]


def a_file(created_ms: int, expires_ms: int | None = None, owner: str = OWNER) -> FileRecord:
    return FileRecord(
        new_id("file"), owner, "a.txt", "text/plain", 3, "0" * 64, None, created_ms, expires_ms=expires_ms
    )


async def test_files_are_listed_newest_first_page_by_page(aledger: AsyncLedger) -> None:
    files = [a_file(created_ms=1_000 + n // 4) for n in range(10)]
    await aledger.run_many([filing.put_file(record) for record in [*files, a_file(5, owner="key_bob")]])
    listed: list[FileRecord] = []
    pages, before = 0, None
    while pages == 0 or before is not None:
        page, before = await filing.list_files(aledger, OWNER, limit=3, before=before)
        listed += page
        pages += 1
    assert pages == 4
    assert listed == sorted(files, key=lambda record: (record.created_ms, record.id), reverse=True)


async def test_a_file_is_found_until_it_is_deleted(aledger: AsyncLedger) -> None:
    record = a_file(created_ms=1, expires_ms=2)
    await aledger.run(filing.put_file(record))
    assert await aledger.run(filing.get_file(record.id)) == record
    assert await aledger.run(filing.delete_file(record.id, OWNER)) is True
    assert await aledger.run(filing.delete_file(record.id, OWNER)) is False
    assert await aledger.run(filing.get_file(record.id)) is None
    assert await aledger.redis.keys("cb:{files}:*") == []


async def test_only_files_past_their_time_are_told_as_expired(aledger: AsyncLedger) -> None:
    far = 4_000_000_000_000
    old, current, kept = a_file(1, expires_ms=2), a_file(1, expires_ms=far), a_file(1)
    await aledger.run_many([filing.put_file(record) for record in (old, current, kept)])
    assert await aledger.run(filing.expired_files()) == [old]


def test_the_owners_list_names_ids_with_their_times(ledger: ClockedLedger) -> None:
    job = submitted(ledger)
    assert ledger.run(verbs.owned(QUEUE, OWNER, None, None, 10)) == [(job.id, START_MS)]
    assert ledger.redis.exists(of(QUEUE, "owned", OWNER)) == 1
