"""The pictures of a split, and the label file of each, wherever the tools that made a data set put them.

``data.yaml`` may say ``images/train``, ``../train/images`` (Roboflow), ``/content/mine/train/images`` (as it lay on
somebody's disk), a list of such, or a text file with one picture a line: the longest end of the path that is in the
zip is what is meant.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from callboard_vision.data.archive import Archive, Unreadable
from callboard_vision.data.description import Description
from callboard_vision.data.faults import Faults

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_OTHER_PICTURES = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".dng", ".jp2", ".mpo", ".pfm", ".svg")
_NO_LABELS = ("classes.txt", "obj.names", "notes.json", "labels.txt")
_LARGEST_LIST = 64 * 1024 * 1024
EVAL_SHARE = 0.2
"""Of the pictures, where none are set apart to measure on."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Paths in the zip; ``split_off``: whether ``val`` was taken from what ``train`` named."""

    train: list[str]
    val: list[str]
    split_off: bool


def is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURES)


def find_splits(archive: Archive, description: Description, seed: int, faults: Faults) -> Splits:
    """Raises FinalError ``dataset-invalid``."""
    places = _Places(archive, description, faults)
    train = places.pictures(description.train)
    val = places.pictures(description.val) if description.val else []
    faults.check()
    if not train:
        faults.add(
            f"There are no pictures in {', '.join(description.train)[:200]} (train). "
            f"Pictures are files that end in {', '.join(PICTURES)}.",
            description.file,
        )
        faults.check()
    if val:
        return Splits(train, val, split_off=False)
    return Splits(*split_off(train, seed, faults), split_off=True)


def split_off(paths: Sequence[str], seed: int, faults: Faults) -> tuple[list[str], list[str]]:
    """(to train on, to measure on); the same for the same pictures and seed."""
    if len(paths) < 2:
        faults.add("One picture is too few: at least one to train on and one to measure on are needed.")
        faults.check()
    measured = set(random.Random(seed).sample(list(paths), max(1, round(len(paths) * EVAL_SHARE))))
    return [path for path in paths if path not in measured], sorted(measured)


def label_of(archive: Archive, picture: str) -> str | None:
    """The label file of a picture: in ``labels`` where the picture is in ``images``, or beside it."""
    stem = picture.rpartition(".")[0]
    parts = stem.split("/")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            mirrored = "/".join((*parts[:index], "labels", *parts[index + 1 :])) + ".txt"
            if mirrored in archive:
                return mirrored
            break
    return f"{stem}.txt" if f"{stem}.txt" in archive else None


def labels_without_picture(archive: Archive, used: set[str]) -> list[str]:
    """The other text files of the folders in which label files were found."""
    folders = {path.rpartition("/")[0] for path in used}
    return [
        path
        for path in archive.paths
        if path.endswith(".txt")
        and path not in used
        and path.rpartition("/")[0] in folders
        and path.rpartition("/")[2] not in _NO_LABELS
    ]


class _Places:
    def __init__(self, archive: Archive, description: Description, faults: Faults) -> None:
        self._archive, self._faults, self._file = archive, faults, description.file
        folder = _parts(description.folder)
        named = [*folder, *_parts(description.path)]
        self._bases = [base for base in (named, folder, []) if base]
        self._bases.append([])

    def pictures(self, places: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for place in places:
            for path in self._of(place):
                found[path] = None
        return list(found)

    def _of(self, place: str) -> Iterator[str]:
        path = self._meant(place, [])
        if path is None:
            self._faults.add(f"{place[:200]} is not in the zip.", self._file)
        elif path.endswith(".txt"):
            yield from self._listed(path)
        else:
            yield from self._within(path)

    def _meant(self, place: str, beside: Sequence[str]) -> str | None:
        """The longest end of a written path that is in the zip, of two parts at least where it has more."""
        parts = _parts(place)
        for start in range(max(1, len(parts) - 1)):
            for base in ([*beside], *self._bases):
                path = "/".join((*base, *parts[start:]))
                if path in self._archive or path in self._folders:
                    return path
        return None

    def _within(self, folder: str) -> Iterator[str]:
        prefix = f"{folder}/" if folder else ""
        paths = self._archive.paths
        for index in range(bisect_left(paths, prefix), len(paths)):
            path = paths[index]
            if not path.startswith(prefix):
                return
            if is_picture(path):
                yield path
            elif path.lower().endswith(_OTHER_PICTURES):
                self._faults.add("Pictures of this kind are not taken: save it as PNG or JPEG.", path)

    def _listed(self, file: str) -> Iterator[str]:
        try:
            lines = self._archive.read(file, _LARGEST_LIST).decode("utf-8-sig").splitlines()
        except (Unreadable, UnicodeDecodeError) as error:
            self._faults.add(f"The list cannot be read: {error}", file)
            return
        beside = _parts(file.rpartition("/")[0])
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            path = self._meant(line.strip(), beside)
            if path is None or not is_picture(path):
                self._faults.add(f"{line.strip()[:200]} is no picture in the zip.", file, number)
            else:
                yield path

    @cached_property
    def _folders(self) -> set[str]:
        folders = {""}
        for path in self._archive.paths:
            folder = path.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        return folders


def _parts(path: str) -> list[str]:
    """Without ``.``, ``..`` and the drive: what may be a folder of the zip."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return parts[1:] if parts and parts[0].endswith(":") else parts
