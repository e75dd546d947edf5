"""Contents that belong to nothing: what a crash left between the content and its record is found and removed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import structlog

from callboard_shared.errors import LedgerError
from callboard_shared.files import FileRecord, Files
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Call, Ledger, filing, verbs
from callboard_shared.object_store import Content

log = structlog.get_logger(__name__)

PAGE = 500
"""Contents that one look goes through."""
OLD_S = 8 * 86_400
"""Younger ones may be on their way to their record: what a job makes gets one at its end, after a week at most."""
DOUBT = 20
"""If of more than so many contents none is on record, then it is the ledger that is a wrong or an empty one."""


class Orphans:
    """Goes through the object store, a page at each look, and begins anew at its end."""

    def __init__(self, ledger: Ledger, files: Files) -> None:
        self._ledger, self._files = ledger, files
        self._after = ""

    def look(self) -> int:
        """Remove the orphans of the next page; how many there were. Raises LedgerError, StorageAway."""
        page = list(islice(self._files.store.contents(self._after), PAGE))
        records = self._answers([filing.get_file(content.file_id) for content in page])
        removed = 0
        if len(page) > DOUBT and not any(records):
            log.warning(
                "orphans.doubtful",
                contents=len(page),
                reason="none of them is on record: nothing is removed. Is this the ledger of this object store?",
            )
        else:
            old = time.time() - OLD_S
            found = [
                (content, record)
                for content, record in zip(page, records, strict=True)
                if content.modified_s < old
            ]
            removed = self._remove_strays(content for content, record in found if record is None)
            removed += self._remove_left([record for _, record in found if record is not None])
        self._after = page[-1].place if len(page) == PAGE else ""
        return removed

    def _remove_strays(self, contents: Iterable[Content]) -> int:
        """Contents without a record."""
        removed = 0
        for content in contents:
            log.info("orphans.removed", file=content.file_id)
            removed += self._files.delete(content.file_id)
        return removed

    def _remove_left(self, records: Sequence[FileRecord]) -> int:
        """What a job made that is forgotten: the courier or gateway that forgot it died before its files."""
        made = [one for one in records if one.job_id and one.held_by is None and one.expires_ms is None]
        exists = self._answers([verbs.exists(one.job_id or "", queue) for one in made for queue in QUEUES])
        removed = 0
        for number, record in enumerate(made):
            if not any(exists[number * len(QUEUES) : (number + 1) * len(QUEUES)]):
                log.info("orphans.removed", file=record.id, job=record.job_id)
                self._ledger.run(filing.delete_file(record.id, record.owner))
                removed += self._files.delete(record.id)
        return removed

    def _answers(self, calls: Sequence[Call[Any]]) -> list[Any]:
        answers = self._ledger.run_many(calls) if calls else []
        for answer in answers:
            if isinstance(answer, LedgerError):
                raise answer
        return answers
