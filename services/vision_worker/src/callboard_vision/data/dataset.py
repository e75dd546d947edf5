"""A data set, checked as a whole and written anew: what a training reads has our names, and only what was checked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import yaml  # type: ignore[import-untyped]

from callboard_shared.pictures import PictureSettings
from callboard_vision.data.archive import Archive, Limits, Unreadable
from callboard_vision.data.classes import find_classes
from callboard_vision.data.description import Description, read_description
from callboard_vision.data.faults import Faults
from callboard_vision.data.labels import Form, Labels, read_labels
from callboard_vision.data.layout import find_splits, label_of, labels_without_picture
from callboard_vision.data.pictures import BadPicture, checked_suffix
from callboard_vision.engines.interface import VisionTask

_LARGEST_LABELS = 8 * 1024 * 1024
_SHOWN = 3

Check = Callable[[int, int], None]
"""Called between pictures with how many are done, and of how many; may raise."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """``data``: what ultralytics takes as its data: a YAML file, or a folder of class folders; ``warnings``: what was
    put right or left out, for people."""

    data: Path
    names: tuple[str, ...]
    train_images: int
    eval_images: int
    warnings: tuple[str, ...]


def prepare(
    content: BinaryIO,
    task: VisionTask,
    folder: Path,
    *,
    seed: int,
    threads: int,
    check: Check,
    pictures: PictureSettings,
    limits: Limits | None = None,
) -> Prepared:
    """Check the zip and write it into ``folder``, which is empty.

    ``seed``: of the share that is set apart where the data set sets none apart; ``pictures``: which are taken. Raises
    FinalError ``dataset-invalid`` with ``errors``, and what ``check`` raises."""
    faults = Faults()
    archive = Archive(content, faults, limits)
    with _Writer(archive, threads, check, pictures, faults) as writer:
        if task == "classify-image":
            prepared = _of_classes(archive, folder, seed, writer, faults)
        else:
            prepared = _of_labels(archive, task, folder, seed, writer, faults)
    return prepared


@dataclass(slots=True)
class _Tally:
    """What is worth a warning, by what it is about."""

    unlabelled: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    objects: int = 0

    def add(self, labels: Labels) -> None:
        self.objects += labels.objects
        self.counts.update(clipped=labels.clipped, boxed=labels.boxed, empty=labels.empty)

    def sentences(self) -> Iterator[str]:
        if self.unlabelled:
            yield (
                f"{len(self.unlabelled)} pictures have no label file and are taken to show nothing: "
                f"{_some(self.unlabelled)}."
            )
        if self.counts["clipped"]:
            yield f"{self.counts['clipped']} labels reached outside of their picture and were clipped to it."
        if self.counts["boxed"]:
            yield f"{self.counts['boxed']} outlines were taken as the boxes around them: the model finds boxes."
        if self.counts["empty"]:
            yield f"{self.counts['empty']} boxes without any area were left out."


def _of_labels(
    archive: Archive, task: VisionTask, folder: Path, seed: int, writer: _Writer, faults: Faults
) -> Prepared:
    description = read_description(archive, faults, with_keypoints=task == "pose")
    splits = find_splits(archive, description, seed, faults)
    form = Form(task, len(description.names), description.keypoints)
    tally, used = _Tally(), set[str]()
    for split, paths in (("train", splits.train), ("val", splits.val)):
        before = tally.objects
        for index, path in enumerate(paths):
            label = label_of(archive, path)
            if label is None:
                tally.unlabelled.append(path)
            else:
                used.add(label)
                target = folder / "labels" / split / f"{index:07}.txt"
                tally.add(_write_labels(archive, label, form, target, faults))
            writer.write(path, folder / "images" / split / f"{index:07}", len(splits.train) + len(splits.val))
        writer.settle()
        if tally.objects == before:
            faults.add(f"No picture of {split} has a label: there is nothing to learn or to measure.")
    faults.check()
    warnings = [*_of_splits(splits.train, splits.val, splits.split_off), *tally.sentences()]
    without = labels_without_picture(archive, used)
    if without:
        warnings.append(f"{len(without)} label files have no picture: {_some(without)}.")
    warnings += _of_archives(archive)
    data = folder / "data.yaml"
    data.write_text(_yaml(description, folder, task), "utf-8")
    return Prepared(data, description.names, len(splits.train), len(splits.val), tuple(warnings))


def _of_classes(archive: Archive, folder: Path, seed: int, writer: _Writer, faults: Faults) -> Prepared:
    found = find_classes(archive, seed, faults)
    for split, pictures in (("train", found.train), ("val", found.val)):
        for index, (path, number) in enumerate(pictures):
            target = folder / split / str(number) / f"{index:07}"
            writer.write(path, target, len(found.train) + len(found.val))
        writer.settle()
    faults.check()
    # As ultralytics itself writes it where folders are the numbers of classes.
    names = {"names": dict(enumerate(found.names))}
    (folder / ".ndjson.yaml").write_text(yaml.safe_dump(names, allow_unicode=True), "utf-8")
    train, val = [path for path, _ in found.train], [path for path, _ in found.val]
    warnings = [*_of_splits(train, val, found.split_off), *_of_archives(archive)]
    return Prepared(folder, found.names, len(train), len(val), tuple(warnings))


def _write_labels(archive: Archive, path: str, form: Form, target: Path, faults: Faults) -> Labels:
    try:
        data = archive.read(path, _LARGEST_LABELS)
    except Unreadable as error:
        faults.add(str(error), path)
        return Labels()
    labels = read_labels(data, form, lambda message, line: faults.add(message, path, line))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(labels.text)
    return labels


def _yaml(description: Description, folder: Path, task: VisionTask) -> str:
    document: dict[str, object] = {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(description.names)),
    }
    if task == "pose" and description.keypoints:
        document["kpt_shape"] = list(description.keypoints)
        if description.flip:
            document["flip_idx"] = list(description.flip)
    text: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    return text


def _of_splits(train: Sequence[str], val: Sequence[str], split_off: bool) -> Iterator[str]:
    if split_off:
        yield (
            f"The data set sets no pictures apart to measure on (val): {len(val)} of {len(train) + len(val)} were, "
            "chosen by the seed."
        )
    twice = len(set(train) & set(val))
    if twice:
        yield (
            f"{twice} pictures are both trained on and measured on: what is measured says little of others."
        )


def _of_archives(archive: Archive) -> Iterator[str]:
    if archive.archives:
        yield f"{len(archive.archives)} archives within the zip were left unopened: {_some(archive.archives)}."


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(path[:100] for path in paths[:_SHOWN]) + more


class _Writer:
    """Checks pictures and writes them, in threads; what is wrong with one is told on the thread that calls."""

    def __init__(
        self, archive: Archive, threads: int, check: Check, settings: PictureSettings, faults: Faults
    ) -> None:
        self._archive, self._check, self._settings, self._faults = archive, check, settings, faults
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "pictures")
        self._under_way: deque[tuple[str, Future[None]]] = deque()
        self._done = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, path: str, target: Path, total: int) -> None:
        """``target``: without its suffix, which the bytes tell."""
        self._check(self._done, total)
        self._done += 1
        try:
            data = self._archive.read(path)
        except Unreadable as error:
            self._faults.add(str(error), path)
            return
        self._under_way.append((path, self._pool.submit(_write_picture, data, target, self._settings)))
        while len(self._under_way) > 2 * self._threads:
            self._settle_one()

    def settle(self) -> None:
        while self._under_way:
            self._settle_one()

    def _settle_one(self) -> None:
        path, future = self._under_way.popleft()
        try:
            future.result()
        except BadPicture as error:
            self._faults.add(str(error), path)


def _write_picture(data: bytes, target: Path, settings: PictureSettings) -> None:
    suffix = checked_suffix(data, settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(suffix).write_bytes(data)
