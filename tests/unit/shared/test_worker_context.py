"""What a handler tells through its context arrives once, whole and in order."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs import ECHO, SIMILARITY
from callboard_shared.ledger import Call
from callboard_shared.worker import Context, JobCanceled, Worker


class Wire:
    """Keeps what is sent; ``away`` makes it refuse."""

    def __init__(self) -> None:
        self.away = False
        self.data: list[bytes] = []

    def send(self, call: Call[str]) -> bool:
        if self.away:
            return False
        # command, sha, 1, key, runner, id, attempt, progress, then kind and data in turn
        self.data += call.command[9::2]
        return True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def context(wire: Wire, tmp_path: Path) -> Context:
    files = Files(configured_store(FileSettings(files_dir=tmp_path)))
    return Context("job_1", "system", "key_a", 1, runner="w#1", send=wire.send, files=files)


def test_events_wait_for_a_ledger_that_is_away(context: Context, wire: Wire) -> None:
    wire.away = True
    for i in range(5):
        context.delta(str(i))
    assert not context.flush()
    wire.away = False
    context.delta("5")
    assert context.flush()
    assert wire.data == [b'{"text":"%d"}' % i for i in range(6)]


def test_events_of_threads_that_flush_at_once_neither_get_lost_nor_overtake_each_other(
    context: Context, wire: Wire
) -> None:
    done = threading.Event()

    def keep_flushing() -> None:
        while not done.is_set():
            context.flush()

    keeper = threading.Thread(target=keep_flushing)
    keeper.start()
    for i in range(3_000):
        context.delta(str(i))
    done.set()
    keeper.join()
    context.flush()
    assert wire.data == [b'{"text":"%d"}' % i for i in range(3_000)]


def test_progress_never_falls(context: Context, wire: Wire) -> None:
    for fraction in (0.2, 0.1, 7.0):
        context.progress(fraction)
    context.flush()
    assert [data[:16].split(b",")[0] for data in wire.data] == [
        b'{"fraction":0.2',
        b'{"fraction":0.2',
        b'{"fraction":1.0',
    ]


def test_the_first_reason_to_stop_counts_and_is_told_also_when_asked_for_late(context: Context) -> None:
    context.stop(JobCanceled("first"))
    context.stop(JobCanceled("second"))
    told: list[bool] = []
    context.on_stop(lambda: told.append(True))
    assert told == [True] and context.canceled
    with pytest.raises(JobCanceled, match="first"):
        context.check_canceled()


def test_a_worker_refuses_a_type_of_a_queue_that_it_does_not_serve() -> None:
    with pytest.raises(TypeError, match="belongs to queue system"):
        Worker("nlp", queues=("nlp",)).handles(ECHO)


def test_a_worker_refuses_two_handlers_for_one_type() -> None:
    worker = Worker("nlp", queues=("nlp",))
    worker.handles(SIMILARITY)(print)
    with pytest.raises(TypeError, match="two handlers"):
        worker.handles(SIMILARITY)(print)


def test_a_worker_is_recognisable_by_its_command() -> None:
    command = Worker("nlp", queues=("nlp", "nlp-train"), slots=3).command()
    assert command[1:6] == ["-m", "celery", "-A", "callboard_nlp.main:app", "worker"]
    options = dict(zip(command[6:14:2], command[7:15:2], strict=True))
    assert (options["-Q"], options["-P"], options["-c"]) == ("nlp,nlp-train", "prefork", "3")


def test_the_time_that_is_spent_waiting_is_counted_once_however_often_it_is_said(context: Context) -> None:
    assert context.waited_s == 0
    began = time.monotonic()
    with context.waiting(), context.waiting():
        time.sleep(0.05)
        within = context.waited_s
        assert 0.05 <= within <= time.monotonic() - began
    waited = context.waited_s
    assert within <= waited <= time.monotonic() - began
    time.sleep(0.01)
    assert context.waited_s == waited, "it stands still outside"
