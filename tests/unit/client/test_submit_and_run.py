from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from callboard_client import (
    ApiError,
    AsyncCallboard,
    Callboard,
    ConnectionFailed,
    Invalid,
    Job,
    JobFailed,
    NewJob,
    Problem,
    RateLimited,
    Retries,
    Unavailable,
    WaitTimeout,
)


def test_submit_sends_the_key_and_only_what_was_given(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job()))
    job = callboard.submit("system.echo", {"value": "한국"}, priority=3, webhook="https://example.org/hook")
    (seen,) = gateway.seen
    assert seen.headers["authorization"] == f"Bearer {make.key}"
    assert seen.json == {
        "type": "system.echo",
        "input": {"value": "한국"},
        "priority": 3,
        "webhook": {"url": "https://example.org/hook"},
    }
    assert (job.id, job.status, job.has_ended) == ("job_1", "queued", False)


def test_times_go_out_with_their_zone_and_those_without_one_are_refused(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job("scheduled")))
    callboard.submit("system.echo", {}, run_at=datetime(2030, 1, 2, tzinfo=UTC), after=["job_0"])
    assert gateway.seen[0].json["run_at"] == "2030-01-02T00:00:00.000+00:00"
    assert gateway.seen[0].json["after"] == ["job_0"]
    with pytest.raises(ValueError, match="no time zone"):
        callboard.submit("system.echo", {}, run_at=datetime(2030, 1, 2))


def test_a_submission_whose_answer_got_lost_is_repeated_under_the_same_idempotency_key(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on(
        "POST",
        "/v1/jobs",
        None,
        make.answer(503, make.problem(503, "ledger-unavailable")),
        make.answer(202, make.job()),
    )
    callboard.submit("system.echo", {"value": 1})
    keys = {seen.headers["idempotency-key"] for seen in gateway.seen}
    assert len(gateway.seen) == 3
    assert len(keys) == 1


def test_two_submissions_have_two_idempotency_keys_and_ones_own_is_kept(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job()))
    callboard.submit("system.echo", {})
    callboard.submit("system.echo", {})
    callboard.submit("system.echo", {}, idempotency_key="order-17")
    first, second, third = (seen.headers["idempotency-key"] for seen in gateway.seen)
    assert first != second
    assert third == "order-17"


