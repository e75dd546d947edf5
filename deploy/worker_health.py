"""Health of a worker's container: does it still take work? Exit code 0 if so; else it says why not.

A worker takes work if it is on the ledger's list (it says so every two seconds), has loaded its models, and its
Celery answers through the broker, which a consumer that lost its connection does not.
"""

from __future__ import annotations

import socket
import sys

from callboard_shared.bell import celery_app
from callboard_shared.errors import LedgerError
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, WorkerInfo, verbs

ANSWER_S = 3.0


def online_here() -> list[WorkerInfo]:
    """The workers on this host (a container is one) that are online, once per queue. Raises LedgerError."""
    answers = Ledger().run_many([verbs.workers(queue) for queue in QUEUES])
    for answer in answers:
        if isinstance(answer, LedgerError):
            raise answer
    return [worker for found in answers for worker in found if worker.host == socket.gethostname()]


def main() -> None:
    try:
        workers = online_here()
    except LedgerError as error:
        sys.exit(str(error))
    if not workers:
        sys.exit("no worker of this host is online")
    if any(worker.note.startswith("loading") for worker in workers):
        sys.exit("its models are loading")
    names = {worker.id for worker in workers}
    answers = celery_app("callboard_health").control.ping(destination=sorted(names), timeout=ANSWER_S)
    silent = names - {name for answer in answers for name in answer}
    if silent:
        sys.exit(f"no answer from {', '.join(sorted(silent))}")


if __name__ == "__main__":
    main()
