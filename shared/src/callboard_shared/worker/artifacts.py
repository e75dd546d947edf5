"""Files that an attempt makes: recorded with the job that keeps them, thrown away with an attempt that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from callboard_shared.errors import LedgerError
from callboard_shared.files import Files
from callboard_shared.ledger import Call, Ended, Ledger, filing
from callboard_shared.worker.job import Context

log = structlog.get_logger(__name__)


def settle(files: Files, context: Context, end: Ended | None) -> Iterator[Call[Any]]:
    """The records to put before the attempt ends; what does not stay with the job is deleted here."""
    stays = end.files if end is not None else ()
    for record in context.created:
        if record.id in stays:
            yield filing.put_file(record)
        else:
            files.delete(record.id)


def throw_away(ledger: Ledger, files: Files, file_ids: Sequence[str]) -> None:
    """Forget files of a commit that was refused; the ledger may be away, then they are left to the courier's sweep."""
    for file_id in file_ids:
        try:
            record = ledger.run(filing.get_file(file_id))
            if record is not None:
                ledger.run(filing.delete_file(file_id, record.owner))
            files.delete(file_id)
        except LedgerError as error:
            log.warning("file.left", file=file_id, reason=error.problem_code)


def tidy_up(call: Callable[[], None]) -> None:
    """What a job wanted done once it was committed: it has succeeded already, so a bug here is only logged."""
    try:
        call()
    except Exception:
        log.exception("job.not_tidied")
