"""Every engine finds what ultralytics finds, for every task; judged on models of random weights (``tiny_yolo``)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_yolo import tiny_yolo

from callboard_shared.models.making import make
from callboard_vision.default_models import DEFAULTS
from callboard_vision.engines import Detector, Findings, Options, Pixels, open_detector
from callboard_vision.engines.export import exported, write_onnx
from callboard_vision.engines.interface import ModelFacts
from callboard_vision.engines.onnxruntime_engine import open_onnx
from callboard_vision.engines.openvino_engine import open_openvino
from callboard_vision.engines.placement import letterbox, placed
from callboard_vision.engines.quiet_ultralytics import ultralytics
from callboard_vision.engines.torch_engine import open_weights

pytestmark = pytest.mark.models

SIDE = 256
LOOKING = Options(confidence=0.25, iou=0.5, image_size=SIDE)
TASKS = ["yolo11n", "yolo11n-seg", "yolo11n-pose", "yolo11n-cls", "yolo11n-obb", "yolo26n"]


def photo(name: str) -> Pixels:
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None and spec.submodule_search_locations
    picture = cv2.imread(str(Path(spec.submodule_search_locations[0]) / "assets" / name))
    return np.asarray(picture, np.uint8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    one = photo("zidane.jpg")
    return [one, np.ascontiguousarray(one[:, ::-1])]


@pytest.fixture(scope="module")
def weights(cache: Path, pictures: list[Pixels]) -> Any:
    """Weights of an architecture, made once."""
    places = [placed(one.shape[:2], SIDE, ModelFacts("detect", {})) for one in pictures]
    seen = np.zeros((len(pictures), *places[0].size, 3), np.uint8)
    for one, place, into in zip(pictures, places, seen, strict=True):
        letterbox(one, place, into)
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tiny_yolo(f"{name}.yaml", cache / f"{name}.pt", cache, seen)
        return made[name]

    return of


@pytest.fixture(scope="module")
def onnx(cache: Path, weights: Any) -> Any:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = cache / f"{name}.onnx"
            (cache / name).mkdir()
            write_onnx(weights(name), cache / name / "model.onnx", cache)
            (cache / name / "model.onnx").rename(made[name])
        return made[name]

    return of


def reference(model: Path, cache: Path, picture: Pixels, facts: ModelFacts, **others: Any) -> Any:
    size = facts.fixed_size[0] if facts.fixed_size else SIDE
    asked = {"conf": LOOKING.confidence, "iou": LOOKING.iou, "imgsz": size, "verbose": False, **others}
    return ultralytics(cache).YOLO(str(model)).predict(picture, **asked)[0]


def assert_same(
    found: Findings, theirs: Any, *, pixels: float = 0.25, sure: float = 1e-3, least: int = 20
) -> None:
    """Each finding has its like among theirs: near ties may come in another order."""
    if theirs.probs is not None:
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, theirs.probs.data.numpy(), atol=sure)
        return
    boxes = theirs.obb if theirs.obb is not None else theirs.boxes
    assert len(found) == len(boxes) > least, "a comparison of nothing"
    np.testing.assert_allclose(found.confidences, boxes.conf.numpy(), atol=sure)
    pairs = [_like(found, index, boxes, pixels, sure) for index in range(len(found))]
    assert sorted(pairs) == list(range(len(found)))
    if theirs.obb is not None:
        np.testing.assert_allclose(found.corners, boxes.xyxyxyxy.numpy()[pairs], atol=2 * pixels)
    if theirs.keypoints is not None:
        np.testing.assert_allclose(found.keypoints, theirs.keypoints.data.numpy()[pairs], atol=pixels)
    if theirs.masks is not None:
        assert found.outlines is not None
        masks = theirs.masks.data.numpy()[pairs]
        same = [_overlap(one, mask, theirs) for one, mask in zip(found.outlines, masks, strict=True)]
        assert min(same) > 0.9 and np.mean(same) > 0.99


def _like(found: Findings, index: int, boxes: Any, pixels: float, sure: float) -> int:
    apart = np.abs(boxes.xyxy.numpy() - found.boxes[index]).max(axis=1)
    apart += 1e6 * (boxes.cls.numpy() != found.class_ids[index])
    apart += 1e6 * (np.abs(boxes.conf.numpy() - found.confidences[index]) > sure)
    like = int(apart.argmin())
    assert apart[like] < pixels, f"finding {index} has no like: {apart[like]}"
    return like


def _overlap(outline: list[Any], mask: Any, theirs: Any) -> float:
    """Of the polygons with ultralytics' mask, both drawn filled, as the network sees the picture."""
    height, width = theirs.orig_shape
    place = placed((height, width), SIDE, ModelFacts("segment", {}))
    gain = np.array([place.scaled[1] / width, place.scaled[0] / height])
    polygons = [(part * gain + [place.left, place.top]).round().astype(np.int32) for part in outline]
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    within = [part for part in contours if len(part) > 2]
    ours, other = (
        cv2.fillPoly(np.zeros(mask.shape, np.uint8), drawn, 1) if drawn else np.zeros(mask.shape, np.uint8)
        for drawn in (polygons, within)
    )
    ours[: place.top], ours[place.top + place.scaled[0] :] = (
        other[: place.top],
        other[place.top + place.scaled[0] :],
    )
    either = float((ours | other).sum())
    return float((ours & other).sum()) / either if either else 1.0


