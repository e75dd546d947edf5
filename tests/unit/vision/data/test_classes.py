"""Folders of pictures by class."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from zips import Files, faults, picture, prepared


def folders(*paths: str) -> dict[str, bytes | str]:
    return {path: picture(shade=number % 200) for number, path in enumerate(paths)}


SPLIT = ("train/dog/1.png", "train/dog/2.png", "train/고양이/1.png", "val/dog/3.png", "val/고양이/2.png")


@pytest.mark.parametrize(
    "files",
    [
        folders(*SPLIT),
        folders(*(f"pets/{path}" for path in SPLIT)),
        folders(*(path.replace("val/", "valid/") for path in SPLIT), "test/bird/1.png"),
        folders(*(path.replace("val/", "validation/").replace("1.png", "more/1.png") for path in SPLIT)),
    ],
)
def test_folders_are_classes(files: Files, tmp_path: Path) -> None:
    made = prepared(files, tmp_path, "classify-image")
    assert (made.names, made.train_images, made.eval_images, made.warnings) == (("dog", "고양이"), 3, 2, ())
    written = {path.relative_to(made.data).as_posix() for path in made.data.rglob("*.png")}
    assert written == {
        "train/0/0000000.png", "train/0/0000001.png", "train/1/0000002.png", "val/0/0000000.png", "val/1/0000001.png",
    }  # fmt: skip
    assert yaml.safe_load((made.data / ".ndjson.yaml").read_text("utf-8"))["names"] == {0: "dog", 1: "고양이"}


def test_of_each_class_a_share_is_set_apart(tmp_path: Path) -> None:
    files = folders(*(f"{name}/{number}.png" for name in ("a", "b") for number in range(10)), "c/1.png")
    made = prepared(files, tmp_path, "classify-image")
    assert (made.train_images, made.eval_images) == (17, 4)
    assert len(list((made.data / "val/0").iterdir())) == len(list((made.data / "val/1").iterdir())) == 2
    assert "4 of 21" in made.warnings[0]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (folders("train/dog/1.png", "val/dog/2.png"), "There is 1 class folder"),
        (folders("1.png", "2.png"), "There are no class folders"),
        (folders("train/dog/1.png", "train/cat/1.png", "val/bird/1.png"), "'bird' is measured on"),
        (folders("dog/1.png", "cat/1.png"), "none to measure on"),
        ({**folders(*SPLIT), "train/dog/9.png": b"x"}, "give a JPEG"),
    ],
)
def test_what_is_wrong_with_class_folders_is_told(files: Files, says: str, tmp_path: Path) -> None:
    found = faults(files, tmp_path, "classify-image")
    assert any(says in one["message"] for one in found)
