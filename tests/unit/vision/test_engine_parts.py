"""What stands around a network: placing pictures, decoding, suppression, parts that fit the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from callboard_shared.errors import FinalError
from callboard_vision.engines.decoding import Layout, decoded
from callboard_vision.engines.description import Description, NotLoadable, described
from callboard_vision.engines.detector import NetworkDetector, NotEnoughMemory
from callboard_vision.engines.interface import Floats, ModelFacts, Options, Pixels
from callboard_vision.engines.placement import letterbox, placed
from callboard_vision.engines.suppression import suppressed, suppressed_turned

ANY_SIZE = ModelFacts("detect", {0: "cat", 1: "dog"})


class Brightness:
    """A network that finds one cat as large as its input, as sure as the picture's mean is bright."""

    engine = "none"

    def __init__(self, *, batch: int | None = None, fits: int = 1000) -> None:
        self.batch, self.size, self.part_pixels = batch, None, 16 * 64 * 64
        self.fits, self.seen = fits, [(0, 0, 0)]

    def __call__(self, pictures: Pixels, *, half: bool, least: float) -> list[list[Floats]]:
        if len(pictures) > self.fits:
            raise NotEnoughMemory("too many")
        self.seen.append(pictures.shape[:3])
        height, width = pictures.shape[1:3]
        rows = [[width / 2, height / 2, width, height, one.mean() / 255, 0] for one in pictures]
        return [[np.array([row], np.float32).T] for row in rows]


def detector(network: Any) -> NetworkDetector:
    return NetworkDetector(network, Description(ANY_SIZE, Layout("detect", 2), None))


@pytest.mark.parametrize(
    "shape", [(480, 640), (640, 480), (1, 1), (10, 20_000), (20_000, 10), (33, 64), (64, 64)]
)
@pytest.mark.parametrize("size", [32, 64, 640])
def test_a_picture_of_any_shape_lies_whole_in_the_input_and_comes_back(
    shape: tuple[int, int], size: int
) -> None:
    place = placed(shape, size, ANY_SIZE)
    assert all(side % 32 == 0 and side <= size for side in place.size)
    assert place.left >= 0 and place.left + place.scaled[1] <= place.size[1]
    assert place.top >= 0 and place.top + place.scaled[0] <= place.size[0]
    edges = np.array([[place.left, place.top], [place.left + place.scaled[1], place.top + place.scaled[0]]])
    np.testing.assert_allclose(place.back(edges.astype(np.float32)), [[0, 0], shape[::-1]], rtol=1e-5)


def test_what_lies_beyond_the_picture_is_brought_to_its_edge() -> None:
    place = placed((100, 200), 64, ANY_SIZE)
    beyond = np.array([[-500, -500], [500, 500]], np.float32)
    np.testing.assert_allclose(place.back(beyond), [[0, 0], [200, 100]])


def test_a_fixed_input_is_filled_with_grey_around_the_picture() -> None:
    place = placed((50, 100), 640, ModelFacts("detect", {}, fixed_size=(64, 64)))
    into = np.zeros((64, 64, 3), np.uint8)
    letterbox(np.full((50, 100, 3), 255, np.uint8), place, into)
    assert (into[16:48] == 255).all() and (into[:16] == 114).all() and (into[48:] == 114).all()


def test_suppression_is_torchvisions() -> None:
    import torch
    from torchvision.ops import nms

    random = np.random.default_rng(4)
    for _ in range(20):
        corner, side = random.uniform(0, 200, (300, 2)), random.uniform(-5, 90, (300, 2))
        boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
        confidences = -np.sort(-random.uniform(0, 1, 300)).astype(np.float32)
        class_ids = random.integers(0, 3, 300)
        theirs = sorted(
            int(np.flatnonzero(class_ids == label)[index])
            for label in range(3)
            for index in nms(
                torch.from_numpy(boxes[class_ids == label]),
                torch.from_numpy(confidences[class_ids == label]),
                0.5,
            )
        )
        assert suppressed(boxes, class_ids, 0.5, 300).tolist() == theirs
        assert suppressed(boxes, class_ids, 0.5, 7).tolist() == theirs[:7]


def test_of_turned_boxes_one_that_covers_a_surer_one_goes() -> None:
    boxes = np.array([[50, 50, 40, 10, 0.3], [51, 50, 40, 10, 0.3], [50, 50, 40, 10, 1.87]], np.float32)
    same, other = np.zeros(3, np.int64), np.array([0, 1, 0])
    assert suppressed_turned(boxes, same, 0.5, 300).tolist() == [0, 2]
    assert suppressed_turned(boxes, other, 0.5, 300).tolist() == [0, 1, 2]


