"""The folder and the bucket keep the same promises; the bucket is on a real S3 server."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from s3_server import BUCKET, URL, s3_server

from callboard_shared.errors import NotFound, TooLarge
from callboard_shared.files import AsyncFiles, Files, FileSettings, LocalStore, configured_store
from callboard_shared.ids import new_id
from callboard_shared.object_store import ObjectStore, StorageAway
from callboard_shared.s3_store import PART_BYTES, S3Store

LARGE = random.Random(3).randbytes(PART_BYTES * 2 + 12_345)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_server() as served:
        yield served[0]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return LocalStore(tmp_path / "files")
    return S3Store.at(f"{URL}/{tmp_path.name}", request.getfixturevalue("s3"))


@pytest.mark.parametrize("data", [b"", b"x", b"text,label\nfine,1\n" * 1000, LARGE], ids=len)
def test_a_content_comes_back_whole_with_its_size_and_hash(store: ObjectStore, data: bytes) -> None:
    record = Files(store).put_bytes("key_1", "a.csv", data)
    assert (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert Files(store).get_bytes(record.id) == data
    assert b"".join(Files(store).read(record.id)) == data


@pytest.mark.parametrize(("start", "length"), [(0, 10), (5, 1), (PART_BYTES - 3, 7), (len(LARGE) - 4, None)])
async def test_any_part_can_be_read(store: ObjectStore, start: int, length: int | None) -> None:
    record = Files(store).put_bytes("key_1", "a.bin", LARGE)
    wanted = LARGE[start:] if length is None else LARGE[start : start + length]
    assert b"".join(Files(store).read(record.id, start, length)) == wanted
    assert b"".join([piece async for piece in AsyncFiles(store).read(record.id, start, length)]) == wanted


def test_an_opened_content_is_a_file_like_any_other(store: ObjectStore) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "one\ntwo\n")
        archive.writestr("b.bin", LARGE[:200_000])
    record = Files(store).put_bytes("key_1", "a.zip", packed.getvalue())
    with store.open(record.id) as content, zipfile.ZipFile(content) as archive:
        assert archive.read("b.bin") == LARGE[:200_000]
        with archive.open("a.txt") as inner:
            assert list(io.TextIOWrapper(inner)) == ["one\n", "two\n"]
    with store.open(record.id) as content:
        assert content.seek(-4, 2) == record.bytes - 4
        assert len(content.read()) == 4
        assert content.read(10) == b""


def test_what_is_not_committed_is_not_there(store: ObjectStore) -> None:
    file_id = new_id("file")
    with store.begin(file_id) as upload:
        upload.write(LARGE)
    with pytest.raises(NotFound):
        store.open(file_id)
    assert list(store.contents()) == []


def test_a_content_over_its_limit_is_refused(store: ObjectStore) -> None:
    with pytest.raises(TooLarge):
        Files(store).put_stream("key_1", "big", [b"x" * 60, b"x" * 60], limit=100)
    assert list(store.contents()) == []


def test_what_is_deleted_is_gone(store: ObjectStore) -> None:
    record = Files(store).put_bytes("key_1", "a", b"x")
    assert store.delete(record.id) is True
    assert store.delete(record.id) is False
    with pytest.raises(NotFound):
        store.open(record.id)


@pytest.mark.parametrize("file_id", ["../../etc/passwd", "file_x", "", "job_01k9xq3v5ef7v8m2c4r6t8w0y2"])
def test_only_ids_name_a_content(store: ObjectStore, file_id: str) -> None:
    for touch in (store.open, store.begin, store.delete):
        with pytest.raises(NotFound):
            touch(file_id)


def test_contents_are_listed_in_order_from_any_place(store: ObjectStore) -> None:
    made = {Files(store).put_bytes("key_1", "a", b"x").id for _ in range(12)}
    listed = list(store.contents())
    assert {content.file_id for content in listed} == made
    assert [content.place for content in listed] == sorted(content.place for content in listed)
    rest = list(store.contents(listed[4].place))
    assert rest == listed[5:]
    assert all(abs(content.modified_s - listed[0].modified_s) < 60 for content in listed)


def test_a_bucket_that_is_not_there_or_away_is_said_to_be(s3: Any) -> None:
    missing = S3Store.at("s3://no-such-bucket", s3)
    away = S3Store.at(URL, s3.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
    for store in (missing, away):
        with pytest.raises(StorageAway, match="CALLBOARD_FILES_URL"):
            Files(store).put_bytes("key_1", "a", b"x")
    with pytest.raises(StorageAway):
        away.open(new_id("file"))


def test_the_settings_choose_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configured_store(FileSettings(home=tmp_path))
    assert isinstance(folder, LocalStore)
    assert folder.folder == tmp_path / "files"
    assert isinstance(configured_store(FileSettings(files_url=f"s3://{BUCKET}")), S3Store)
    for wrong in ("gs://bucket", "s3://", "s3://UPPER", "/a/folder"):
        with pytest.raises(ValueError, match="files_url"):
            FileSettings(files_url=wrong)


def test_a_child_may_use_the_bucket_if_its_parent_did_not(s3: Any) -> None:
    """A hang in a forked worker would be worse than an error."""
    script = (
        "import os, sys\n"
        "from callboard_shared.files import Files\n"
        "from callboard_shared.s3_store import S3Store\n"
        f"files = Files(S3Store.at({URL!r}))\n"
        "def child():\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try:\n"
        "            files.put_bytes('key_1', 'a', b'x')\n"
        "        except RuntimeError:\n"
        "            os._exit(3)\n"
        "        os._exit(0)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "before = child()\n"
        "files.put_bytes('key_1', 'a', b'x')\n"
        "print(before, child())\n"
    )
    env = {
        **os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": s3.endpoint_url,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["0", "3"], done.stderr
