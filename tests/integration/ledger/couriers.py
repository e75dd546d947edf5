"""What the courier does with the ledger each second, by hand: the test says when, and how far it gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callboard_courier.settling import dependencies
from callboard_shared.files import Files, LocalStore
from callboard_shared.ledger import Ledger, pipelining, verbs


class Courier:
    """``folder``: where files are, for those tests that have any."""

    def __init__(self, ledger: Ledger, queues: Sequence[str], folder: Path = Path("nowhere")) -> None:
        self.ledger, self.queues = ledger, queues
        self.dependents = dependencies(ledger, Files(LocalStore(folder)))
        self.freed: list[str] = []

    def sweep(self) -> set[str]:
        """One pass; gives the queues to ring for, and keeps the ids of files to remove."""
        ring: set[str] = set()
        for queue in self.queues:
            swept = self.ledger.run(verbs.sweep(queue))
            ring |= {queue} if swept.ring else set()
            for row in swept.settle:
                other, needed = self.dependents.settle_row(queue, row)
                ring |= {other} if needed else set()
            for job_id in swept.blocked:
                ring |= {queue} if self.dependents.register_again(job_id, queue) else set()
            self.freed += swept.files
            for row in swept.steps:
                self.freed += self.dependents.forget_step(*row.split(" "), queue)
        undone, _ = self.ledger.run(pipelining.sweep())
        for pipeline_id in undone:
            ring |= self.dependents.carry_out(pipeline_id)
        return ring
