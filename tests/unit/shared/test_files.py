from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard_shared.errors import NotFound, TooLarge
from callboard_shared.file_names import clean_name
from callboard_shared.files import (
    AsyncFiles,
    FileRecord,
    Files,
    LocalStore,
    StorageFull,
)
from callboard_shared.ids import new_id


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "files")


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_stored_content_comes_back_with_its_size_hash_and_kind(store: LocalStore) -> None:
    data = b"text,label\nfine,1\n" * 1000
    record = Files(store).put_bytes("key_1", "reviews.csv", data)
    assert Files(store).get_bytes(record.id) == data
    assert (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (record.owner, record.name, record.media_type) == ("key_1", "reviews.csv", "text/csv")


def test_the_worker_may_say_the_media_type_itself(store: LocalStore) -> None:
    assert Files(store).put_bytes("key_1", "a.bin", b"x", "audio/mpeg").media_type == "audio/mpeg"


def test_a_record_survives_its_json() -> None:
    record = FileRecord(
        "file_x", "key_1", "이름.txt", "text/plain", 3, "ab", "input", 1_763_846_000_123, None, "job_1"
    )
    assert FileRecord.from_json(record.to_json()) == record


def test_the_view_has_exactly_the_fields_that_were_promised() -> None:
    view = FileRecord("file_x", "key_1", "a.txt", "text/plain", 3, "ab", None, 1_763_846_000_123).view()
    assert view == {
        "id": "file_x", "name": "a.txt", "media_type": "text/plain", "bytes": 3, "sha256": "ab", "purpose": None,
        "created_at": "2025-11-22T21:13:20.123Z", "expires_at": None, "url": "/v1/files/file_x/content",
    }  # fmt: skip


def test_an_output_names_a_file_by_id_kind_size_hash_and_url() -> None:
    record = FileRecord("file_x", "key_1", "a.txt", "text/plain", 3, "ab", None, 1)
    assert set(record.reference()) == {"file_id", "media_type", "bytes", "sha256", "url"}


def test_a_content_over_the_limit_is_refused_and_leaves_nothing(store: LocalStore) -> None:
    with pytest.raises(TooLarge):
        Files(store).put_stream("key_1", "big", [b"x" * 60, b"x" * 60], limit=100)
    assert everything_under(store.folder) == []


def test_a_content_of_exactly_the_limit_is_stored(store: LocalStore) -> None:
    assert Files(store).put_bytes("key_1", "a", b"x" * 100, limit=100).bytes == 100


def test_what_is_not_finished_is_discarded(store: LocalStore) -> None:
    with Files(store).draft("key_1", "a") as draft:
        draft.write(b"half")
    assert everything_under(store.folder) == []


def test_a_full_disk_is_said_so_and_leaves_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        Files(store).put_bytes("key_1", "a", b"x")
    assert everything_under(store.folder) == []


def test_a_range_gives_just_these_bytes(store: LocalStore) -> None:
    files = Files(store)
    data = bytes(range(256)) * 3000  # more than one piece
    record = files.put_bytes("key_1", "a", data)
    assert b"".join(files.read(record.id, 1000, 500_000)) == data[1000:501_000]
    assert b"".join(files.read(record.id, len(data) - 3)) == data[-3:]


def test_deleting_twice_is_harmless(store: LocalStore) -> None:
    record = Files(store).put_bytes("key_1", "a", b"x")
    assert store.delete(record.id) is True
    assert store.delete(record.id) is False
    with pytest.raises(NotFound):
        store.open(record.id)


@pytest.mark.parametrize("name", ["../../etc/passwd", "file_../x", "", "job_01k9xq3v5ef7v8m2c4r6t8w0y2"])
def test_only_file_ids_name_a_place(store: LocalStore, name: str) -> None:
    with pytest.raises(NotFound):
        store.path(name)


def test_contents_spread_over_folders(store: LocalStore) -> None:
    folders = {store.path(new_id("file")).parent.name for _ in range(200)}
    assert len(folders) > 50


def test_old_partial_files_are_removed_and_young_ones_kept(store: LocalStore) -> None:
    old, young = store.begin(new_id("file")), store.begin(new_id("file"))
    with old, young:
        first, second = everything_under(store.folder)
        os.utime(first, (0, 0))
        assert store.remove_partials(older_than_s=60) == 1
        assert everything_under(store.folder) == [second]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("a\r\nSet-Cookie: x.txt", "aSet-Cookie: x.txt"),
        ("nul\x00.txt", "nul.txt"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("..", "file"),
        ("", "file"),
        ("한국어 이름.txt", "한국어 이름.txt"),
        ("lone\ud800.txt", "lone.txt"),
    ],
)
def test_a_name_is_made_safe(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_a_long_name_keeps_its_suffix_and_fits() -> None:
    name = clean_name("가" * 300 + ".parquet")
    assert len(name.encode()) <= 255
    assert name.endswith(".parquet")


async def test_the_gateway_stores_a_stream_without_blocking_the_loop(store: LocalStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"0123456789" * 1000

    files = AsyncFiles(store)
    record = await files.put("key_1", "a.txt", chunks(), purpose="input")
    assert (record.bytes, record.purpose, record.media_type) == (3_000_000, "input", "text/plain")
    assert len(b"".join([piece async for piece in files.read(record.id)])) == 3_000_000
    assert b"".join([piece async for piece in files.read(record.id, 5, 10)]) == b"5678901234"


async def test_a_cancelled_upload_leaves_nothing(store: LocalStore) -> None:
    started = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        started.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(AsyncFiles(store).put("key_1", "a", chunks()))
    await started.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert everything_under(store.folder) == []


def test_ids_of_files_have_the_form_of_ids(store: LocalStore) -> None:
    record = Files(store).put_bytes("key_1", "a", b"x")
    assert re.fullmatch(r"file_[0-9a-hjkmnp-tv-z]{26}", record.id)
