"""The handler of vision.detect, with a detector whose findings are known."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from looking import NAMES, FakeContext, FakeJob, Lamp, Opened, encoded, findings, job
from pydantic import ValidationError

from callboard_shared.errors import CallboardError, FinalError
from callboard_shared.jobs.vision import DETECT, DetectInput, DetectOutput
from callboard_shared.pictures import PictureSettings
from callboard_shared.worker import JobCanceled
from callboard_vision.engines.interface import Findings, ModelFacts
from callboard_vision.handlers.detect import DetectHandlers
from callboard_vision.handlers.reading import FIRST, PART, Pace

SETTINGS = PictureSettings(picture_max_pixels=10_000, picture_max_side=5000, picture_max_bytes=2**20)


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture
def handlers(lamp: Lamp) -> DetectHandlers:
    return DetectHandlers(Opened(lamp), SETTINGS, threads=2)  # type: ignore[arg-type]


def run(handlers: DetectHandlers, *jobs: FakeJob) -> list[Any]:
    """Outputs as clients see them, errors as they are."""
    return [_shown(one) for one in handlers.detect(jobs)]  # type: ignore[arg-type]


def _shown(output: Any) -> Any:
    if isinstance(output, CallboardError):
        return output
    shown = orjson.loads(orjson.dumps(output))
    DetectOutput.model_validate(shown)
    return shown


def test_one_picture_stands_at_the_top_and_several_in_a_list(handlers: DetectHandlers) -> None:
    one, many = run(handlers, job(encoded(200)), job(encoded(200), encoded(20), encoded(0)))
    assert one["detections"] == [
        {"label": "light", "class_id": 1, "confidence": 0.9877, "box": [0.0, 0.0, 8.0, 6.0]}
    ]
    assert one["counts"] == {"light": 1}
    assert (one["width"], one["height"], one["task"]) == (8, 6, "detect")
    assert "images" not in one
    assert [seen["counts"] for seen in many["images"]] == [{"light": 1}, {"dark": 1}, {}]
    assert many["images"][2]["detections"] == []
    assert many["images"][2]["summary"] == "Nothing was found in a picture of 8×6 pixels."
    assert "detections" not in many


def test_the_pictures_of_all_jobs_go_through_the_network_together(
    handlers: DetectHandlers, lamp: Lamp
) -> None:
    jobs = [
        job(encoded(200, (10, 4)), confidence=0.1),
        job(encoded(20), encoded(200), iou=0.2, max_detections=7),
    ]
    run(handlers, *jobs)
    ((shapes, options),) = lamp.calls
    assert shapes == [(4, 10, 3), (6, 8, 3), (6, 8, 3)]
    assert [one.confidence for one in options] == [0.1, 0.25, 0.25]
    assert [one.max_detections for one in options] == [300, 7, 7]
    assert [one.context.usage for one in jobs] == [
        {"images": 1, "batch_jobs": 2},
        {"images": 2, "batch_jobs": 2},
    ]


def test_a_large_job_goes_in_parts_and_tells_how_far_it_is(handlers: DetectHandlers, lamp: Lamp) -> None:
    count = FIRST + PART + 3
    one = job(*[encoded(200 if place % 2 else 20) for place in range(count)])
    (output,) = run(handlers, one)
    assert [len(shapes) for shapes, _ in lamp.calls] == [FIRST, PART, 3]
    both = FIRST + PART
    assert [seen["detections"][0]["label"] for seen in output["images"]] == [
        "light" if place % 2 else "dark" for place in range(count)
    ]
    assert one.context.told == [
        (FIRST / count, f"{FIRST} of {count} pictures", FIRST, count),
        (both / count, f"{both} of {count} pictures", both, count),
    ]
    assert all(name.startswith("pictures") for name in one.context.readers)


def test_parts_are_smaller_where_pictures_are_large(
    handlers: DetectHandlers, lamp: Lamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard_vision.handlers.reading.PART_PIXELS", 15_000)
    run(handlers, job(*[encoded(200, (100, 100))] * 5))
    assert [len(shapes) for shapes, _ in lamp.calls] == [2, 2, 1]


def test_a_slow_model_gets_small_parts_so_that_a_cancel_is_heard_soon() -> None:
    pace = Pace()
    assert pace.part("x") == FIRST
    for seconds, part in ((4.0, 1), (0.8, 5), (0.004, PART)):
        pace.took("x", 4, seconds)
        assert pace.part("x") == part
    assert pace.part("another") == FIRST


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"base64": "aGVsbG8gd29ybGQ="}, "unsupported-media-type"),
        ({"base64": encoded()["base64"][:60]}, "image-damaged"),
        (encoded(1, (200, 60)), "image-too-large"),
        ({"file_id": "file_1"}, "file-not-found"),
    ],
)
def test_a_bad_picture_fails_its_own_job_alone(
    handlers: DetectHandlers, lamp: Lamp, bad: dict[str, str], code: str
) -> None:
    first, second, third = run(handlers, job(encoded(200)), job(encoded(200), bad, encoded(200)), job(bad))
    assert first["counts"] == {"light": 1}
    for error in (second, third):
        assert isinstance(error, FinalError)
        assert error.problem_code == code
        assert not error.retryable
    if code != "file-not-found":
        assert second.errors[0]["field"] == "input.images.1"
        assert second.detail.startswith("Picture 2: ")
        assert third.errors[0]["field"] == "input.image"
    assert lamp.calls[0][0].count((6, 8, 3)) <= 2, "no picture of a lost job goes through the network in vain"


def test_no_more_is_read_ahead_than_fits(
    handlers: DetectHandlers, lamp: Lamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pictures of 10,000 pixels two are a part, about as many are ready, and each thread may be at one more."""
    monkeypatch.setattr("callboard_vision.handlers.reading.PART_PIXELS", 15_000)
    read: list[int] = []
    given = FakeContext.open_file
    monkeypatch.setattr(FakeContext, "open_file", lambda self, file: read.append(1) or given(self, file))
    ahead: list[int] = []
    lamp.before = lambda: ahead.append(len(read) - sum(len(shapes) for shapes, _ in lamp.calls))
    run(handlers, job(*[encoded(200, (100, 100))] * 40))
    assert len(lamp.calls) == 20
    assert max(ahead) <= 2 + 2 + 4


