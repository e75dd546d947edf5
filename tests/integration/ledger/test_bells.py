"""When a bell must be rung: once while one waits, not at all while somebody listens, again when it was lost."""

from __future__ import annotations

from builders import EVERYTHING, LEASE_MS, OTHER, QUEUE, RUNNER, a_job, claim, finish, submitted
from clocked import ClockedLedger

from callboard_shared.ledger import Claim, Ended, verbs
from callboard_shared.ledger.keys import of


def submit_rings(ledger: ClockedLedger) -> bool:
    return ledger.run(verbs.submit(QUEUE, [a_job()])).ring


def sweep_rings(ledger: ClockedLedger) -> bool:
    return ledger.run(verbs.sweep(QUEUE)).ring


def answer(ledger: ClockedLedger, runner: str = RUNNER) -> Claim:
    return claim(ledger, runner, answered=True)


def beat(ledger: ClockedLedger, slots: int) -> None:
    ledger.run(verbs.beat(QUEUE, "nlp@host-1", 600_000, host="h", pid=1, slots=slots, models=[]))


def listen(ledger: ClockedLedger, runner: str, ms: int = 1_000) -> None:
    assert claim(ledger, runner, listen_ms=ms).jobs == []


def test_one_bell_waits_at_most(ledger: ClockedLedger) -> None:
    assert [submit_rings(ledger) for _ in range(50)] == [True] + [False] * 49


def test_a_job_that_cannot_start_yet_rings_no_bell(ledger: ClockedLedger) -> None:
    later = a_job(run_at_ms=ledger.now_ms + 5_000)
    assert ledger.run(verbs.submit(QUEUE, [later, a_job(after=("job_other",))])).ring is False


def test_who_answers_calls_for_the_next_while_work_is_left(ledger: ClockedLedger) -> None:
    for _ in range(3):
        submitted(ledger)
    first, second, third = answer(ledger, RUNNER), answer(ledger, OTHER), answer(ledger, "third#1")
    assert [first.ring, second.ring, third.ring] == [True, True, False]
    assert [first.ready, second.ready, third.ready] == [2, 1, 0]


def test_an_idle_answerer_is_woken_instead_of_a_bell_rung(ledger: ClockedLedger) -> None:
    listen(ledger, RUNNER)
    assert submit_rings(ledger) is False
    assert ledger.redis.llen(of(QUEUE, "wake", RUNNER)) == 1
    assert submit_rings(ledger) is True  # nobody else listens


def test_each_listener_is_woken_once(ledger: ClockedLedger) -> None:
    listen(ledger, RUNNER)
    listen(ledger, OTHER)
    assert [submit_rings(ledger) for _ in range(3)] == [False, False, True]
    assert [ledger.redis.llen(of(QUEUE, "wake", runner)) for runner in (RUNNER, OTHER)] == [1, 1]


def test_who_no_longer_listens_is_not_woken(ledger: ClockedLedger) -> None:
    listen(ledger, RUNNER, ms=1_000)
    ledger.pass_time(1_001)
    assert submit_rings(ledger) is True


def test_a_runner_that_took_a_job_does_not_listen(ledger: ClockedLedger) -> None:
    listen(ledger, RUNNER)
    submit_rings(ledger)
    assert len(claim(ledger, RUNNER, listen_ms=1_000).jobs) == 1
    assert submit_rings(ledger) is True


def test_a_wake_that_nobody_took_does_not_stay(ledger: ClockedLedger) -> None:
    listen(ledger, RUNNER)
    submit_rings(ledger)
    assert 0 < ledger.redis.pttl(of(QUEUE, "wake", RUNNER)) <= 5_000


def test_a_woken_listener_that_died_is_replaced_by_a_bell_of_the_sweep(ledger: ClockedLedger) -> None:
    beat(ledger, slots=2)
    listen(ledger, RUNNER)
    submit_rings(ledger)
    assert sweep_rings(ledger) is True


def test_an_unheard_bell_is_rung_again_after_a_second_while_slots_are_free(ledger: ClockedLedger) -> None:
    beat(ledger, slots=1)
    assert submit_rings(ledger) is True
    ledger.pass_time(999)
    assert (submit_rings(ledger), sweep_rings(ledger)) == (False, False)
    ledger.pass_time(1)
    assert sweep_rings(ledger) is True
    assert submit_rings(ledger) is False  # that one waits now


def test_while_no_worker_is_known_a_bell_is_rung_again_once_a_minute(ledger: ClockedLedger) -> None:
    submit_rings(ledger)
    ledger.pass_time(59_999)
    assert sweep_rings(ledger) is False
    ledger.pass_time(1)
    assert sweep_rings(ledger) is True


def test_a_worker_that_comes_online_is_rung_for(ledger: ClockedLedger) -> None:
    submit_rings(ledger)
    ledger.pass_time(30_000)
    beat(ledger, slots=1)
    assert sweep_rings(ledger) is True


def test_no_bell_is_added_while_every_slot_is_busy(ledger: ClockedLedger) -> None:
    beat(ledger, slots=1)
    submit_rings(ledger)
    answer(ledger)
    assert submit_rings(ledger) is True  # it waits for the busy slot
    for _ in range(5):
        ledger.pass_time(1_000)
        ledger.run(verbs.renew(QUEUE, RUNNER, [], LEASE_MS))
        assert (submit_rings(ledger), sweep_rings(ledger)) == (False, False)


def test_a_runner_that_leaves_work_behind_calls_for_another(ledger: ClockedLedger) -> None:
    beat(ledger, slots=2)
    submit_rings(ledger)
    answer(ledger)
    submitted(ledger)
    ledger.run(verbs.claim(QUEUE, "x#1", limits={}, max_jobs=0, lease_ms=LEASE_MS, answered=True))
    leave = verbs.claim(QUEUE, RUNNER, limits=EVERYTHING, max_jobs=0, lease_ms=LEASE_MS)
    ledger.pass_time(1_000)
    assert ledger.run(leave).ring is True
    assert RUNNER not in ledger.run(verbs.runners(QUEUE))


def test_a_released_or_lost_job_rings(ledger: ClockedLedger) -> None:
    submit_rings(ledger)
    (job,) = answer(ledger).jobs
    assert ledger.run(verbs.finish(QUEUE, RUNNER, [Ended(job.id, 1, "release")])).ring is True
    answer(ledger)
    assert ledger.run(verbs.lost(QUEUE, RUNNER)) == (True, 1)


def test_a_paused_queue_rings_nothing_and_its_resumption_does(ledger: ClockedLedger) -> None:
    ledger.run(verbs.pause(QUEUE))
    assert submit_rings(ledger) is False
    ledger.pass_time(2_000)
    assert sweep_rings(ledger) is False
    assert ledger.run(verbs.resume(QUEUE)).ring is True


def test_an_empty_queue_rings_nothing(ledger: ClockedLedger) -> None:
    submit_rings(ledger)
    (job,) = answer(ledger).jobs
    finish(ledger, job.id, 1, "succeeded")
    ledger.pass_time(5_000)
    assert sweep_rings(ledger) is False
    assert ledger.run(verbs.resume(QUEUE)).ring is False
