"""What a crash leaves in the object store without a record is found and removed; all else stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from callboard_courier import orphans as module
from callboard_courier.orphans import OLD_S, Orphans
from callboard_shared.files import FileRecord, Files, LocalStore
from callboard_shared.ids import new_id
from callboard_shared.ledger import Ledger, NewJob, filing, verbs
from callboard_shared.settings import LedgerSettings


@pytest.fixture
def ledger(valkey_url: str) -> Ledger:
    return Ledger(LedgerSettings(redis_url=SecretStr(valkey_url)))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(LocalStore(tmp_path / "files"))


def stored(files: Files, age_s: float = OLD_S + 60, **fields: Any) -> FileRecord:
    """A content without a record."""
    record = files.put_bytes("key_1", "a.txt", b"x", **fields)
    then = time.time() - age_s
    assert isinstance(files.store, LocalStore)
    os.utime(files.store.path(record.id), (then, then))
    return record


def left(files: Files) -> set[str]:
    return {content.file_id for content in files.store.contents()}


def test_an_orphan_goes_and_what_is_on_record_stays(ledger: Ledger, files: Files) -> None:
    kept, orphan = stored(files), stored(files)
    ledger.run(filing.put_file(kept))
    assert Orphans(ledger, files).look() == 1
    assert left(files) == {kept.id}
    assert orphan.id not in left(files)


def test_a_young_content_may_still_be_on_its_way_to_its_record(ledger: Ledger, files: Files) -> None:
    young = stored(files, age_s=OLD_S - 60)
    assert Orphans(ledger, files).look() == 0
    assert left(files) == {young.id}


def test_a_look_goes_on_where_the_last_one_ended(
    ledger: Ledger, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 4)
    known = [stored(files) for _ in range(3)]
    for record in known:
        ledger.run(filing.put_file(record))
    for _ in range(7):
        stored(files)
    orphans = Orphans(ledger, files)
    removed = [orphans.look() for _ in range(4)]
    assert max(removed) <= 4
    assert sum(removed) == 7
    assert left(files) == {record.id for record in known}


def test_a_ledger_that_knows_nothing_of_a_store_is_doubted(ledger: Ledger, files: Files) -> None:
    contents = {stored(files).id for _ in range(module.DOUBT + 1)}
    with capture_logs() as logs:
        assert Orphans(ledger, files).look() == 0
    assert left(files) == contents
    assert [entry["event"] for entry in logs] == ["orphans.doubtful"]


def test_what_a_forgotten_job_made_goes_and_what_others_hold_stays(ledger: Ledger, files: Files) -> None:
    """As if the courier had died between forgetting a job and deleting its files."""
    here, gone = new_id("job"), new_id("job")
    ledger.run(verbs.submit("nlp", [NewJob(here, "nlp.embed", "nlp", "key_1", b"{}")]))
    left_behind = stored(files, job_id=gone)
    stays = [
        stored(files, job_id=here),
        stored(files, job_id=gone, held_by="a model"),
        stored(files, job_id=gone, expires_ms=4_000_000_000_000),
        stored(files, job_id=gone, age_s=60),
        stored(files),
    ]
    for record in (left_behind, *stays):
        ledger.run(filing.put_file(record))
    assert Orphans(ledger, files).look() == 1
    assert left(files) == {record.id for record in stays}
    assert ledger.run(filing.get_file(left_behind.id)) is None
    assert ledger.run(filing.stored_bytes("key_1")) == len(stays)