@pytest.mark.parametrize("name", TASKS)
def test_weights_on_torch_find_what_ultralytics_finds(
    weights: Any, cache: Path, pictures: list[Pixels], name: str
) -> None:
    detector = open_weights(weights(name), threads=1, cache=cache)
    for found, picture in zip(detector.detect(pictures, [LOOKING] * 2), pictures, strict=True):
        assert_same(found, reference(weights(name), cache, picture, detector.facts))


@pytest.mark.parametrize("name", TASKS)
def test_an_exported_model_finds_what_its_weights_find(
    weights: Any, onnx: Any, cache: Path, pictures: list[Pixels], name: str
) -> None:
    here: list[Detector] = [
        open_onnx(onnx(name), threads=1), open_openvino(onnx(name), threads=1, cache=cache, exact=True)
    ]  # fmt: skip
    for detector in here:
        for found, picture in zip(detector.detect(pictures, [LOOKING] * 2), pictures, strict=True):
            assert_same(found, reference(weights(name), cache, picture, detector.facts))


def test_a_network_that_picks_its_boxes_itself_is_believed(
    weights: Any, cache: Path, pictures: list[Pixels]
) -> None:
    folder = cache / "ranked"
    folder.mkdir()
    copy = folder / "yolo26n.pt"
    copy.write_bytes(weights("yolo26n").read_bytes())
    yolo = ultralytics(cache).YOLO(str(copy))
    model = yolo.export(format="onnx", dynamic=True, simplify=False, imgsz=SIDE, nms=False, verbose=False)
    detector = open_onnx(Path(model), threads=1)
    (found,) = detector.detect(pictures[:1], [LOOKING])
    assert_same(found, reference(copy, cache, pictures[0], detector.facts, nms=False))


def test_what_is_found_in_a_picture_does_not_depend_on_those_beside_it(
    onnx: Any, pictures: list[Pixels]
) -> None:
    detector = open_onnx(onnx("yolo11n"), threads=1)
    crowd = [pictures[0], photo("bus.jpg"), pictures[1][:500], pictures[0], np.zeros((1, 1, 3), np.uint8)]
    together = detector.detect(crowd, [LOOKING] * len(crowd))
    for picture, found in zip(crowd, together, strict=True):
        (alone,) = detector.detect([picture], [LOOKING])
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=0.25)
        np.testing.assert_allclose(found.confidences, alone.confidences, atol=1e-3)


def test_each_picture_is_looked_at_as_it_was_asked(onnx: Any, pictures: list[Pixels]) -> None:
    detector = open_onnx(onnx("yolo11n"), threads=1)
    everything, few = Options(0.25, 0.5, None, 300, SIDE), Options(0.25, 0.5, None, 5, SIDE)
    sure, some = Options(0.6, 0.5, None, 300, SIDE), Options(0.25, 0.5, (0, 7, 9), 300, SIDE)
    all_of_them, five, surer, classes = detector.detect(pictures[:1] * 4, [everything, few, sure, some])
    np.testing.assert_array_equal(five.confidences, all_of_them.confidences[:5])
    assert 0 < len(surer) < len(all_of_them) and surer.confidences.min() > 0.6
    assert set(classes.class_ids) <= {0, 7, 9} and len(classes)
    (nothing,) = detector.detect(pictures[:1], [Options(1.0, 0.5, None, 300, SIDE)])
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4)


