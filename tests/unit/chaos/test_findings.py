"""The checker is fed broken histories: it finds what is wrong with each, and nothing wrong with a sound one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from findings import Change, History, JobHistory, Post, judge

RAN = (Change("queued", 0, 1), Change("running", 1, 2))
DONE = JobHistory("succeeded", (*RAN, Change("succeeded", 1, 3)))
SOUND = History(
    accepted=["a", "b"],
    jobs={"a": DONE, "b": replace(DONE, status="failed", changes=(*RAN, Change("failed", 1, 3)))},
    hooked={"a"},
    posts=[Post("a", "evt_1", "job.succeeded"), Post("a", "evt_1", "job.succeeded")],
    committed=2,
)


def broken(**changes: Any) -> dict[str, object]:
    return judge(replace(SOUND, **changes)).faults


def with_a(status: str, *changes: Change) -> dict[str, object]:
    return broken(jobs=SOUND.jobs | {"a": JobHistory(status, changes)}, hooked=(), posts=())


def test_a_sound_history_has_no_faults_and_its_repeated_posts_are_counted() -> None:
    found = judge(SOUND)
    assert found.faults == {}
    assert found.resent == 1


def test_a_job_that_the_ledger_does_not_know_is_lost() -> None:
    assert broken(accepted=["a", "b", "c"]) == {"lost": ["c"]}


@pytest.mark.parametrize("status", ["queued", "running", "scheduled", "canceling"])
def test_a_job_that_has_not_ended_is_lost(status: str) -> None:
    assert with_a(status, *RAN)["lost"] == ["a"]


def test_a_job_that_ended_twice_is_doubled_whatever_its_ends() -> None:
    again = (*DONE.changes, Change("running", 2, 4), Change("succeeded", 2, 5))
    assert with_a("succeeded", *again) == {"doubled": ["a"]}
    assert with_a("failed", *DONE.changes, Change("failed", 1, 4)) == {"doubled": ["a"]}


def test_one_id_for_two_intentions_is_doubled() -> None:
    assert broken(accepted=["a", "a", "b"])["doubled"] == ["a"]


def test_a_record_that_says_otherwise_than_the_events_is_a_contradiction() -> None:
    assert with_a("failed", *DONE.changes) == {"contradictory": ["a"]}
    assert with_a("succeeded", *RAN) == {"contradictory": ["a"]}


def test_a_job_that_goes_on_after_its_end_is_a_contradiction() -> None:
    assert with_a("succeeded", *DONE.changes, Change("running", 2, 4)) == {"contradictory": ["a"]}


def test_a_job_that_nobody_was_promised_is_strange() -> None:
    assert broken(jobs=SOUND.jobs | {"z": DONE}, committed=3) == {"strange": ["z"]}


def test_a_commit_more_or_less_than_jobs_that_ended_is_a_miscount() -> None:
    assert broken(committed=3) == {"miscounted": 1}
    assert broken(committed=1) == {"miscounted": -1}


def test_a_webhook_that_never_came_is_found() -> None:
    assert broken(posts=[]) == {"untold": ["a"]}


@pytest.mark.parametrize(
    "posts",
    [
        [Post("a", "evt_1", "job.succeeded"), Post("a", "evt_2", "job.succeeded")],
        [Post("a", "evt_1", "job.failed")],
        [Post("a", "evt_1", "job.succeeded"), Post("b", "evt_2", "job.failed")],
        [Post("a", "evt_1", "job.succeeded"), Post("z", "evt_2", "job.succeeded")],
    ],
    ids=["under two ids", "of another end", "of a job that asked for none", "of a job that is not there"],
)
def test_a_webhook_that_tells_wrongly_is_found(posts: list[Post]) -> None:
    assert set(broken(posts=posts)) == {"mistold"}


def test_two_jobs_under_one_webhook_id_are_found() -> None:
    posts = [Post("a", "evt_1", "job.succeeded"), Post("b", "evt_1", "job.failed")]
    assert broken(posts=posts, hooked={"a", "b"}) == {"mistold": ["a", "b"]}


def test_it_knows_when_a_job_ran_again() -> None:
    again = JobHistory("succeeded", (*RAN, Change("running", 2, 40), Change("running", 3, 90)))
    assert (again.runs_again_ms(1), again.runs_again_ms(2), again.runs_again_ms(3)) == (40, 90, None)
