"""How an attempt ends, from what its handler gave or raised."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from callboard_shared.errors import FinalError, Invalid, RetryableError
from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.jobs import ECHO
from callboard_shared.ledger import Call, ClaimedJob
from callboard_shared.worker import ClaimLost, Context, JobCanceled
from callboard_shared.worker.outcome import back_off_s, failed, read_input, succeeded


def claimed(attempt: int = 1, spec: bytes = b'{"input":{"value":1}}') -> ClaimedJob:
    return ClaimedJob("job_1", "system.echo", "key_a", attempt, 3, 1000, 0, "system.echo", spec)


def sent(call: Call[str]) -> bool:
    return True


@pytest.fixture
def context(tmp_path: Path) -> Context:
    files = Files(configured_store(FileSettings(files_dir=tmp_path)))
    return Context("job_1", "system", "key_a", 1, runner="w#1", send=sent, files=files)


def test_an_output_is_its_json(context: Context) -> None:
    end = succeeded(claimed(), context, {"value": [1.5, None, "é"]})
    assert (end.outcome, orjson.loads(end.output)) == ("succeeded", {"value": [1.5, None, "é"]})


def test_an_output_that_is_no_json_is_an_error(context: Context) -> None:
    with pytest.raises(TypeError):
        succeeded(claimed(), context, {"value": object()})


def test_a_canceled_job_keeps_what_it_had_made_unless_that_is_large(context: Context) -> None:
    end = failed(claimed(), context, JobCanceled("The job was canceled."))
    assert end is not None and (end.outcome, end.output) == ("canceled", b"")
    context.unfinished = {"text": "so f"}
    end = failed(claimed(), context, JobCanceled("The job was canceled."))
    assert end is not None and (end.outcome, end.output) == ("canceled", b'{"text":"so f"}')
    context.unfinished = {"text": "x" * 300_000}
    end = failed(claimed(), context, JobCanceled("The job was canceled."))
    assert end is not None and (end.outcome, end.output) == ("canceled", b"")


def test_usage_is_summed_up(context: Context) -> None:
    context.usage.update(tokens=7, characters=20)
    end = succeeded(claimed(), context, {})
    assert (end.tokens, end.characters, orjson.loads(end.usage)) == (7, 20, {"tokens": 7, "characters": 20})


def test_a_retryable_error_is_tried_again_after_what_it_asks_for(context: Context) -> None:
    end = failed(claimed(), context, RetryableError("busy", code="provider-busy", retry_after_s=2.5))
    assert end is not None and (end.outcome, end.delay_ms) == ("retry", 2500)


@pytest.mark.parametrize("error", [FinalError("no"), Invalid("no"), ValueError("no"), SystemExit(3)])
def test_other_errors_are_final(context: Context, error: BaseException) -> None:
    end = failed(claimed(), context, error)
    assert end is not None and end.outcome == "failed"


def test_a_cancel_is_no_failure_and_a_lost_claim_no_end(context: Context) -> None:
    end = failed(claimed(), context, JobCanceled("The job was canceled."))
    assert end is not None and end.outcome == "canceled"
    assert failed(claimed(), context, ClaimLost("gone")) is None


def test_the_detail_is_bounded_valid_and_holds_no_secret(context: Context) -> None:
    text = f"\ud800 redis://user:pass@host sk-{'a' * 20} " + "x" * 10_000
    end = failed(claimed(), context, ValueError(text))
    assert end is not None
    detail = orjson.loads(end.error)["detail"]
    assert len(detail) < 5_000 and "pass@" not in detail and "sk-aaa" not in detail
    assert detail.startswith("The handler failed: ValueError: ? redis://[secret]@host [secret] x")


def test_files_stay_only_with_the_attempt_that_ends_the_job(context: Context) -> None:
    record = context.put_file("a.txt", b"x", "text/plain")
    error = RetryableError("busy")
    first, last = failed(claimed(1), context, error), failed(claimed(3), context, error)
    assert first is not None and last is not None
    assert (first.files, last.files) == ((), (record.id,))


def test_an_input_of_another_release_is_a_final_error_that_names_the_field() -> None:
    with pytest.raises(FinalError) as raised:
        read_input(ECHO, claimed(spec=b'{"input":{"sleep_ms":-1}}'))
    assert raised.value.problem_code == "validation" and "sleep_ms" in raised.value.detail


def test_the_pause_doubles_up_to_two_minutes() -> None:
    for attempt, middle in ((1, 1), (2, 2), (5, 16), (30, 120)):
        assert all(0.75 * middle <= back_off_s(attempt) <= 1.25 * middle for _ in range(50))
