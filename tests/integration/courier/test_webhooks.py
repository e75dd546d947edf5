"""The courier as a process delivers webhooks, and a killed one's are taken over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from trials import Running, Trial, until

from callboard_shared.ids import new_id
from callboard_shared.ledger import NewJob
from callboard_shared.ledger.deliveries import get_delivery
from callboard_shared.webhooks import hook

QUICK = {"CALLBOARD_WEBHOOK_TIMEOUT_S": "2", "CALLBOARD_WEBHOOK_ALLOW_PRIVATE": "true"}


class Receiver(ThreadingHTTPServer):
    """Answers 204 once it may."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Posted)
        self.ids: list[tuple[str, str]] = []
        self.may_answer = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def handle_error(self, *_: Any) -> None:
        pass  # the other side was killed


class Posted(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.ids.append((self.headers["webhook-id"], self.headers["callboard-delivery"]))
        self.server.may_answer.wait(20)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.may_answer.set()
        receiver.shutdown()
        receiver.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def courier(trial: Trial) -> Running:
    running = trial.start("callboard_courier", QUICK)
    until(lambda: trial.online(running, "system"), 30, "the courier is online")
    return running


def echo(url: str) -> NewJob:
    spec = b'{"input":{"value":1},"metadata":{}}'
    return NewJob(new_id("job"), "system.echo", "system", "key_a", spec, hook=hook(["job.succeeded"], url))


def status_of(trial: Trial, delivery_id: str) -> str:
    delivery = trial.ledger.run(get_delivery("key_a", delivery_id))
    return delivery.status if delivery else ""


def test_the_end_of_a_job_is_posted_within_a_moment(trial: Trial, receiver: Receiver) -> None:
    receiver.may_answer.set()
    courier(trial)
    trial.submit(*(echo(receiver.url) for _ in range(20)))
    until(lambda: len(receiver.ids) == 20, 5, "all are posted")
    assert len(set(receiver.ids)) == 20
    until(lambda: {status_of(trial, one) for _, one in receiver.ids} == {"delivered"}, 5, "all are recorded")


def test_a_courier_killed_after_it_posted_is_followed_by_one_more_post_under_the_same_id(
    trial: Trial, receiver: Receiver
) -> None:
    first = courier(trial)
    trial.submit(echo(receiver.url))
    until(lambda: len(receiver.ids) == 1, 10, "it is posted")
    first.kill()
    receiver.may_answer.set()
    courier(trial)
    until(lambda: len(receiver.ids) == 2, 20, "it is posted again")
    assert receiver.ids[0] == receiver.ids[1]
    until(lambda: status_of(trial, receiver.ids[0][1]) == "delivered", 5, "it is recorded")
    assert len(receiver.ids) == 2


def test_a_courier_that_is_stopped_finishes_what_it_posts(trial: Trial, receiver: Receiver) -> None:
    running = courier(trial)
    trial.submit(echo(receiver.url))
    until(lambda: len(receiver.ids) == 1, 10, "it is posted")
    threading.Timer(0.5, receiver.may_answer.set).start()
    running.stop(12)
    assert status_of(trial, receiver.ids[0][1]) == "delivered"
    assert len(receiver.ids) == 1


def test_delivery_begins_anew_when_something_broke_it(trial: Trial, receiver: Receiver) -> None:
    receiver.may_answer.set()
    trial.redis.set("cb:{vision}:outbox", "no stream")
    running = courier(trial)
    trial.submit(echo(receiver.url))
    until(lambda: "delivery.failed" in running.output(), 10, "it has broken")
    assert receiver.ids == []
    trial.redis.delete("cb:{vision}:outbox")
    until(lambda: len(receiver.ids) == 1, 10, "it is posted")