def test_weights_are_exported_once_even_by_two_processes(weights: Any, cache: Path) -> None:
    code = f"""
from pathlib import Path
from callboard_vision.engines.export import exported, write_onnx
print(exported(Path({str(weights("yolo11n-cls"))!r}), Path({str(cache)!r})))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [one.communicate(timeout=200)[0] for one in both]
    assert sum(text.count("export.done") for text in said) == 1
    files = {text.strip().splitlines()[-1] for text in said}
    assert files == {str(exported(weights("yolo11n-cls"), cache))}
    assert not list((cache / "onnx").glob(".unfinished-*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    make(root, DEFAULTS[0], threads=1)
    return root / DEFAULTS[0].name


def test_the_default_detector_is_read_by_ultralytics_with_the_same_findings(made: Path, cache: Path) -> None:
    yolo = ultralytics(cache).YOLO(str(made / "model.onnx"), task="detect")
    detector = open_detector(made, engine="onnxruntime", cache=cache)
    for name in ("bus.jpg", "zidane.jpg"):
        (found,) = detector.detect([photo(name)], [Options(confidence=0.05)])
        theirs = yolo.predict(photo(name), conf=0.05, iou=0.7, imgsz=416, rect=False, verbose=False)[0]
        assert_same(found, theirs, least=10)


def test_the_default_detector_sees_the_examples_sign_in_every_engine(made: Path, cache: Path) -> None:
    example = Path(__file__).parents[2] / "shared/src/callboard_shared/jobs/vision/examples"
    sign = np.asarray(cv2.imread(str(example / "stop_sign.jpg")), np.uint8)
    for engine in ("onnxruntime", "openvino"):
        detector = open_detector(made, engine=engine, cache=cache)
        assert detector.engine.startswith(engine)
        (found,) = detector.detect([sign], [Options()])
        assert [detector.facts.names[int(one)] for one in found.class_ids] == ["stop sign"]
        assert found.confidences[0] > 0.9


def test_one_sign_goes_by_in_the_examples_video(made: Path, cache: Path) -> None:
    example = Path(__file__).parents[2] / "shared/src/callboard_shared/jobs/vision/examples"
    detector = open_detector(made, engine="onnxruntime", cache=cache)
    video = cv2.VideoCapture(str(example / "passing_sign.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    assert len(frames) == 24
    for found in detector.detect(frames[::4], [Options()] * 6):
        assert [detector.facts.names[int(one)] for one in found.class_ids] == ["stop sign"]


def test_detection_from_onnx_needs_neither_torch_nor_ultralytics(made: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from callboard_vision.engines import Options, open_detector
detector = open_detector(Path({str(made)!r}), engine="onnxruntime", cache=Path({str(tmp_path)!r}))
detector.detect([np.zeros((48, 64, 3), np.uint8)], [Options()])
print([name for name in ("torch", "ultralytics", "openvino", "onnx") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n" and run.stderr == ""


def test_ultralytics_says_nothing_asks_nobody_and_writes_below_the_cache(
    weights: Any, tmp_path: Path
) -> None:
    """Weights are opened, exported and looked with, in a home of their own; a socket of the internet is a failure."""
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    code = f"""
import socket, sys
from pathlib import Path
asked = []
real = socket.socket.connect
def connect(self, address):
    asked.append(address)
    raise OSError("nobody is asked")
socket.socket.connect = connect
socket.getaddrinfo = lambda *a, **k: asked.append(a) or []
import numpy as np
from callboard_vision.engines import Options
from callboard_vision.engines.torch_engine import open_weights
from callboard_vision.engines.export import write_onnx
weights, cache = Path({str(weights("yolo11n"))!r}), Path({str(cache)!r})
open_weights(weights, threads=1, cache=cache).detect([np.zeros((48, 64, 3), np.uint8)], [Options(image_size=64)])
Path({str(tmp_path / "made")!r}).mkdir()
write_onnx(weights, Path({str(tmp_path / "made" / "model.onnx")!r}), cache)
from ultralytics.utils import SETTINGS
from ultralytics.utils.events import events
assert SETTINGS["sync"] is False and events.enabled is False
assert not asked, asked
"""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home)}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        cwd=home,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert not [path for path in home.rglob("*") if path.is_file()]