def test_retries_end_and_the_refusal_is_raised(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on(
        "POST", "/v1/jobs", make.answer(503, make.problem(503, "queue-full", retryable=True, trace_id="t1"))
    )
    with pytest.raises(Unavailable) as caught:
        callboard.submit("system.echo", {})
    assert len(gateway.seen) == 4
    assert (caught.value.code, caught.value.retryable, caught.value.trace_id) == ("queue-full", True, "t1")


def test_a_retry_after_beyond_the_bound_is_raised_at_once(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on(
        "POST", "/v1/jobs", make.answer(429, make.problem(429, "rate-limited"), {"retry-after": "3600"})
    )
    with pytest.raises(RateLimited):
        callboard.submit("system.echo", {})
    assert len(gateway.seen) == 1


def test_invalid_input_is_not_retried_and_names_its_fields(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    errors = [{"field": "input.texts.0", "message": "too short", "code": "x"}]
    gateway.on(
        "POST", "/v1/jobs", make.answer(422, make.problem(422, "validation", "not valid", errors=errors))
    )
    with pytest.raises(Invalid, match=r"input\.texts\.0: too short") as caught:
        callboard.submit("nlp.embed", {"texts": [""]})
    assert caught.value.errors[0].field == "input.texts.0"
    assert len(gateway.seen) == 1


def test_a_gateway_that_is_not_there_is_said_with_its_address(no_environment: None) -> None:
    with (
        Callboard("http://127.0.0.1:9", "k", retries=Retries(times=1, first_s=0.001)) as callboard,
        pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9.*tried 2 times"),
    ):
        callboard.queues()


def test_a_proxys_own_words_are_an_api_error_too(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("GET", "/v1/queues", make.answer(418, b"<h1>teapot</h1>"))
    with pytest.raises(ApiError, match="teapot") as caught:
        callboard.queues()
    assert caught.value.status == 418


def test_run_waits_for_the_job_and_gives_its_output(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job("queued")))
    gateway.on(
        "GET", "/v1/jobs/job_1", make.answer(200, make.job("running")), None,
        make.answer(200, make.job("succeeded", output={"value": 1})),
    )  # fmt: skip
    assert callboard.run("system.echo", {"value": 1}) == {"value": 1}
    assert gateway.seen[0].headers["prefer"] == "wait=30"
    assert gateway.seen[1].query == {"wait": "30"}


def test_run_of_a_quick_job_is_one_request(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(200, make.job("succeeded", output={"value": 1})))
    assert callboard.run("system.echo", {"value": 1}) == {"value": 1}
    assert len(gateway.seen) == 1


def test_run_fetches_an_output_that_was_too_large_for_the_job(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    reference = {
        "file_id": "file_1", "media_type": "application/json", "bytes": 9, "sha256": "x",
        "url": "/v1/files/file_1/content",
    }  # fmt: skip
    gateway.on("POST", "/v1/jobs", make.answer(200, make.job("succeeded", output=reference)))
    gateway.on("GET", "/v1/files/file_1/content", make.answer(200, {"large": [1, 2]}))
    assert callboard.run("nlp.embed", {"texts": ["a"]}) == {"large": [1, 2]}


def test_a_binary_file_as_output_is_left_a_reference(gateway: Any, callboard: Callboard, make: Any) -> None:
    output = {"file_id": "file_1", "media_type": "audio/mpeg", "bytes": 9, "sha256": "x", "url": "/…"}
    gateway.on("POST", "/v1/jobs", make.answer(200, make.job("succeeded", output=output)))
    assert callboard.run("tts.speech", {"text": "a"}) == output


@pytest.mark.parametrize("status", ["failed", "canceled", "expired"])
def test_run_raises_when_the_job_ends_in_any_other_way(
    gateway: Any, callboard: Callboard, make: Any, status: str
) -> None:
    error = make.problem(0, "worker_lost", "it died") if status == "failed" else None
    gateway.on("POST", "/v1/jobs", make.answer(200, make.job(status, error=error)))
    with pytest.raises(JobFailed, match=f"ended {status}") as caught:
        callboard.run("system.echo", {})
    assert caught.value.code == ("worker_lost" if error else status)
    assert caught.value.job.id == "job_1"


def test_run_gives_up_waiting_but_names_the_job_that_goes_on(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    waiting = make.job("queued", waiting_for="no worker is online")
    gateway.on("POST", "/v1/jobs", make.answer(202, waiting))
    gateway.on("GET", "/v1/jobs/job_1", make.answer(200, waiting))
    with pytest.raises(WaitTimeout, match="no worker is online") as caught:
        callboard.run("system.echo", {}, wait_s=0.05)
    assert caught.value.job.status == "queued"


def test_a_batch_brings_a_job_or_a_problem_for_each_in_order(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    answers = {"data": [make.job(), make.problem(422, "validation")]}
    gateway.on("POST", "/v1/jobs:batch", make.answer(202, answers))
    job, problem = callboard.submit_batch(
        [NewJob(type="system.echo", input={}), {"type": "no.such", "input": {}}]
    )
    assert isinstance(job, Job)
    assert isinstance(problem, Problem)
    assert problem.code == "validation"
    assert [sent["type"] for sent in gateway.seen[0].json["jobs"]] == ["system.echo", "no.such"]


def test_more_jobs_than_a_batch_takes_are_sent_in_several(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on(
        "POST",
        "/v1/jobs:batch",
        lambda seen: make.answer(202, {"data": [make.job()] * len(seen.json["jobs"])}),
    )
    answers = callboard.submit_batch({"type": "system.echo", "input": {"value": n}} for n in range(1500))
    assert [len(seen.json["jobs"]) for seen in gateway.seen] == [1000, 500]
    assert len(answers) == 1500


def test_a_batch_whose_answer_got_lost_is_not_sent_twice(gateway: Any, callboard: Callboard) -> None:
    gateway.on("POST", "/v1/jobs:batch", None)
    with pytest.raises(ConnectionFailed):
        callboard.submit_batch([{"type": "system.echo", "input": {}}])
    assert len(gateway.seen) == 1


async def test_the_async_client_submits_runs_and_retries_alike(
    gateway: Any, async_callboard: AsyncCallboard, make: Any
) -> None:
    gateway.on("POST", "/v1/jobs", None, make.answer(202, make.job()))
    gateway.on("GET", "/v1/jobs/job_1", make.answer(200, make.job("succeeded", output=2)))
    assert await async_callboard.run("system.echo", {"value": 2}) == 2
    gateway.on("POST", "/v1/jobs:batch", make.answer(202, {"data": [make.job()]}))
    assert len(await async_callboard.submit_batch([NewJob(type="system.echo", input={})])) == 1
