"""Jobs that start after others. The others may be in other queues, whose keys change in steps of their own:

a job is first submitted as blocked, then registered with each job it waits for; whichever of those ends leaves
a row in its own queue ("settle"), from which the blocked job is told. Each step may be repeated, and the sweep
repeats those that a crash left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from callboard_shared.ledger import verbs
from callboard_shared.ledger.client import Ledger


def settle_row(ledger: Ledger, queue: str, row: str) -> tuple[str, bool]:
    """Make one settlement of ``queue`` and strike it. Gives the dependent's queue and whether to ring there."""
    job_id, outcome, dependent_queue, dependent_id = row.split(" ")
    ring, _ = ledger.run(verbs.settle(dependent_id, dependent_queue, job_id, outcome))
    ledger.run(verbs.settled(queue, row))
    return dependent_queue, ring


def register_again(ledger: Ledger, queues: Sequence[str], job_id: str, queue: str) -> bool:
    """Register a blocked job once more with all it waits for; whether to ring for its queue."""
    ring = False
    for other in ledger.run(verbs.waits_for(job_id, queue)):
        states = [ledger.run(verbs.depend(other, where, job_id, queue)) for where in queues]
        known = [state for state in states if state != "missing"]
        outcome = known[0] if known else "missing"
        if outcome != "pending":
            ring |= ledger.run(verbs.settle(job_id, queue, other, outcome))[0]
    return ring