def test_an_empty_output_is_nothing_found() -> None:
    place = placed((48, 64), 64, ANY_SIZE)
    for task, rows in (("detect", 6), ("obb", 7), ("pose", 12), ("segment", 10)):
        layout = Layout(task, 2, (2, 3))
        outputs = [np.zeros((rows, 0), np.float32), np.zeros((4, 12, 16), np.float32)]
        assert len(decoded(outputs, place, Options(), layout)) == 0


def test_numbers_that_are_none_are_nothing_found() -> None:
    output = np.full((6, 5), np.nan, np.float32)
    assert len(decoded([output], placed((48, 64), 64, ANY_SIZE), Options(), Layout("detect", 2))) == 0


def test_pictures_go_together_by_their_size_and_come_back_in_order() -> None:
    network = Brightness()
    pictures = [
        np.full((64, 64, 3), 250, np.uint8), np.full((32, 64, 3), 200, np.uint8), np.full((64, 64, 3), 150, np.uint8)
    ]  # fmt: skip
    found = detector(network).detect(pictures, [Options(image_size=64)] * 3)
    assert [round(float(one.confidences[0]) * 255) for one in found] == [250, 200, 150]
    assert network.seen[2:] == [(2, 64, 64), (1, 32, 64)]
    np.testing.assert_allclose(found[1].boxes, [[0, 0, 64, 32]])


def test_parts_are_no_larger_than_the_memory_is_meant_for() -> None:
    network = Brightness()
    pictures = [np.full((64, 64, 3), 200, np.uint8)] * 40
    assert len(detector(network).detect(pictures, [Options(image_size=64)] * 40)) == 40
    assert [count for count, *_ in network.seen[2:]] == [16, 16, 8]


def test_too_little_memory_halves_the_part_and_goes_on() -> None:
    network = Brightness(fits=3)
    looking = detector(network)
    pictures = [np.full((64, 64, 3), 10 * index, np.uint8) for index in range(16)]
    found = looking.detect(pictures, [Options(confidence=0, image_size=64)] * 16)
    assert [round(float(one.confidences.sum()) * 25.5) for one in found] == list(range(16))
    assert all(count <= 3 for count, *_ in network.seen[2:])
    before = len(network.seen)
    looking.detect(pictures[:4], [Options(image_size=64)] * 4)
    assert [count for count, *_ in network.seen[before:]] == [2, 2], "it has learnt what fits"


def test_too_little_memory_for_one_picture_is_an_error_that_says_so() -> None:
    network = Brightness()
    looking = detector(network)
    network.fits = 0
    with pytest.raises(FinalError, match="too little memory") as failed:
        looking.detect([np.zeros((64, 64, 3), np.uint8)], [Options()])
    assert failed.value.problem_code == "out-of-memory"


def test_a_model_of_a_fixed_batch_gets_it_full() -> None:
    network = Brightness(batch=4)
    pictures = [np.full((64, 64, 3), 200, np.uint8)] * 6
    assert len(detector(network).detect(pictures, [Options(image_size=64)] * 6)) == 6
    assert [count for count, *_ in network.seen[1:]] == [4, 4, 4]


def test_a_model_that_puts_out_something_else_is_not_loaded() -> None:
    with pytest.raises(NotLoadable, match="Is its metadata right"):
        NetworkDetector(Brightness(), Description(ANY_SIZE, Layout("detect", 80), None))


@pytest.mark.parametrize(
    "metadata",
    [{}, {"task": "detect"}, {"task": "depth", "names": "{0: 'a'}"}, {"task": "detect", "names": "{"}, {"task": "pose", "names": "{0: 'a'}"}],
)  # fmt: skip
def test_metadata_that_does_not_say_what_is_needed_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(NotLoadable, match=r"x\.onnx"):
        described(metadata, "x.onnx")


def test_metadata_is_read_as_ultralytics_writes_it() -> None:
    said = described(
        {"task": "pose", "names": "{0: 'person'}", "stride": "64", "kpt_shape": "[17, 3]", "imgsz": "[320, 640]",
         "args": "{'nms': True}"}, "x.onnx",
    )  # fmt: skip
    assert said.facts.task == "pose" and said.facts.names == {0: "person"} and said.facts.stride == 64
    assert said.trained_size == (320, 640) and len(said.facts.skeleton) == 19
    assert said.layout == Layout("pose", 1, (17, 3), ranked=True)
