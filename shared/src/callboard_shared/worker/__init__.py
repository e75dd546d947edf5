"""The worker runtime: claim, run, finish, and tell."""

from callboard_shared.worker.job import ClaimLost, Context, Job, JobCanceled
from callboard_shared.worker.worker import Worker

__all__ = ["ClaimLost", "Context", "Job", "JobCanceled", "Worker"]
