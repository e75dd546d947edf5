"""Jobs of a batch in the order in which their inputs arrive; nothing is fetched for a job that is alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from callboard_shared.errors import FinalError
from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs import FileInput
from callboard_shared.worker import Context, Job, JobCanceled
from callboard_shared.worker.arrivals import arriving

HERE = FileInput(base64="aaaa")


class Server:
    """Holds back what is under ``held`` until it is let go, and says no to what is ``gone``."""

    def __init__(self) -> None:
        self.held: dict[str, threading.Event] = {}
        self.asked: list[str] = []
        self.contexts: list[Context] = []

    def fetch(self, url: str, into: BinaryIO, max_bytes: int | None, check: Callable[[], None]) -> str:
        self.asked.append(url)
        if url in self.held:
            while not self.held[url].wait(0.02):
                check()
        if url == "gone":
            raise FinalError("It is gone.", code="fetch-failed")
        into.write(url.encode())
        return url


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for context in made.contexts:
        context.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(configured_store(FileSettings(files_dir=tmp_path)))


def jobs_of(
    files: Files, server: Server, *urls: list[str]
) -> tuple[list[Job[FileInput]], list[list[FileInput]]]:
    jobs = []
    for number in range(len(urls)):
        context = Context(
            f"job_{number}", "nlp", "key_a", 1, runner="w#1", send=lambda call: True, files=files,
            fetch=server.fetch,
        )  # fmt: skip
        server.contexts.append(context)
        jobs.append(Job(context.job_id, "trial", "key_a", 1, HERE, context))
    return jobs, [[FileInput(url=url) for url in wanted] for wanted in urls]


def read(job: Job[FileInput], url: str) -> bytes:
    with job.context.open_file(FileInput(url=url)) as opened:
        return opened.content.read()


def left(files: Files) -> list[Path]:
    assert hasattr(files.store, "folder")
    return list(Path(files.store.folder).glob("fetched/*"))


def test_those_that_are_here_come_first_and_the_slow_ones_when_theirs_arrives(
    files: Files, server: Server
) -> None:
    server.held = {"slow": threading.Event(), "slower": threading.Event()}
    jobs, distant = jobs_of(files, server, ["a", "slow"], [], ["a"], ["slower"], ["b", "c"])
    groups = arriving(jobs, distant)
    assert next(groups) == [(1, None), (2, None), (4, None)]
    server.held["slower"].set()
    assert next(groups) == [(3, None)]
    server.held["slow"].set()
    assert next(groups) == [(0, None)]
    assert next(groups, None) is None
    assert sorted(server.asked) == ["a", "a", "b", "c", "slow", "slower"]
    assert (read(jobs[0], "slow"), read(jobs[0], "a"), read(jobs[0], "a")) == (b"slow", b"a", b"a")
    assert len(server.asked) == 6, "what was brought is not fetched again, however often it is opened"
    for job in jobs:
        job.context.close()
    assert left(files) == []


def test_what_will_not_come_ends_its_job_without_waiting_for_the_rest_of_it(
    files: Files, server: Server
) -> None:
    server.held = {"slow": threading.Event()}
    jobs, distant = jobs_of(files, server, ["slow", "gone"], ["a"])
    [group] = arriving(jobs, distant)
    assert [place for place, _ in group] == [0, 1]
    assert isinstance(group[0][1], FinalError) and group[1][1] is None


def test_a_job_that_is_canceled_arrives_with_that(files: Files, server: Server) -> None:
    server.held = {"slow": threading.Event()}
    jobs, distant = jobs_of(files, server, ["slow"], [])
    groups = arriving(jobs, distant)
    assert next(groups) == [(1, None)]
    jobs[0].context.stop(JobCanceled("Canceled."))
    [(place, fault)] = next(groups)
    assert place == 0 and isinstance(fault, JobCanceled)


@pytest.mark.parametrize("urls", [[["a", "b"]], [[], []], []])
def test_a_job_alone_and_jobs_without_urls_are_given_at_once(
    files: Files, server: Server, urls: list[list[str]]
) -> None:
    jobs, distant = jobs_of(files, server, *urls)
    assert list(arriving(jobs, distant)) == [[(place, None) for place in range(len(urls))]]
    assert server.asked == []


def test_a_fetch_ends_with_the_attempt_that_wanted_it(files: Files, server: Server) -> None:
    server.held = {"slow": threading.Event()}
    jobs, distant = jobs_of(files, server, ["slow"], [])
    groups = arriving(jobs, distant)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    for job in jobs:
        job.context.close()
    for thread in threading.enumerate():
        if thread.name.startswith("arrivals"):
            thread.join(5)
    assert not any(thread.name.startswith("arrivals") for thread in threading.enumerate())
    assert left(files) == []
