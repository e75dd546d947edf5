from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

import callboard_gateway
from callboard_gateway.pages.chat import faults
from callboard_gateway.pages.language import dictionary
from callboard_shared.errors import Conflict, Invalid, LedgerUnavailable, NotFound
from callboard_shared.ledger import JobRecord
from callboard_shared.states import JobStatus

PAGES = Path(callboard_gateway.__file__).parent / "pages" / "chat"


def job(status: JobStatus, error: dict[str, str] | None = None) -> JobRecord:
    text = orjson.dumps(error) if error else None
    return JobRecord(
        id="job_x", type="llm.chat", queue="llm", owner="key_x", status=status, created_ms=0, spec=b"{}", error=text
    )  # fmt: skip


def test_every_text_that_the_chat_says_is_in_the_dictionary() -> None:
    said = {
        key for path in PAGES.glob("*.py") for key in re.findall(r'"(chat_\w+)"', path.read_text("utf-8"))
    }
    assert len(said) > 20
    assert said <= dictionary("en").keys()


@pytest.mark.parametrize(
    ("record", "status", "text"),
    [
        (job(JobStatus.FAILED, {"code": "provider-unauthorized", "detail": "d"}), "failed", "chat_fault_key"),
        (job(JobStatus.FAILED, {"code": "something-new", "detail": "d"}), "failed", "chat_fault"),
        (job(JobStatus.EXPIRED), "failed", "chat_fault_expired"),
        (job(JobStatus.CANCELED), "canceled", "chat_fault_canceled"),
        (None, "canceled", "chat_fault_canceled"),
        (None, "failed", "chat_fault"),
    ],
)
def test_a_reader_is_told_why_there_is_no_answer(record: JobRecord | None, status: str, text: str) -> None:
    assert faults.of_job(record, status).text == text


def test_what_is_not_known_is_said_in_the_services_own_words() -> None:
    error = Invalid("In short.", errors=[{"field": "input.message", "message": "is empty", "code": "x"}])
    assert faults.of_request(error) == faults.Fault("chat_refused", "is empty")
    assert faults.of_request(Conflict("busy", code="conversation-busy")).text == "chat_busy"
    assert faults.of_request(NotFound("x")).text == "chat_gone"
    assert faults.of_request(LedgerUnavailable("away")) == faults.Fault("chat_ledger", "away")
