"""The checker: what a ledger and a receiver tell of a run, and what of it breaks a promise. Pure.

The promises: every accepted job is in exactly one terminal state, was committed once and never left that state, and
each that asked for a webhook was told of under one id of its own; and no job is there that nobody was promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from callboard_shared.states import TERMINAL


@dataclass(frozen=True, slots=True)
class Change:
    """A ``status`` event of a job. at_ms: by the ledger's clock."""

    status: str
    attempt: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class JobHistory:
    """What the ledger has of one job. status: as its record says now."""

    status: str
    changes: Sequence[Change] = ()

    @property
    def ends(self) -> list[Change]:
        return [change for change in self.changes if change.status in TERMINAL]

    def runs_again_ms(self, after_attempt: int) -> int | None:
        """When an attempt later than this one began to run."""
        later = [c.at_ms for c in self.changes if c.status == "running" and c.attempt > after_attempt]
        return min(later, default=None)


@dataclass(frozen=True, slots=True)
class Post:
    """A webhook as the receiver took it. message: its ``webhook-id``; event: its type, such as ``job.succeeded``."""

    job: str
    message: str
    event: str


@dataclass(frozen=True, slots=True)
class History:
    """accepted: ids of the 202s, one for each intention to submit; jobs: all that the ledger has of these keys;
    hooked: those that asked to be told of; committed: ends as the usage counts them, None where it was not asked."""

    accepted: Sequence[str]
    jobs: Mapping[str, JobHistory]
    hooked: Collection[str] = ()
    posts: Sequence[Post] = ()
    committed: int | None = None


@dataclass(slots=True)
class Findings:
    """Job ids, by what is wrong with them. resent: posts beyond the first of their message, which is allowed."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    mistold: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    miscounted: int = 0
    resent: int = 0

    @property
    def faults(self) -> dict[str, object]:
        """Everything that breaks a promise; empty when all is well."""
        found = {
            "lost": self.lost, "doubled": self.doubled, "contradictory": self.contradictory,
            "untold": self.untold, "mistold": self.mistold, "strange": self.strange, "miscounted": self.miscounted,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}


def judge(history: History) -> Findings:
    """Hold a history against the promises."""
    found = Findings()
    for job, times in Counter(history.accepted).items():
        told = history.jobs.get(job)
        if told is None or told.status not in TERMINAL:
            found.lost.append(job)
        elif len(told.ends) > 1 or times > 1:
            found.doubled.append(job)
        elif not told.ends or told.ends[0].status != told.status or told.changes[-1].status != told.status:
            found.contradictory.append(job)
    found.strange = sorted(set(history.jobs) - set(history.accepted))
    if history.committed is not None:
        ended = sum(1 for told in history.jobs.values() if told.status in TERMINAL)
        found.miscounted = history.committed - ended
    _judge_posts(history, found)
    return found


def _judge_posts(history: History, found: Findings) -> None:
    by_job: dict[str, list[Post]] = {}
    about: dict[str, set[str]] = {}
    for post in history.posts:
        by_job.setdefault(post.job, []).append(post)
        about.setdefault(post.message, set()).add(post.job)
    found.untold = sorted(set(history.hooked) - set(by_job))
    for job, posts in by_job.items():
        under_one_id = len({post.message for post in posts}) == 1 and about[posts[0].message] == {job}
        told = history.jobs.get(job)
        true = told is not None and {post.event for post in posts} == {f"job.{told.status}"}
        if not (under_one_id and true and job in history.hooked):
            found.mistold.append(job)
    found.resent = len(history.posts) - len(about)
