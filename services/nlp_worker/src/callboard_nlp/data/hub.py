"""Data sets of the Hugging Face hub, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callboard_nlp.data.rows import Source
from callboard_nlp.data.tables import missing_columns
from callboard_shared.errors import FinalError, RetryableError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TO_MEASURE = ("test", "validation", "train")
_ROWS = 1024


def hub_splits(what: str, name: str) -> tuple[Source, Source]:
    """(to train on, to measure on); the same source twice where there is one split only.

    Raises RetryableError ``dataset-unavailable`` without a network; FinalError ``dataset-not-found``,
    ``dataset-not-usable`` or ``missing-columns``.
    """
    splits = _loaded(name)
    train = splits.get("train") or next(iter(splits.values()))
    measure = next((splits[split] for split in _TO_MEASURE if split in splits), train)
    first = _source(what, train)
    return (first, first) if measure is train else (first, _source(f"{what} (test)", measure))


def _loaded(name: str) -> dict[str, Any]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as FORMATS

    # The library would read a folder of this machine by that name, or for `text` or `csv` the files that lie around.
    if not _NAME.fullmatch(name) or name in FORMATS or Path(name).exists():
        raise FinalError(
            f"{name[:80]!r} is no name of a hub data set, such as imdb or owner/name.",
            code="dataset-not-found",
        )
    datasets.disable_progress_bars()
    try:
        # Tables alone: this library runs no code of a data set. The operator's token is not for everybody.
        return dict(datasets.load_dataset(name, token=False))  # nosec B615  # the newest is what is meant
    except DatasetNotFoundError:
        raise FinalError(
            f"The hub has no public data set {name}. Check the name, or upload the data as a file.",
            code="dataset-not-found",
        ) from None
    except ConnectionError as error:
        raise RetryableError(
            f"The data set {name} could not be fetched: there is no network to the hub ({type(error).__name__}). "
            "Upload the data as a file (POST /v1/files) and name it by file_id.",
            code="dataset-unavailable",
        ) from None
    except (DatasetsError, ValueError, RuntimeError, OSError) as error:
        # Also a data set that comes as a script: none is run.
        raise FinalError(
            f"The data set {name} cannot be used: {error}. Upload the data as a file instead.",
            code="dataset-not-usable",
        ) from None


def _source(what: str, split: Any) -> Source:
    if any(column not in split.column_names for column in ("text", "label")):
        raise missing_columns(("text", "label"), split.column_names)

    def read() -> Iterator[tuple[Any, ...]]:
        for batch in split.select_columns(["text", "label"]).iter(batch_size=_ROWS):
            yield from zip(batch["text"], batch["label"], strict=True)

    names = getattr(split.features["label"], "names", None)
    return Source(what, read, list(names) if names else None)