def test_classes_are_asked_for_by_name_or_number(handlers: DetectHandlers, lamp: Lamp) -> None:
    run(handlers, job(encoded(), classes=["stop sign", 0, "사람", "1", "light"]), job(encoded()))
    assert [one.classes for one in lamp.calls[0][1]] == [(2, 0, 3, 1), None]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("lihgt", "Did you mean light?"), ("zebra", "It has 4: dark, light"), (4, "It has 4:"), (-1, "")],
)
def test_an_unknown_class_is_named_with_those_that_are_meant(
    handlers: DetectHandlers, asked: str | int, hint: str
) -> None:
    good, error = run(handlers, job(encoded()), job(encoded(), classes=["dark", asked]))
    assert good["counts"] == {"light": 1}
    assert isinstance(error, FinalError)
    assert error.problem_code == "unknown-class"
    assert repr(str(asked)) in error.detail and hint in error.detail
    assert error.errors is not None and error.errors[0]["allowed"] == list(NAMES.values())


def test_a_canceled_job_stops_between_parts_and_the_others_go_on(
    handlers: DetectHandlers, lamp: Lamp
) -> None:
    canceled, other = job(*[encoded()] * 20), job(*[encoded()] * 20)
    lamp.before = canceled.context.cancel
    first, second = run(handlers, canceled, other)
    assert isinstance(first, JobCanceled)
    assert len(second["images"]) == 20
    assert sum(len(shapes) for shapes, _ in lamp.calls) < 40


def test_nothing_goes_on_when_nobody_waits(handlers: DetectHandlers, lamp: Lamp) -> None:
    alone = job(*[encoded()] * 40)
    lamp.before = alone.context.cancel
    with pytest.raises(JobCanceled):
        run(handlers, alone)
    assert len(lamp.calls) == 1


def test_what_one_should_know_of_a_picture_is_said(handlers: DetectHandlers) -> None:
    import base64
    import io

    from PIL import Image

    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("white", "black")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    (output,) = run(handlers, job({"base64": base64.b64encode(out.getvalue()).decode()}))
    assert output["counts"] == {"light": 1}
    assert "first frame" in output["warnings"][0]


def test_annotated_pictures_are_files_of_the_job(handlers: DetectHandlers) -> None:
    one = job(encoded(90, (60, 50), ".jpg"), encoded(90, (60, 50)), annotate=True)
    plain = job(encoded())
    output, other = run(handlers, one, plain)
    assert sorted(one.context.files) == ["annotated-1.jpg", "annotated-2.jpg"]
    for place, seen in enumerate(output["images"], 1):
        data, media_type = one.context.files[f"annotated-{place}.jpg"]
        assert seen["annotated"]["file_id"] == f"file_annotated-{place}.jpg"
        assert seen["annotated"]["media_type"] == media_type == "image/jpeg"
        drawn = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert drawn.shape == (400, 480, 3), "enlarged, so that its label can be read"
        assert drawn.std() > 10
    assert "annotated" not in other
    assert plain.context.files == {}


