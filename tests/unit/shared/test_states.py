from __future__ import annotations

from callboard_shared.states import ACTIVE, MOVES, TERMINAL, WAITING, JobStatus


def test_the_statuses_are_those_promised() -> None:
    assert [status.value for status in JobStatus] == [
        "scheduled", "blocked", "queued", "running", "canceling", "succeeded", "failed", "canceled", "expired",
    ]  # fmt: skip


def test_every_status_is_waiting_active_or_terminal_and_knows_it() -> None:
    assert set(JobStatus) == WAITING | ACTIVE | TERMINAL
    assert len(WAITING) + len(ACTIVE) + len(TERMINAL) == len(JobStatus)
    for status in JobStatus:
        assert status.is_terminal == (status in TERMINAL)
        assert status.is_waiting == (status in WAITING)


def test_a_status_never_leaves_the_last_four() -> None:
    assert {status for status in JobStatus if not MOVES[status]} == TERMINAL


def test_every_status_has_its_moves_and_can_reach_an_end() -> None:
    assert set(MOVES) == set(JobStatus)
    for start in JobStatus:
        reached, new = {start}, {start}
        while new:
            new = {after for before in new for after in MOVES[before]} - reached
            reached |= new
        assert reached & TERMINAL


def test_a_job_being_canceled_never_runs_again() -> None:
    assert MOVES[JobStatus.CANCELING] <= TERMINAL
