"""A data set for a classifier: a folder of pictures by class, ``train/cat/1.jpg``, or ``cat/1.jpg`` without splits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from callboard_vision.data.archive import Archive
from callboard_vision.data.description import check_names, top_folder
from callboard_vision.data.faults import Faults
from callboard_vision.data.layout import is_picture, split_off

_VAL = ("val", "valid", "validation")
_NOT_USED = ("test",)


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """``train``, ``val``: (path, number of the class)."""

    names: tuple[str, ...]
    train: list[tuple[str, int]]
    val: list[tuple[str, int]]
    split_off: bool


def find_classes(archive: Archive, seed: int, faults: Faults) -> ClassFolders:
    """Raises FinalError ``dataset-invalid``."""
    top = top_folder(archive)
    if top in ("train", *_VAL):
        top = ""
    folders = {path.removeprefix(f"{top}/").partition("/")[0] for path in archive.paths if "/" in path}
    if "train" in folders:
        val_folder = next((name for name in _VAL if name in folders), None)
        train = _by_class(archive, top, "train")
        val = _by_class(archive, top, val_folder) if val_folder else {}
    else:
        train, val = _by_class(archive, top, None), {}
    names = tuple(sorted(train))
    if len(names) < 2:
        faults.add(
            "A classifier learns from folders of pictures, one by class: train/cat/1.jpg, train/dog/1.jpg, "
            "val/cat/2.jpg. "
            f"There {'is 1 class folder' if names else 'are no class folders'} with pictures here."
        )
        faults.check()
    check_names(names, None, faults)
    for name in sorted(set(val) - set(train)):
        faults.add(f"Class {name!r} is measured on, but there is nothing of it to train on.", val[name][0])
    faults.check()
    if val:
        return ClassFolders(names, _numbered(train, names), _numbered(val, names), split_off=False)
    parts = {
        name: split_off(paths, seed, faults) if len(paths) > 1 else (paths, [])
        for name, paths in train.items()
    }
    measured = {name: part[1] for name, part in parts.items()}
    if not any(measured.values()):
        faults.add("Each class has one picture only: there is none to measure on.")
        faults.check()
    return ClassFolders(
        names,
        _numbered({name: part[0] for name, part in parts.items()}, names),
        _numbered(measured, names),
        split_off=True,
    )


def _by_class(archive: Archive, top: str, split: str | None) -> dict[str, list[str]]:
    prefix = "".join(f"{part}/" for part in (top, split) if part)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in archive.paths:
        name, _, rest = path[len(prefix) :].partition("/")
        if path.startswith(prefix) and rest and is_picture(path) and (split or name not in _NOT_USED):
            found[name].append(path)
    return dict(found)


def _numbered(by_class: dict[str, list[str]], names: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(path, index) for index, name in enumerate(names) for path in by_class.get(name, ())]