def test_what_was_transparent_is_annotated_without_loss(handlers: DetectHandlers) -> None:
    import base64

    data = cv2.imencode(".png", np.full((6, 8, 4), 90, np.uint8))[1].tobytes()
    one = job({"base64": base64.b64encode(data).decode()}, annotate=True)
    (output,) = run(handlers, one)
    assert output["annotated"]["media_type"] == "image/png"
    assert one.context.files["annotated-1.png"][0].startswith(b"\x89PNG")


class Fixed(Lamp):
    """Always finds the same."""

    def __init__(self, facts: ModelFacts, found: Findings) -> None:
        super().__init__(facts)
        self.found = found

    def _one(self, picture: Any, options: Any) -> Findings:
        return self.found


def only(facts: ModelFacts, found: Findings) -> Any:
    one = job(encoded(90, (100, 80)), annotate=True)
    (output,) = run(DetectHandlers(Opened(Fixed(facts, found)), SETTINGS, threads=1), one)  # type: ignore[arg-type]
    return output


def test_a_segmenting_model_gives_outlines_within_the_picture() -> None:
    outline = np.array([[-2, 3], [50.126, 3], [50, 200]], np.float32)
    found = findings([[0, 3, 50, 80]], [0.5], [0], outlines=[[outline, outline[:0]]])
    output = only(ModelFacts("segment", NAMES), found)
    assert output["task"] == "segment"
    assert output["detections"][0]["mask"] == [[[0.0, 3.0], [50.13, 3.0], [50.0, 80.0]], []]


def test_a_pose_model_gives_points_with_their_confidence() -> None:
    points = np.array([[[10, 10, 0.9], [500, 20, 0.81234]]], np.float32)
    found = findings([[0, 0, 50, 80]], [0.5], [0], keypoints=points)
    output = only(ModelFacts("pose", NAMES, skeleton=[(0, 1)]), found)
    assert output["detections"][0]["keypoints"] == [[10.0, 10.0, 0.9], [100.0, 20.0, 0.8123]]


def test_a_turned_box_gives_its_corners_as_they_are() -> None:
    corners = np.array([[[50, -5], [105, 40], [50, 85], [-5, 40]]], np.float32)
    output = only(ModelFacts("obb", NAMES), findings([[-5, -5, 105, 85]], [0.5], [2], corners=corners))
    assert output["detections"][0]["corners"] == [[50, -5], [105, 40], [50, 85], [-5, 40]]
    assert output["detections"][0]["box"] == [0, 0, 100, 80]


def test_a_classifying_model_gives_the_likeliest_labels() -> None:
    names = {number: f"kind {number}" for number in range(7)}
    probabilities = np.array([0.01, 0.02, 0.5, 0.3, 0.1, 0.05, 0.02], np.float32)
    output = only(ModelFacts("classify-image", names), findings([], [], [], probabilities=probabilities))
    assert [one["label"] for one in output["classification"]] == [
        "kind 2",
        "kind 3",
        "kind 4",
        "kind 5",
        "kind 1",
    ]
    assert output["classification"][0] == {"label": "kind 2", "class_id": 2, "confidence": 0.5}
    assert output["detections"] == [] and output["counts"] == {}
    assert output["summary"] == (
        "A picture of 100×80 pixels that looks most like kind 2 (50%), then kind 3 (30%) and kind 4 (10%)."
    )
    assert output["annotated"]["bytes"] > 0


@pytest.mark.parametrize(
    "options",
    [{"confidence": float("nan")}, {"iou": float("inf")}, {"confidence": 1.1}, {"image_size": 33}, {"classes": []},
     {"classes": [1.5]}, {"classes": [True]}, {"max_detections": 0}, {"unknown": 1}],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DetectInput.model_validate({"image": encoded(), **options})


def test_a_job_has_a_picture_or_several_and_not_both() -> None:
    for given in (
        {},
        {"image": encoded(), "images": [encoded()]},
        {"images": []},
        {"images": [encoded()] * 65},
    ):
        with pytest.raises(ValidationError):
            DetectInput.model_validate(given)


def test_only_jobs_that_look_alike_share_a_batch() -> None:
    alike = [
        DetectInput.model_validate({"image": encoded(), "confidence": c, "classes": [1]}) for c in (0.1, 0.9)
    ]
    other = DetectInput.model_validate({"image": encoded(), "image_size": 320})
    assert len({DETECT.batch_key(one) for one in alike}) == 1
    assert DETECT.batch_key(other) != DETECT.batch_key(alike[0])
    assert DETECT.weight(DetectInput.model_validate({"images": [encoded()] * 9})) == 9
