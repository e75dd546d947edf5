"""``data.yaml``: which classes there are, and where the pictures of each split are.

Only strings, lists and mappings are read from it: no tag, no alias and no ``download`` has any effect, and a class may
be called ``no`` or ``1e3``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from callboard_vision.data.archive import Archive, Unreadable
from callboard_vision.data.faults import Faults

MOST_CLASSES = 10_000
LONGEST_NAME = 200
_LARGEST = 1024 * 1024
_DEEPEST = 8
_NAMES = ("data", "dataset")


@dataclass(frozen=True, slots=True)
class Description:
    """``file``: its path in the zip; ``train``, ``val``: places of pictures as they were written; ``path``: what they
    are relative to, as it was written; ``keypoints``: (number, 2 or 3); ``flip``: the order of key points in a mirror.
    """

    file: str
    names: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    path: str = ""
    keypoints: tuple[int, int] | None = None
    flip: tuple[int, ...] | None = None

    @property
    def folder(self) -> str:
        return self.file.rpartition("/")[0]


class _Plain(yaml.BaseLoader):  # type: ignore[misc]
    """Leaves every scalar a string, and knows no aliases: ten of them make ten thousand million nodes."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken")
        if self._depth == _DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def top_folder(archive: Archive) -> str:
    """The folder in which everything lies; "" if that is the zip itself."""
    firsts = {path.partition("/")[0] for path in archive.paths}
    only = firsts.pop() if len(firsts) == 1 else ""
    return "" if only in archive else only


def read_description(archive: Archive, faults: Faults, *, with_keypoints: bool) -> Description:
    """Raises FinalError ``dataset-invalid``."""
    file = _found(archive, faults)
    document = _document(archive, file, faults)
    names = _class_names(document, file, faults)
    train, val = _places(document, ("train",)), _places(document, ("val", "validation", "valid"))
    if train is None or val is None:
        faults.add("train and val are each a folder, a list of folders, or a list of pictures (.txt).", file)
    elif not train:
        faults.add(
            "There is no 'train:'. Say where the pictures to train on are, for example images/train.", file
        )
    if document.get("channels", "3") != "3":
        faults.add("Pictures with other than 3 channels are not taken.", file)
    keypoints = flip = None
    if with_keypoints:
        keypoints = _keypoints(document, file, faults)
        flip = _flip(document, keypoints, file, faults) if keypoints else None
    faults.check()
    path = document.get("path")
    return Description(
        file, names, train or (), val or (), path if isinstance(path, str) else "", keypoints, flip
    )


def check_names(names: tuple[str, ...], file: str | None, faults: Faults) -> None:
    """Classes are named, each of its own, in letters that can be printed."""
    if not 1 <= len(names) <= MOST_CLASSES:
        faults.add(f"There are {len(names)} classes; 1 to {MOST_CLASSES} are taken.", file)
    before: set[str] = set()
    for index, name in enumerate(names):
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            faults.add(f"Class {index} has no name that can be printed: {name[:40]!r}.", file)
        elif name in before:
            faults.add(f"Two classes are called {name!r}.", file)
        before.add(name)


def _found(archive: Archive, faults: Faults) -> str:
    top = top_folder(archive)
    prefix = f"{top}/" if top else ""
    there = [
        path
        for path in archive.paths
        if path.startswith(prefix)
        and "/" not in path[len(prefix) :]
        and path.lower().endswith((".yaml", ".yml"))
    ]
    named = [path for path in there if path[len(prefix) :].lower().rpartition(".")[0] in _NAMES]
    chosen = named or there
    if len(chosen) != 1:
        what = f"There are several: {', '.join(chosen[:5])}." if chosen else "There is none."
        faults.add(f"One data.yaml is needed, at the top of the zip or in its one folder. {what}")
        faults.check()
    return chosen[0]


def _document(archive: Archive, file: str, faults: Faults) -> Mapping[str, Any]:
    try:
        text = archive.read(file, _LARGEST).decode("utf-8-sig")
        document = yaml.load(text, Loader=_Plain)  # nosec B506  # a BaseLoader, which builds nothing
        if not isinstance(document, dict):
            raise Unreadable("It must be a mapping: names, train, val.")
        return {str(key): value for key, value in document.items()}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        faults.add(f"It is no YAML: {error.problem}.", file, line)
    except (yaml.YAMLError, Unreadable, UnicodeDecodeError) as error:
        faults.add(f"It cannot be read: {error}", file)
    faults.check()
    raise AssertionError("faults were found")


def _class_names(document: Mapping[str, Any], file: str, faults: Faults) -> tuple[str, ...]:
    given = document.get("names")
    names: tuple[str, ...] = ()
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        names = tuple(given)
    elif isinstance(given, dict) and all(isinstance(name, str) for name in given.values()):
        if {str(index) for index in range(len(given))} == set(given):
            names = tuple(given[str(index)] for index in range(len(given)))
        else:
            faults.add("The numbers of the names must go from 0 without a gap.", file)
            return ()
    if not names:
        faults.add("There are no 'names:'. Name the classes, as a list or by number.", file)
        return ()
    check_names(names, file, faults)
    count = document.get("nc")
    if count not in (None, "") and count != str(len(names)):
        faults.add(f"nc is {str(count)[:20]}, but there are {len(names)} names.", file)
    return names


def _places(document: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """None if that is no place."""
    given: Any = next((document[key] for key in keys if document.get(key)), [])
    places = [given] if isinstance(given, str) else given
    if not isinstance(places, list) or not all(isinstance(place, str) and place for place in places):
        return None
    return tuple(places)


def _keypoints(document: Mapping[str, Any], file: str, faults: Faults) -> tuple[int, int] | None:
    given: Any = document.get("kpt_shape")
    try:
        count, values = (int(one) for one in given)
    except (TypeError, ValueError):
        count, values = 0, 0
    if not 1 <= count <= 1000 or values not in (2, 3):
        faults.add("kpt_shape is missing: [number of key points, 2 (x, y) or 3 (x, y, visible)].", file)
        return None
    return count, values


def _flip(
    document: Mapping[str, Any], keypoints: tuple[int, int], file: str, faults: Faults
) -> tuple[int, ...] | None:
    given = document.get("flip_idx")
    if not given:
        return None
    try:
        order = tuple(int(one) for one in given)
    except (TypeError, ValueError):
        order = ()
    if sorted(order) != list(range(keypoints[0])):
        faults.add(f"flip_idx must hold each number from 0 to {keypoints[0] - 1} once.", file)
        return None
    return order
