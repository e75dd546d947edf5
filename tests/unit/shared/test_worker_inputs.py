"""A handler opens what its input gives in one way: uploaded, at a URL, or within the request."""

from __future__ import annotations

import base64
import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from callboard_shared.errors import FinalError
from callboard_shared.files import FileRecord, Files, FileSettings, StorageFull, configured_store
from callboard_shared.jobs import FileInput
from callboard_shared.worker import Context, JobCanceled
from callboard_shared.worker.inputs import OpenedFile

URL = "https://files.example.com/a/sentences.txt?signature=x"


class Elsewhere:
    """What is at URL; ``asked`` as the context asked for it."""

    def __init__(self, content: bytes = b"one\ntwo\n", fault: BaseException | None = None) -> None:
        self.content, self.fault = content, fault
        self.asked: list[tuple[str, int | None]] = []
        self.into: BinaryIO | None = None

    def fetch(self, url: str, into: BinaryIO, max_bytes: int | None, check: Callable[[], None]) -> str:
        self.asked.append((url, max_bytes))
        self.into = into
        check()
        into.write(self.content)
        if self.fault is not None:
            raise self.fault
        return "sentences.txt"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(configured_store(FileSettings(files_dir=tmp_path)))


def context(files: Files, elsewhere: Elsewhere | None = None, *records: FileRecord) -> Context:
    known = {record.id: record for record in records}
    return Context(
        "job_1", "system", "key_a", 1, runner="w#1", send=lambda call: True, files=files,
        find_file=known.get, fetch=(elsewhere or Elsewhere()).fetch,
    )  # fmt: skip


def partials(files: Files) -> list[Path]:
    assert hasattr(files.store, "folder")
    return list(Path(files.store.folder).glob("fetched/*"))


def test_each_form_gives_its_name_and_content_and_a_path(files: Files) -> None:
    uploaded = files.put_bytes("key_a", "words.txt", b"from a file")
    opening = context(files, Elsewhere(b"from a URL"), uploaded)
    forms = [
        (FileInput(file_id=uploaded.id), "words.txt", b"from a file"),
        (FileInput(url=URL), "sentences.txt", b"from a URL"),
        (FileInput(base64=base64.b64encode(b"from a request").decode()), "file", b"from a request"),
    ]
    for given, name, content in forms:
        with opening.open_file(given) as opened:
            assert opened.name == name
            assert opened.content.read() == content
            opened.content.seek(5)
            assert opened.path.read_bytes() == content
            path = opened.path
        assert path.exists() is (given.file_id is not None), "what was uploaded stays, what was copied goes"
    assert partials(files) == []


def test_a_path_of_content_in_memory_keeps_the_content_readable() -> None:
    with OpenedFile("file", io.BytesIO(b"hello")) as opened:
        assert opened.path == opened.path
        assert opened.path.read_bytes() == opened.content.read() == b"hello"


@pytest.mark.parametrize("text", ["?", "aGVsbG8", "사진"])
def test_what_is_no_base64_ends_the_job_with_that(files: Files, text: str) -> None:
    with pytest.raises(FinalError) as caught:
        context(files).open_file(FileInput(base64=text))
    assert caught.value.problem_code == "invalid-base64"


def test_the_limit_of_a_use_holds_for_every_form(files: Files) -> None:
    uploaded = files.put_bytes("key_a", "words.txt", b"x" * 11)
    elsewhere = Elsewhere()
    opening = context(files, elsewhere, uploaded)
    for given in (FileInput(file_id=uploaded.id), FileInput(base64=base64.b64encode(b"x" * 11).decode())):
        with pytest.raises(FinalError) as caught:
            opening.open_file(given, max_bytes=10)
        assert caught.value.problem_code == "file-too-large"
        opening.open_file(given, max_bytes=11).content.close()
    with opening.open_file(FileInput(url=URL), max_bytes=10):
        assert elsewhere.asked == [(URL, 10)]


@pytest.mark.parametrize("fault", [FinalError("no", code="url-blocked"), KeyboardInterrupt()])
def test_what_could_not_be_fetched_leaves_nothing(files: Files, fault: BaseException) -> None:
    elsewhere = Elsewhere(fault=fault)
    with pytest.raises(type(fault)):
        context(files, elsewhere).open_file(FileInput(url=URL))
    assert elsewhere.into is not None and elsewhere.into.closed
    assert partials(files) == []


def test_a_disk_without_room_for_it_is_an_error_that_may_be_tried_again(files: Files) -> None:
    with pytest.raises(StorageFull) as caught:
        context(files, Elsewhere(fault=OSError(errno.ENOSPC, "full"))).open_file(FileInput(url=URL))
    assert caught.value.retryable


def test_a_job_that_is_canceled_fetches_nothing_more(files: Files) -> None:
    opening = context(files)
    opening.stop(JobCanceled("Canceled."))
    with pytest.raises(JobCanceled):
        opening.open_file(FileInput(url=URL))


def test_what_a_killed_worker_leaves_of_a_fetch_is_swept_away(files: Files) -> None:
    with context(files).open_file(FileInput(url=URL)) as opened:
        copy = opened.path.with_name("callboard-left.partial")
        copy.write_bytes(opened.path.read_bytes())
        assert files.store.remove_partials(older_than_s=-1) == 2, "the sweep knows it by its name"
        assert not copy.exists()
        assert opened.content.read() == b"one\ntwo\n", "who still reads one that is a day old can go on"


def test_the_systems_own_way_out_goes_by_the_operators_settings(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_WEBHOOK_ALLOW_PRIVATE", "false")
    opening = Context("job_1", "system", "key_a", 1, runner="w#1", send=lambda call: True, files=files)
    with pytest.raises(Exception, match="CALLBOARD_WEBHOOK_ALLOW_PRIVATE") as caught:
        opening.open_file(FileInput(url="http://127.0.0.1:9/"))
    problem: dict[str, Any] = caught.value.problem()  # type: ignore[attr-defined]
    assert (problem["code"], problem["retryable"]) == ("url-not-allowed", False)
