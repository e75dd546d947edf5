"""The bell: a message without a payload, that may get lost and says so."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from celery import Celery, current_app
from pydantic import SecretStr

from callboard_shared.bell import TASK, AsyncBell, Bell, celery_app
from callboard_shared.settings import BrokerSettings


def in_memory() -> Celery:
    return celery_app("unit", BrokerSettings(broker_url=SecretStr("memory://")), current=False)


def message_of(app: Celery, queue: str) -> Any:
    with app.connection() as connection, connection.SimpleQueue(queue) as messages:
        return messages.get(timeout=1)


def test_a_bell_names_its_queue_and_carries_nothing_else() -> None:
    app = in_memory()
    Bell(app).ring("nlp")
    message = message_of(app, "nlp")
    assert message.headers["task"] == TASK
    assert message.payload[:2] == [["nlp"], {}]


def test_a_bell_never_expires_by_somebodys_clock() -> None:
    app = in_memory()
    Bell(app).ring("tts")
    assert message_of(app, "tts").headers["expires"] is None


def test_a_bell_that_cannot_be_rung_is_no_error_and_costs_little_time() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    began = time.monotonic()
    Bell(celery_app("unit", BrokerSettings(broker_url=SecretStr(url)), current=False)).ring("nlp")
    assert time.monotonic() - began < 5


async def test_the_async_bell_rings_too() -> None:
    app = in_memory()
    bell = AsyncBell(Bell(app))
    await bell.ring("vision")
    assert message_of(app, "vision").payload[0] == ["vision"]
    bell.close()


def test_a_bell_is_not_the_processes_own_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_BROKER_URL", "memory://")
    Bell()
    assert current_app.main != "callboard-bell"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("task_acks_late", True), ("task_reject_on_worker_lost", True), ("task_ignore_result", True),
     ("worker_prefetch_multiplier", 1), ("worker_cancel_long_running_tasks_on_connection_loss", False),
     ("accept_content", ["json"]), ("broker_connection_max_retries", None)],
)  # fmt: skip
def test_the_settings_that_reliability_rests_on(setting: str, value: object) -> None:
    assert in_memory().conf[setting] == value
