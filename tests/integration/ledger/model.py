"""What the ledger should do, in plain Python: one queue, one thing after another, no care for speed.

The rules: a waiting job is taken by priority, within a priority round the owners (one job each), within an
owner by the order of submission. A claim holds for a lease and carries an attempt number. A status never
leaves the last four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from callboard_shared.ledger import NewJob
from callboard_shared.states import ACTIVE, TERMINAL, WAITING, JobStatus

S = JobStatus
LOOK_AGAIN_FIRST_MS, LOOK_AGAIN_MS = 5_000, 30_000
"""When the sweep looks again at what a blocked job waits for."""


@dataclass
class ModelJob:
    new: NewJob
    sequence: int
    status: JobStatus
    created: int
    due: int | None = None
    expires: int | None = None
    attempt: int = 0
    worker: str | None = None
    lease_until: int = 0
    ever_claimed: bool = False
    lapsed: bool = False
    forget_at: int = 0
    look_again_at: int = 0
    waits: set[str] = field(default_factory=set)
    dependents: set[str] = field(default_factory=set)
    history: list[JobStatus] = field(default_factory=list)
    commits: int = 0

    def __post_init__(self) -> None:
        self.first = self.status

    @property
    def batch_key(self) -> str:
        return self.new.batch_key or self.new.type


class ModelLedger:
    def __init__(self, now: int) -> None:
        self.now = now
        self.jobs: dict[str, ModelJob] = {}
        self.rota: dict[int, list[str]] = {}
        self.paused = False
        self.settlements: set[tuple[str, str, str]] = set()
        self.stale = 0
        self.ended: Counter[tuple[str, str, str]] = Counter()
        self._sequence = 0

    # --- what can be asked ---

    def line(self, priority: int, owner: str) -> list[ModelJob]:
        """An owner's ready jobs of one priority, first come first."""
        waiting = [
            job
            for job in self.jobs.values()
            if job.status is S.QUEUED and job.new.priority == priority and job.new.owner == owner
        ]
        return sorted(waiting, key=lambda job: job.sequence)

    def order(self) -> list[str]:
        """The ready jobs in the order in which single claims would take them."""
        ids = []
        for priority in sorted(self.rota, reverse=True):
            lines = [self.line(priority, owner) for owner in self.rota[priority]]
            for place in range(max(map(len, lines), default=0)):
                ids += [line[place].new.id for line in lines if len(line) > place]
        return ids

    def with_status(self, *statuses: JobStatus) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def waiting(self, owner: str) -> int:
        return sum(job.status in WAITING and job.new.owner == owner for job in self.jobs.values())

    # --- small steps ---

    def _move(self, job: ModelJob, status: JobStatus) -> None:
        job.status = status
        job.history.append(status)

    def _enter_line(self, job: ModelJob) -> None:
        owners = self.rota.setdefault(job.new.priority, [])
        if job.new.owner not in owners:
            owners.append(job.new.owner)

    def _tidy_rota(self) -> None:
        for priority, owners in list(self.rota.items()):
            owners[:] = [owner for owner in owners if self.line(priority, owner)]
            if not owners:
                del self.rota[priority]

    def _end(self, job: ModelJob, status: JobStatus) -> None:
        assert job.status not in TERMINAL
        self._move(job, status)
        job.forget_at = self.now + job.new.retention_ms
        self.ended[job.new.owner, job.new.type, status] += 1
        self.settlements |= {(job.new.id, status.value, dependent) for dependent in job.dependents}
        job.dependents.clear()
        job.waits.clear()
        self._tidy_rota()

    def _back_to_line(self, job: ModelJob) -> None:
        self._move(job, S.QUEUED)
        job.worker = None
        self._enter_line(job)

    def _lapse(self, job: ModelJob) -> None:
        if job.status is S.CANCELING:
            job.lapsed = True
            self._end(job, S.CANCELED)
        elif job.attempt >= job.new.max_attempts:
            job.lapsed = True
            self._end(job, S.FAILED)
        else:
            self._back_to_line(job)

    # --- the verbs ---

    def submit(self, new: NewJob, most: int = 0) -> ModelJob | None:
        """None: the owner has as many waiting as it may."""
        if new.id in self.jobs:
            return self.jobs[new.id]
        if most and self.waiting(new.owner) >= most:
            return None
        self._sequence += 1
        scheduled = new.run_at_ms is not None and new.run_at_ms > self.now
        status = S.BLOCKED if new.after else S.SCHEDULED if scheduled else S.QUEUED
        job = ModelJob(new, self._sequence, status, self.now, waits=set(new.after))
        job.due = new.run_at_ms if scheduled else None
        job.look_again_at = self.now + LOOK_AGAIN_FIRST_MS
        if new.expires_in_ms is not None:
            job.expires = max(self.now, new.run_at_ms or 0) + new.expires_in_ms
        self.jobs[new.id] = job
        if status is S.QUEUED:
            self._enter_line(job)
        return job

    def depend(self, job_id: str, dependent_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.status in TERMINAL:
            return job.status.value
        job.dependents.add(dependent_id)
        return "pending"

    def settle(self, job_id: str, other: str, outcome: str) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.status is not S.BLOCKED or other not in job.waits:
            return "ignored"
        job.waits.discard(other)
        if outcome != "succeeded":
            self._end(job, S.FAILED)
            return "failed"
        if job.waits:
            return "waits"
        if job.due is not None and job.due > self.now:
            self._move(job, S.SCHEDULED)
            return "waits"
        self._move(job, S.QUEUED)
        self._enter_line(job)
        return "ready"

    def claim(
        self, runner: str, limits: Mapping[str, tuple[int, int]], max_jobs: int, lease_ms: int
    ) -> list[str]:
        taken: list[ModelJob] = []
        weight_left: float = 0
        room = max_jobs

        def fits(job: ModelJob) -> bool:
            return not taken or (job.batch_key == taken[0].batch_key and job.new.weight <= weight_left)

        for priority in sorted([] if self.paused else self.rota, reverse=True):
            progress = True
            while progress and len(taken) < room:
                progress = False
                for owner in list(self.rota.get(priority, ())):
                    job = self.line(priority, owner)[0]
                    if job.expires is not None and not job.ever_claimed and job.expires <= self.now:
                        self._end(job, S.EXPIRED)
                        progress = True
                    elif fits(job):
                        if not taken:
                            most, weight = limits[job.new.type]
                            room, weight_left = min(max_jobs, most), weight or float("inf")
                        weight_left -= job.new.weight
                        taken.append(job)
                        self._take(job, runner, lease_ms)
                        self._rotate(priority, owner)
                        progress = True
                    if len(taken) >= room:
                        break
            if self.rota.get(priority) or len(taken) >= room:
                break
        return [job.new.id for job in taken]

    def _take(self, job: ModelJob, runner: str, lease_ms: int) -> None:
        job.attempt += 1
        job.worker = runner
        job.lease_until = self.now + lease_ms
        job.ever_claimed = True
        self._move(job, S.RUNNING)
        self._tidy_rota()

    def _rotate(self, priority: int, owner: str) -> None:
        owners = self.rota.get(priority, [])
        if owner in owners:
            owners.remove(owner)
            owners.append(owner)

    def holds(self, runner: str, job_id: str, attempt: int) -> ModelJob | None:
        job = self.jobs.get(job_id)
        mine = job is not None and (job.worker, job.attempt) == (runner, attempt)
        return job if mine and job is not None and job.status in ACTIVE else None

    def renew(self, runner: str, job_id: str, attempt: int, lease_ms: int) -> str:
        job = self.holds(runner, job_id, attempt)
        if job is None:
            return "lost"
        job.lease_until = self.now + lease_ms
        return "canceling" if job.status is S.CANCELING else "held"

    def finish(self, runner: str, job_id: str, attempt: int, outcome: str, delay_ms: int) -> str:
        job = self.holds(runner, job_id, attempt)
        if job is None:
            known = self.jobs.get(job_id)
            same = known is not None and (known.worker, known.attempt) == (runner, attempt)
            if same and known is not None and known.status in TERMINAL and not known.lapsed:
                return "committed"
            self.stale += 1
            return "stale"
        if outcome == "retry" and job.status is S.RUNNING and job.attempt < job.new.max_attempts:
            job.due = self.now + delay_ms
            job.worker = None
            self._move(job, S.SCHEDULED)
        elif outcome == "release" and job.status is S.RUNNING:
            job.attempt -= 1
            self._back_to_line(job)
        elif outcome == "release":
            self._end(job, S.CANCELED)
        else:
            status = S.FAILED if outcome == "retry" else JobStatus(outcome)
            if job.status is S.CANCELING and status is S.FAILED:
                status = S.CANCELED
            job.commits += 1
            self._end(job, status)
        return "committed"

    def cancel(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.status in TERMINAL:
            return "already-ended"
        if job.status is S.RUNNING:
            self._move(job, S.CANCELING)
        if job.status is S.CANCELING:
            return "canceling"
        self._end(job, S.CANCELED)
        return "ended"

    def delete(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "missing"
        if job.status not in TERMINAL:
            return "unfinished"
        del self.jobs[job_id]
        return "deleted"

    def lost(self, runner: str) -> int:
        held = sorted(
            (job for job in self.with_status(*ACTIVE) if job.worker == runner),
            key=lambda job: (job.lease_until, job.new.id),
        )
        for job in held:
            self._lapse(job)
        return len(held)

    def sweep(self) -> tuple[int, int, int, int, list[str]]:
        """(due, lapsed, expired, forgotten, blocked jobs to look at again)"""

        def passed(jobs: list[ModelJob], name: str) -> list[ModelJob]:
            of_age = [
                job for job in jobs if getattr(job, name) is not None and getattr(job, name) <= self.now
            ]
            return sorted(of_age, key=lambda job: (getattr(job, name), job.new.id))

        due = passed(self.with_status(S.SCHEDULED), "due")
        for job in due:
            self._move(job, S.QUEUED)
            self._enter_line(job)
        lapsed = passed(self.with_status(*ACTIVE), "lease_until")
        for job in lapsed:
            self._lapse(job)
        expired = [job for job in passed(self.with_status(*WAITING), "expires") if not job.ever_claimed]
        for job in expired:
            self._end(job, S.EXPIRED)
        forgotten = passed(self.with_status(*TERMINAL), "forget_at")
        for job in forgotten:
            del self.jobs[job.new.id]
        blocked = passed(self.with_status(S.BLOCKED), "look_again_at")
        for job in blocked:
            job.look_again_at = self.now + LOOK_AGAIN_MS
        return len(due), len(lapsed), len(expired), len(forgotten), [job.new.id for job in blocked]
