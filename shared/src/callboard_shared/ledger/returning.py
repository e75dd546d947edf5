"""After a restore: jobs that ran when the copy was made are ready again, and have used up no attempt by that.

Their leases would lapse by themselves, but a job in its last attempt would then fail. ``python -m
callboard_shared.ledger.returning`` does it for the ledger that the settings name, before any worker is started.
"""

from __future__ import annotations

from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import keys, verbs
from callboard_shared.ledger.client import Call, Ledger
from callboard_shared.ledger.records import Ended


def return_running(ledger: Ledger) -> int:
    """Give every running job back; how many there were. Only while no worker runs: they would do them twice."""
    returned = 0
    for queue in QUEUES:
        for job_id in ledger.run(_leased(queue)):
            status, worker, attempt = ledger.run(_claim_of(queue, job_id))
            if status == b"running":  # one that was to be canceled ends as that when its lease lapses
                ended = Ended(job_id, int(attempt), "release")
                returned += ledger.run(verbs.finish(queue, worker.decode(), [ended])).results == ["committed"]
    return returned


def _leased(queue: str) -> Call[list[str]]:
    return Call(("ZRANGE", keys.of(queue, "lease"), 0, -1), lambda reply: [one.decode() for one in reply])


def _claim_of(queue: str, job_id: str) -> Call[tuple[bytes, bytes, bytes]]:
    return Call(("HMGET", keys.of(queue, "job", job_id), "status", "worker", "attempt"), tuple)


if __name__ == "__main__":
    print(f"{return_running(Ledger())} jobs that ran are ready again")
