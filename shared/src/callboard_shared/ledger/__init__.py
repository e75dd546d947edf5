"""The ledger: the one truth about every job, in Redis, changed only by atomic steps."""

from callboard_shared.ledger import verbs
from callboard_shared.ledger.client import AsyncLedger, Call, Copies, Ledger
from callboard_shared.ledger.records import (
    Claim,
    ClaimedJob,
    Ended,
    Event,
    Filled,
    FinishReply,
    JobRecord,
    NewJob,
    QueueStats,
    SubmitReply,
    Submitted,
    Swept,
    UsageRow,
    WorkerInfo,
)

__all__ = [
    "AsyncLedger", "Call", "Claim", "ClaimedJob", "Copies", "Ended", "Event", "Filled", "FinishReply", "JobRecord",
    "Ledger", "NewJob", "QueueStats", "SubmitReply", "Submitted", "Swept", "UsageRow", "WorkerInfo", "verbs",
]  # fmt: skip
