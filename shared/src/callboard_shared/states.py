"""The states of a job, and which moves between them are legal.

    scheduled ──┐
    blocked  ───┼─> queued ──> running ──> succeeded
                │      ▲          │ │
                │      └─ released┘ ├────> failed ──(attempts left)──> scheduled
                │                   └─> canceling ──> canceled
                └────────────────────────────────> canceled · expired · failed

A status never leaves the last four: ``succeeded``, ``failed``, ``canceled``, ``expired``.
"""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @classmethod
    def known(cls, text: bytes) -> JobStatus | None:
        """The status of that name; None for one of a newer Callboard that uses the same ledger."""
        try:
            return cls(text.decode())
        except ValueError:
            return None

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def is_waiting(self) -> bool:
        """Accepted, and not started yet (or waiting for its next attempt)."""
        return self in WAITING


S = JobStatus
TERMINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELED, S.EXPIRED})
WAITING = frozenset({S.SCHEDULED, S.BLOCKED, S.QUEUED})
ACTIVE = frozenset({S.RUNNING, S.CANCELING})

MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.CANCELED, S.EXPIRED}),
    S.BLOCKED: frozenset({S.SCHEDULED, S.QUEUED, S.CANCELED, S.EXPIRED, S.FAILED}),
    S.QUEUED: frozenset({S.RUNNING, S.CANCELED, S.EXPIRED}),
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELED, S.CANCELING, S.SCHEDULED, S.QUEUED}),
    S.CANCELING: frozenset({S.CANCELED, S.SUCCEEDED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
    S.EXPIRED: frozenset(),
}
