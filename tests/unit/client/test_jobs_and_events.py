from __future__ import annotations

import json
from typing import Any

import pytest

from callboard_client import AsyncCallboard, Callboard, ConnectionFailed, NotFound, Unavailable
from callboard_client._sse import EventReader


def frame(event_id: str, kind: str, data: Any) -> bytes:
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def stream(make: Any, *frames: bytes) -> Any:
    return make.answer(200, b"".join(frames), {"content-type": "text/event-stream"})


RUNNING = frame("1-0", "status", {"status": "running", "attempt": 1})
DELTA = frame("2-0", "delta", {"text": "line\u2028separator"})
DONE = frame("3-0.done", "done", {"id": "job_1", "type": "system.echo", "status": "succeeded", "output": 1})


def test_a_retry_goes_under_one_key_until_it_is_answered(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    made = make.answer(
        202, {"id": "job_2", "type": "system.echo", "status": "queued", "retried_from": "job_1"}
    )
    gateway.on("POST", "/v1/jobs/job_1/retry", None, make.answer(502, b"<html>"), made)
    assert callboard.jobs.retry("job_1").retried_from == "job_1"
    keys = [seen.headers["idempotency-key"] for seen in gateway.seen]
    assert len(keys) == 3 and len(set(keys)) == 1
    callboard.jobs.retry("job_1", idempotency_key="mine")
    assert gateway.seen[-1].headers["idempotency-key"] == "mine"


def test_events_come_in_order_and_end_with_the_job(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("GET", "/v1/jobs/job_1/events", stream(make, b": hello\n\n", RUNNING, DELTA, DONE))
    events = list(callboard.jobs.events("job_1"))
    assert [event.kind for event in events] == ["status", "delta", "done"]
    assert events[1].data == {"text": "line\u2028separator"}
    assert events[0].job is None
    assert events[2].job is not None
    assert events[2].job.output == 1


def test_a_stream_that_breaks_is_resumed_behind_its_last_event(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    cut = make.answer(
        200, RUNNING + DELTA + DONE, {"content-type": "text/event-stream"}, cut=len(RUNNING) + 20
    )
    ends_early = stream(make, DELTA)
    away = make.answer(503, make.problem(503, "ledger-unavailable"))
    gateway.on("GET", "/v1/jobs/job_1/events", cut, None, away, ends_early, stream(make, DONE))
    events = list(callboard.jobs.events("job_1"))
    assert [event.kind for event in events] == ["status", "delta", "done"]
    resumed = [seen.headers.get("last-event-id") for seen in gateway.seen]
    assert resumed == [None, "1-0", "1-0", "1-0", "2-0"]


def test_a_stream_resumed_behind_its_end_is_over(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("GET", "/v1/jobs/job_1/events", make.answer(204))
    assert list(callboard.jobs.events("job_1", after="3-0.done")) == []


def test_a_stream_that_never_gets_on_ends_in_an_error(gateway: Any, callboard: Callboard, make: Any) -> None:
    gateway.on("GET", "/v1/jobs/job_1/events", stream(make, b": nothing\n\n"))
    with pytest.raises(ConnectionFailed, match="kept ending"):
        list(callboard.jobs.events("job_1"))
    gateway.on("GET", "/v1/jobs/job_1/events", make.answer(503, make.problem(503, "ledger-unavailable")))
    with pytest.raises(Unavailable):
        list(callboard.jobs.events("job_1"))


def test_events_of_an_unknown_job_are_not_found(gateway: Any, callboard: Callboard) -> None:
    with pytest.raises(NotFound):
        list(callboard.jobs.events("job_2"))


async def test_async_events_resume_too(gateway: Any, async_callboard: AsyncCallboard, make: Any) -> None:
    gateway.on("GET", "/v1/jobs/job_1/events", stream(make, RUNNING), None, stream(make, DELTA, DONE))
    kinds = [event.kind async for event in async_callboard.jobs.events("job_1")]
    assert kinds == ["status", "delta", "done"]
    assert gateway.seen[-1].headers["last-event-id"] == "1-0"


def key_frame(place: str, status: str) -> bytes:
    return frame(place, "status", {"id": "job_1", "type": "system.echo", "queue": "system", "status": status})


def test_events_of_all_jobs_go_on_over_broken_connections(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    first = stream(make, b"id: system:1-0\n\n", key_frame("system:2-0", "queued"))
    quiet = stream(make, b": still here\nid: system:7-0\n\n")
    gateway.on("GET", "/v1/events", first, None, quiet, stream(make, key_frame("system:9-0", "running")))
    events = callboard.events(type="system.echo", status="queued,running")
    assert [next(events).data["status"] for _ in range(2)] == ["queued", "running"]
    resumed = [seen.headers.get("last-event-id") for seen in gateway.seen]
    assert resumed == [None, "system:2-0", "system:2-0", "system:7-0"]
    assert gateway.seen[-1].query == {"type": "system.echo", "status": "queued,running"}


def test_quiet_hours_use_up_no_tries(gateway: Any, callboard: Callboard, make: Any) -> None:
    quiet = [stream(make, b": still here\n\n")] * 10
    gateway.on("GET", "/v1/events", *quiet, stream(make, key_frame("system:9-0", "running")))
    assert next(callboard.events()).data["status"] == "running"


def test_events_of_all_jobs_from_no_gateway_are_an_error(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    gateway.on("GET", "/v1/events", make.answer(503, make.problem(503, "ledger-unavailable")))
    with pytest.raises(Unavailable):
        next(callboard.events())


async def test_the_async_client_hears_of_all_jobs_too(
    gateway: Any, async_callboard: AsyncCallboard, make: Any
) -> None:
    gateway.on("GET", "/v1/events", stream(make, key_frame("system:2-0", "queued")), None)
    async for event in async_callboard.events(kind="status", queue="system", after="system:1-0"):
        assert (event.id, event.kind, event.data["id"]) == ("system:2-0", "status", "job_1")
        break
    assert gateway.seen[0].headers["last-event-id"] == "system:1-0"
    assert gateway.seen[0].query == {"event": "status", "queue": "system"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_event_reader_does_not_mind_where_chunks_end(size: int, end: str) -> None:
    text = f'id: 7{end}event: log{end}data: {{"message":{end}data: "é"}}{end}{end}: x{end}{end}'.encode()
    reader = EventReader()
    events = [event for at in range(0, len(text), size) for event in reader.feed(text[at : at + size])]
    events += list(reader.feed(b"\n"))
    assert [(event.id, event.kind, event.data) for event in events] == [("7", "log", {"message": "é"})]


def test_listing_walks_the_pages_and_stops_at_the_limit(
    gateway: Any, callboard: Callboard, make: Any
) -> None:
    def page(seen: Any) -> Any:
        start = int(seen.query.get("cursor", 0))
        count = int(seen.query["limit"])
        data = [{**make.job(), "id": f"job_{n}"} for n in range(start, min(start + count, 250))]
        return make.answer(
            200, {"data": data, "next_cursor": str(start + count) if start + count < 250 else None}
        )

    gateway.on("GET", "/v1/jobs", page)
    assert len(list(callboard.jobs.list())) == 250
    ids = [job.id for job in callboard.jobs.list(limit=120, status="queued", metadata={"order": "17"})]
    assert ids == [f"job_{n}" for n in range(120)]
    assert gateway.seen[-1].query["limit"] == "20"
    assert gateway.seen[-1].query["metadata.order"] == "17"
    before = len(gateway.seen)
    next(iter(callboard.jobs.list()))
    assert len(gateway.seen) == before + 1


async def test_the_async_client_lists_and_waits_and_cancels(
    gateway: Any, async_callboard: AsyncCallboard, make: Any
) -> None:
    gateway.on("GET", "/v1/jobs", make.answer(200, {"data": [make.job()], "next_cursor": None}))
    gateway.on("GET", "/v1/jobs/job_1", make.answer(200, make.job("canceled")))
    gateway.on("POST", "/v1/jobs/job_1/cancel", make.answer(202, make.job("canceling")))
    (job,) = [job async for job in async_callboard.jobs.list()]
    assert (await async_callboard.jobs.cancel(job)).status == "canceling"
    assert (await async_callboard.jobs.wait(job)).status == "canceled"


def test_a_delete_whose_answer_got_lost_is_done_when_the_thing_is_gone(
    gateway: Any, callboard: Callboard
) -> None:
    gateway.on("DELETE", "/v1/jobs/job_1", None, lambda seen: gateway_404(seen))

    def gateway_404(seen: Any) -> Any:
        return gateway.answer(type(seen)("GET", "/nowhere", {}, {}, b""))

    callboard.jobs.delete("job_1")
    with pytest.raises(NotFound):
        callboard.jobs.delete("job_9")


def test_ids_are_quoted_into_paths(gateway: Any, callboard: Callboard) -> None:
    with pytest.raises(NotFound):
        callboard.jobs.get("../keys?x=1")
    assert gateway.seen[0].path == "/v1/jobs/..%2Fkeys%3Fx%3D1"
