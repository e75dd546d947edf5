"""Data sets as tools and people make them: every layout is found, and every fault is told with its place."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from zips import YAML, changing, detecting, faults, picture, prepared

from callboard_shared.jobs.vision.train import TRAIN
from callboard_shared.pictures import PictureSettings
from callboard_vision.data.dataset import Prepared
from callboard_vision.drawn import shapes_zip

LABEL = "0 0.5 0.5 0.25 0.5\n"


def written(made: Prepared) -> dict[str, list[str]]:
    """Files by folder of what was prepared."""
    root = made.data if made.data.is_dir() else made.data.parent
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path != made.data:
            found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.name)
    return found


def three(train: str, val: str | None, labels: tuple[str, str] | None = None) -> dict[str, bytes | str]:
    """Two pictures in ``train`` and one in ``val``; their labels in folders of their own, or beside them."""
    files: dict[str, bytes | str] = {}
    beside = labels or (train, val or "")
    for folder, label, names in ((train, beside[0], "ab"), (val, beside[1], "c")):
        for name in names if folder is not None else "":
            files[f"{folder}/{name}.jpg"] = picture(suffix=".jpg", shade=ord(name))
            files[f"{label}/{name}.txt"] = LABEL
    return files


USUAL = three("images/train", "images/val", ("labels/train", "labels/val"))
ROBOFLOW = three("train/images", "valid/images", ("train/labels", "valid/labels"))
NAMES = "names: [dog, cat]\n"
LAYOUTS: dict[str, dict[str, bytes | str]] = {
    "usual": {"data.yaml": f"train: images/train\nval: images/val\n{NAMES}", **USUAL},
    "in one folder": {f"mine/{name}": data for name, data in ({"data.yml": f"train: images/train\nval: images/val\n{NAMES}"} | USUAL).items()},
    "path of the folder": {"data.yaml": f"path: mine\ntrain: images/train\nval: images/val\n{NAMES}", **{f"mine/{n}": d for n, d in USUAL.items()}},
    "path of another machine": {"data.yaml": f"path: /content/mine\ntrain: images/train\nval: images/val\n{NAMES}", **USUAL},
    "absolute": {"data.yaml": f"train: /content/mine/images/train\nval: C:\\data\\images\\val\n{NAMES}", **USUAL},
    "with a dot": {"data.yaml": f"train: ./images/train/\nval: ./images/val/\n{NAMES}", **USUAL},
    "another name": {"coco8.yaml": f"train: images/train\nval: images/val\n{NAMES}", **USUAL},
    "roboflow": {"data.yaml": f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\n{NAMES}roboflow:\n  workspace: x\n", **ROBOFLOW},
    "folders of splits": {"data.yaml": f"train: train\nvalidation: valid\n{NAMES}", **ROBOFLOW},
    "labels beside": {"data.yaml": f"train: train\nval: val\n{NAMES}", **three("train", "val")},
    "lists of folders": {"data.yaml": f"train: [images/train]\nval:\n  - images/val\n{NAMES}", **USUAL},
    "lists of pictures": {
        "data.yaml": f"train: train.txt\nval: lists/val.txt\n{NAMES}", **USUAL,
        "train.txt": "./images/train/a.jpg\r\nimages/train/b.jpg\n\n", "lists/val.txt": "/content/mine/images/val/c.jpg",
    },
    "names by number": {"data.yaml": "train: images/train\nval: images/val\nnames:\n  1: cat\n  0: dog\n", **USUAL},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_usual_layout_is_found(layout: str, tmp_path: Path) -> None:
    made = prepared(LAYOUTS[layout], tmp_path)
    assert (made.names, made.train_images, made.eval_images, made.warnings) == (("dog", "cat"), 2, 1, ())
    assert written(made) == {
        "images/train": ["0000000.jpg", "0000001.jpg"], "images/val": ["0000000.jpg"],
        "labels/train": ["0000000.txt", "0000001.txt"], "labels/val": ["0000000.txt"],
    }  # fmt: skip
    document = yaml.safe_load(made.data.read_text())
    assert document["names"] == {0: "dog", 1: "cat"} and Path(document["path"]) == made.data.parent
    assert (made.data.parent / document["train"]).is_dir() and (made.data.parent / document["val"]).is_dir()
    assert (made.data.parent / "labels/val/0000000.txt").read_text() == "0 0.5 0.5 0.25 0.5\n"


def test_the_example_of_the_job_type_is_right(tmp_path: Path) -> None:
    made = prepared(io.BytesIO(base64.b64decode(TRAIN.example["dataset"]["base64"])), tmp_path)
    assert made.names == ("circle", "square", "triangle") and made.warnings == ()


def test_pictures_without_a_split_to_measure_on_are_split_by_the_seed(tmp_path: Path) -> None:
    shapes_zip(tmp_path / "shapes.zip", train=20, val=1)
    content = (tmp_path / "shapes.zip").read_bytes()

    def measured(seed: int, val: str = "") -> set[bytes]:
        changed = content_with(content, f"train: images/train\n{val}names: [a, b, c]\n")
        made = prepared(changed, tmp_path, seed=seed)
        assert (made.train_images, made.eval_images) == (16, 4)
        (warning,) = made.warnings
        assert "4 of 20" in warning
        trained = {path.read_bytes() for path in (made.data.parent / "images/train").iterdir()}
        chosen = {path.read_bytes() for path in (made.data.parent / "images/val").iterdir()}
        assert len(trained) == 16 and not trained & chosen
        return chosen

    assert measured(1) == measured(1, "val:\n") != measured(2)


def content_with(content: bytes, description: str) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, description if name == "data.yaml" else old.read(name))
    return made


def test_faults_of_every_kind_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    wrong: dict[str, bytes | str | None] = {
        "labels/train/a.txt": "0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n0 320 0.5 0.2 0.2\n",
        "labels/val/c.txt": "x\n0 0.5 0.5 0.2 0.2\n",
        "images/train/b.png": b"no picture",
        "images/val/d.gif": b"GIF89a",
    }
    found = faults(changing(detecting(), {**wrong, "images/val/d.gif": None}), tmp_path)
    assert [(one["file"], one.get("line")) for one in found] == [
        ("labels/train/a.txt", 2), ("labels/train/a.txt", 3), ("images/train/b.png", None), ("labels/val/c.txt", 1),
    ]  # fmt: skip
    (gif,) = faults(changing(detecting(), wrong), tmp_path)
    assert gif["file"] == "images/val/d.gif" and "save it as PNG or JPEG" in gif["message"]


def test_fifty_faults_are_enough(tmp_path: Path) -> None:
    files = changing(detecting(), {"labels/train/a.txt": "9 0.5 0.5 0.2 0.2\n" * 500})
    assert len(faults(files, tmp_path)) == 50


def test_a_picture_without_label_file_shows_nothing_and_is_counted(tmp_path: Path) -> None:
    files = changing(
        detecting(),
        {"labels/train/b.txt": None, "labels/train/left.txt": LABEL, "labels/train/classes.txt": "dog"},
    )
    made = prepared(files, tmp_path)
    unlabelled, left = made.warnings
    assert "1 pictures have no label file" in unlabelled and "images/train/b.png" in unlabelled
    assert "1 label files have no picture: labels/train/left.txt" in left
    assert made.train_images == 2, "it is trained on as background"
    assert written(made)["labels/train"] == ["0000000.txt"]


def test_what_was_put_right_is_told(tmp_path: Path) -> None:
    lines = "0 1.005 0.5 0.2 0.2\n0 0.1 0.1 0.4 0.1 0.4 0.4\n0 0.5 0.5 0 0\n"
    warnings = prepared(changing(detecting(), {"labels/train/a.txt": lines}), tmp_path).warnings
    assert [word in " ".join(warnings) for word in ("clipped", "outlines", "without any area")] == [True] * 3


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("content", ["", None])
def test_a_split_without_any_label_is_refused(split: str, content: str | None, tmp_path: Path) -> None:
    names = {"train": "ab", "val": "c"}[split]
    changed = {f"labels/{split}/{name}.txt": content for name in names}
    (fault,) = faults(changing(detecting(), changed), tmp_path)
    assert fault["message"].startswith(f"No picture of {split} has a label")


def test_the_same_pictures_in_both_splits_are_warned_of(tmp_path: Path) -> None:
    made = prepared(detecting(data_dot_yaml=YAML.replace("images/val", "images/train")), tmp_path)
    assert "2 pictures are both trained on and measured on" in made.warnings[0]


@pytest.mark.parametrize(
    ("picture_bytes", "says"),
    [
        (picture(9, 40), "each side needs at least 10"),
        (picture(200, 200), "10,000 in all"),
        (picture(suffix=".jpg")[:-40], "damaged"),
        (picture()[:-20], "damaged"),
        (picture()[:60] + b"\0\0\0\0" + picture()[64:], "damaged"),
        (b"<svg/>", "give a JPEG"),
        (b"", "give a JPEG"),
    ],
)
def test_a_picture_that_cannot_be_trained_on_is_told(picture_bytes: bytes, says: str, tmp_path: Path) -> None:
    settings = PictureSettings(picture_max_pixels=10_000)
    (fault,) = faults(
        changing(detecting(), {"images/train/b.png": picture_bytes}), tmp_path, pictures=settings
    )
    assert fault["file"] == "images/train/b.png" and says in fault["message"]


def test_a_picture_gets_the_name_that_its_bytes_ask_for(tmp_path: Path) -> None:
    made = prepared(changing(detecting(), {"images/val/c.png": picture(suffix=".jpg")}), tmp_path)
    assert written(made)["images/val"] == ["0000000.jpg"]


@pytest.mark.parametrize(
    ("description", "says", "line"),
    [
        (None, "There is none", None),
        ("names: [dog\n", "no YAML", 2),
        ("- dog\n", "mapping", None),
        (b"\xff\xfe", "cannot be read", None),
        ("a: &a [x]\nnames: *a\n", "aliases", None),
        ("[" * 1_000_000, "too deeply", None),
        ("train: images/train\n", "There are no 'names:'", None),
        ("names: {0: dog, 2: cat}\ntrain: images/train\n", "without a gap", None),
        ("names: [dog, dog]\ntrain: images/train\n", "Two classes are called 'dog'", None),
        ('names: [dog, ""]\ntrain: images/train\n', "Class 1 has no name", None),
        ('names: [dog, "a\\tb"]\ntrain: images/train\n', "Class 1 has no name", None),
        ("names: [dog, cat]\nnc: 3\ntrain: images/train\n", "nc is 3, but there are 2", None),
        ("names: [dog, cat]\nval: images/val\n", "There is no 'train:'", None),
        ("names: [dog, cat]\ntrain: {a: b}\n", "train and val are each", None),
        ("names: [dog, cat]\ntrain: images/other\nval: images/val\n", "images/other is not in the zip", None),
        ("names: [dog, cat]\ntrain: labels/train\nval: images/val\n", "no pictures in labels/train", None),
        ("names: [dog, cat]\ntrain: images/train\nchannels: 4\n", "3 channels", None),
    ],
)  # fmt: skip
def test_a_wrong_description_is_told(
    description: bytes | str | None, says: str, line: int | None, tmp_path: Path
) -> None:
    found = faults(changing(detecting(), {"data.yaml": description}), tmp_path)
    assert any(says in one["message"] for one in found)
    assert line is None or found[0]["line"] == line


def test_no_code_of_a_description_runs(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    for description in (
        f"{YAML}download: |\n  open({str(proof)!r}, 'w')\n",
        f"{YAML}download: bash touch {proof}\n",
        f"{YAML}more: !!python/object/apply:os.system ['touch {proof}']\n",
    ):
        made = prepared(detecting(data_dot_yaml=description), tmp_path)
        assert "download" not in made.data.read_text() and "more" not in made.data.read_text()
    assert not proof.exists()


def test_classes_may_be_called_what_yaml_takes_for_something_else(tmp_path: Path) -> None:
    made = prepared(
        detecting(data_dot_yaml="train: images/train\nval: images/val\nnames: [no, 1e3, 사람, ~]\n"), tmp_path
    )
    assert made.names == ("no", "1e3", "사람", "~")
    assert yaml.safe_load(made.data.read_text("utf-8"))["names"] == dict(enumerate(made.names))


def test_a_listed_picture_that_is_not_there_is_told_with_its_line(tmp_path: Path) -> None:
    lists = {
        "data.yaml": YAML.replace("images/train", "train.txt"),
        "train.txt": "images/train/a.png\n\nimages/train/z.png\n",
    }
    (fault,) = faults(changing(detecting(), lists), tmp_path)
    assert (fault["file"], fault["line"]) == ("train.txt", 3) and "images/train/z.png" in fault["message"]


SHAPED = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
POSE = "0 0.5 0.5 0.25 0.5 0.4 0.4 2 0.6 0.6 1\n"


@pytest.mark.parametrize(
    ("task", "line", "more"),
    [
        ("segment", "1 0.1 0.1 0.9 0.1 0.5 0.9\n", ""),
        ("obb", "1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n", ""),
        ("pose", POSE, SHAPED),
    ],
)
def test_each_task_has_its_labels(task: str, line: str, more: str, tmp_path: Path) -> None:
    labels = {f"labels/{name}.txt": line for name in ("train/a", "train/b", "val/c")}
    made = prepared(changing(detecting(), {"data.yaml": YAML + more, **labels}), tmp_path, task)
    assert (made.data.parent / "labels/val/0000000.txt").read_text() == line
    document = yaml.safe_load(made.data.read_text())
    assert document.get("kpt_shape") == ([2, 3] if task == "pose" else None)
    assert document.get("flip_idx") == ([1, 0] if task == "pose" else None)
    wrong = faults(detecting(data_dot_yaml=YAML + more), tmp_path, task)
    assert len([one for one in wrong if one.get("line") == 1]) == 3, "boxes are none of these"


@pytest.mark.parametrize(
    "more",
    ["", "kpt_shape: [2]\n", "kpt_shape: [2, 4]\n", "kpt_shape: x\n", f"{SHAPED[:18]}flip_idx: [0, 0]\n"],
)
def test_a_pose_data_set_without_its_shape_is_refused(more: str, tmp_path: Path) -> None:
    found = faults(detecting(data_dot_yaml=YAML + more), tmp_path, "pose")
    assert "kpt_shape" in found[0]["message"] or "flip_idx" in found[0]["message"]


def test_the_check_stops_when_the_job_is_canceled(tmp_path: Path) -> None:
    class Canceled(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def check(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 1:
            raise Canceled

    with pytest.raises(Canceled):
        prepared(detecting(), tmp_path, check=check)
    assert seen == [(0, 3), (1, 3)]


def test_nothing_is_written_under_a_name_of_the_zip(tmp_path: Path) -> None:
    strange = "im a;ges$(touch x)'\"é"
    files: dict[str, Any] = {
        "data.yaml": f"train: {json.dumps(strange)}\nval: {json.dumps(strange)}\nnames: [a]\n"
    }
    for name in ("a b", "-rf", "%s", "né"):
        files[f"{strange}/{name}.png"], files[f"{strange}/{name}.txt"] = picture(), LABEL
    made = prepared(files, tmp_path)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert made.train_images == 4
    assert all(name.split(".")[0].isdigit() or name == "data.yaml" for name in names)
