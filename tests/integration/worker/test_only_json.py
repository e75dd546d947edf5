"""The broker is no way in: a worker takes JSON alone, says what it refused, and goes on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import kombu
import pytest
from trials import QUEUE, Trial, until

from callboard_shared.bell import TASK


class Planted:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def put(url: str, body: bytes, content_type: str, encoding: str) -> None:
    """Past Celery: what anybody can write who reaches the broker."""
    headers = {"lang": "py", "task": TASK, "id": "planted", "argsrepr": "", "kwargsrepr": "", "retries": 0}
    with kombu.Connection(url) as connection, connection.channel() as channel:
        kombu.Producer(channel).publish(
            body, routing_key=QUEUE, content_type=content_type, content_encoding=encoding, headers=headers,
            declare=[kombu.Queue(QUEUE, routing_key=QUEUE)], correlation_id="planted",
        )  # fmt: skip


KINDS = [
    ("application/x-python-serialize", "binary"),
    ("application/x-yaml", "utf-8"),
    ("application/x-msgpack", "binary"),
    ("application/data", "binary"),
    ("application/text", "utf-8"),
    ("text/plain", "utf-8"),
]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    return tmp_path / "planted"


def test_what_is_no_json_is_refused_said_and_harms_nobody(
    trial: Trial, valkey_url: str, planted: Path
) -> None:
    worker = trial.worker()
    body = pickle.dumps(((Planted(planted),), {}, {}))
    for content_type, encoding in KINDS:
        before = worker.output().count("refused")
        put(valkey_url, body, content_type, encoding)
        until(
            lambda before=before: worker.output().count("refused") > before,
            20,
            f"{content_type} is refused, and said",
        )  # type: ignore[misc]
    (job,) = trial.submit(trial.job("answer"))
    assert trial.result(job).status.value == "succeeded"
    assert not planted.exists()
    assert "Planted" not in worker.output(), "nothing of what was refused is logged"


def test_a_json_message_that_is_no_bell_is_refused_too(trial: Trial, valkey_url: str) -> None:
    worker = trial.worker()
    for body in (b"[]", b"7", b'"text"', b"{", b'[["one", "two"], {}, {}]', b'[[], {"queue": 7}, {}]'):
        put(valkey_url, body, "application/json", "utf-8")
    (job,) = trial.submit(trial.job("answer"))
    assert trial.result(job).status.value == "succeeded"
    assert worker.process.poll() is None
    assert worker.output().count("bell.refused") == 6
