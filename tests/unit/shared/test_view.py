from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import JobRecord, NewJob, Submitted
from callboard_shared.states import JobStatus
from callboard_shared.view import START_COMMANDS, job_view, timestamp, waiting_for

S = JobStatus
CREATED = 1_800_000_000_007

QUEUED = JobRecord(
    id="job_1", type="nlp.embed", queue="nlp", owner="key_1", status=S.QUEUED, created_ms=CREATED,
    spec=b'{"input":{"texts":["a"]},"metadata":{"order":"17"}}', position=3, eta_ms=1_200, workers=1,
    expires_ms=CREATED + 1_000,
)  # fmt: skip
RUNNING = replace(
    QUEUED, status=S.RUNNING, attempt=1, worker="nlp@host-1#77", started_ms=CREATED + 30, claimed_ms=CREATED + 30,
    position=None, eta_ms=None, progress=b'{"fraction":0.4}',
)  # fmt: skip
ENDED = replace(
    RUNNING, status=S.SUCCEEDED, finished_ms=CREATED + 42, output=b'{"x":1}', usage=b'{"batch_jobs":4}'
)


def view(job: JobRecord) -> dict[str, Any]:
    """The view as it reaches a client."""
    return dict(orjson.loads(orjson.dumps(job_view(job))))


def test_the_members_of_the_job_object_are_those_promised() -> None:
    assert list(view(QUEUED)) == [
        "id", "type", "queue", "status", "priority", "input", "output", "error", "progress", "queue_position", "eta_s",
        "waiting_for", "attempt", "max_attempts", "timeout_s", "worker", "metadata", "usage", "created_at",
        "scheduled_for", "started_at", "finished_at", "expires_at", "links",
    ]  # fmt: skip


def test_a_queued_job_shows_its_place_and_when_it_will_have_ended() -> None:
    seen = view(QUEUED)
    assert (seen["status"], seen["queue_position"], seen["eta_s"]) == ("queued", 3, 1.2)
    assert (seen["input"], seen["metadata"]) == ({"texts": ["a"]}, {"order": "17"})
    assert (seen["output"], seen["error"], seen["progress"], seen["worker"]) == (None, None, None, None)
    assert (seen["started_at"], seen["finished_at"], seen["usage"]) == (None, None, {})
    assert (seen["created_at"], seen["expires_at"]) == (
        "2027-01-15T08:00:00.007Z",
        "2027-01-15T08:00:01.007Z",
    )
    assert seen["links"] == {
        "self": "/v1/jobs/job_1", "events": "/v1/jobs/job_1/events", "cancel": "/v1/jobs/job_1/cancel",
    }  # fmt: skip


def test_a_running_job_shows_its_worker_and_progress_and_no_place() -> None:
    seen = view(RUNNING)
    assert (seen["worker"], seen["attempt"], seen["progress"]) == ("nlp@host-1", 1, {"fraction": 0.4})
    assert (seen["queue_position"], seen["eta_s"], seen["usage"]) == (None, None, {"queue_ms": 30})


def test_an_ended_job_shows_what_came_out_and_what_it_used() -> None:
    seen = view(ENDED)
    assert (seen["output"], seen["finished_at"]) == ({"x": 1}, "2027-01-15T08:00:00.049Z")
    assert seen["usage"] == {"queue_ms": 30, "run_ms": 12, "batch_jobs": 4}


def test_the_time_before_a_job_was_due_is_not_time_in_the_queue() -> None:
    scheduled = replace(ENDED, scheduled_ms=CREATED + 25)
    assert view(scheduled)["usage"]["queue_ms"] == 5
    retried = replace(
        ENDED, scheduled_ms=CREATED + 1_000, claimed_ms=CREATED + 1_001, finished_ms=CREATED + 1_011
    )
    assert view(retried)["usage"] == {"queue_ms": 30, "run_ms": 10, "batch_jobs": 4}


def test_an_error_is_shown_where_it_is_the_outcome_or_the_reason_to_wait() -> None:
    problem = b'{"code":"busy","detail":"The provider is busy."}'
    for status, shown in [(S.FAILED, True), (S.SCHEDULED, True), (S.CANCELED, False), (S.SUCCEEDED, False)]:
        assert (view(replace(ENDED, status=status, error=problem))["error"] is not None) is shown


def test_only_a_scheduled_job_shows_when_it_is_due() -> None:
    due = CREATED + 60_000
    assert (
        view(replace(QUEUED, status=S.SCHEDULED, scheduled_ms=due))["scheduled_for"]
        == "2027-01-15T08:01:00.007Z"
    )
    assert view(replace(QUEUED, scheduled_ms=due))["scheduled_for"] is None


def test_what_a_job_follows_or_repeats_is_shown_only_where_it_does() -> None:
    spec = b'{"input":{},"after":["job_0"],"retried_from":"job_9"}'
    seen = view(replace(QUEUED, spec=spec))
    assert (seen["after"], seen["retried_from"], seen["metadata"]) == (["job_0"], "job_9", {})
    assert "after" not in view(QUEUED)


def test_nothing_is_said_of_a_job_for_which_all_is_as_it_should_be() -> None:
    for job in (QUEUED, RUNNING, ENDED, replace(QUEUED, status=S.SCHEDULED)):
        assert waiting_for(job) is None


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (
            replace(QUEUED, workers=0),
            "No worker is online for queue nlp; start one with: python -m callboard_nlp",
        ),
        (
            replace(QUEUED, paused=True, workers=0),
            "Queue nlp is paused; POST /v1/queues/nlp/resume lets it go on.",
        ),
        (
            replace(QUEUED, status=S.BLOCKED, waits=("job_a", "job_b")),
            "It starts when job_a, job_b has succeeded.",
        ),
        (
            replace(QUEUED, status=S.SCHEDULED, attempt=1, error=b'{"detail":"The provider is busy."}'),
            "Attempt 1 of 3 failed (The provider is busy); the next starts by itself.",
        ),
    ],
)
def test_one_sentence_says_what_keeps_a_job_waiting(job: JobRecord, said: str) -> None:
    assert view(job)["waiting_for"] == said


def test_every_queue_has_a_command_that_starts_a_worker_for_it() -> None:
    assert set(START_COMMANDS) == set(QUEUES)


def test_a_record_made_from_a_submission_is_as_the_ledger_would_tell_it() -> None:
    new = NewJob("job_1", "nlp.embed", "nlp", "key_1", b"{}", run_at_ms=CREATED + 500, expires_in_ms=1_000)
    made = JobRecord.submitted(new, Submitted("job_1", S.SCHEDULED, CREATED, None, None, 2, existed=False))
    assert (made.scheduled_ms, made.expires_ms, made.workers) == (CREATED + 500, CREATED + 1_500, 2)
    past = replace(new, run_at_ms=5)
    made = JobRecord.submitted(past, Submitted("job_1", S.QUEUED, CREATED, 1, None, 2, existed=False))
    assert (made.scheduled_ms, made.expires_ms) == (None, CREATED + 1_000)


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_800_000_000_007) == "2027-01-15T08:00:00.007Z"
    assert timestamp(None) is None
