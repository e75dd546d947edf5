"""From what a job's input gives as its data set to where the rows are."""

from __future__ import annotations

from contextlib import ExitStack

from callboard_nlp.data.hub import hub_splits
from callboard_nlp.data.labelled import file_source
from callboard_nlp.data.rows import Source
from callboard_shared.jobs.nlp import Dataset
from callboard_shared.worker import Context


def sources(given: Dataset, what: str, context: Context, stack: ExitStack) -> tuple[Source, Source | None]:
    """(rows, rows that the data set itself sets apart to measure on, if it does). Files stay open within ``stack``.

    what: the input's field, for messages. Raises a JobError.
    """
    if isinstance(given, list):
        return Source(what, lambda: ((row.text, row.label) for row in given)), None
    if given.hub is not None:
        return hub_splits(what, given.hub)
    return file_source(what, stack.enter_context(context.open_file(given)).content), None
