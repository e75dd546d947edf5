"""Models that look at pictures, on the shelf, without anything heavy."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from callboard_shared.errors import Invalid
from callboard_shared.models import Shelf, onnx_file, publishes
from callboard_shared.models.looking import ARCHITECTURES, FETCHABLE
from callboard_shared.models.trusted import TrustSettings


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def put_onnx(path: Path, **metadata: str) -> Path:
    """What an ONNX file looks like from outside: a version, a graph, texts by name."""
    entries = [
        field(14, field(1, key.encode()) + field(2, value.encode())) for key, value in metadata.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x08\x0a" + field(7, b"graph" * 5000) + b"".join(entries))
    return path


def put_weights(path: Path, model: str = "SegmentationModel") -> str:
    """Weights as torch saves them; gives their sha256."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "best/data.pkl", b"\x80\x02}q\x00cultralytics.nn.tasks\n" + model.encode() + b"\nq\x01."
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shelf(root: Path, *trusted: str) -> Shelf:
    return Shelf(
        models_path=root, hub_models=(), made_path=root / ".made", fetched_path=root / ".fetched", trusted=trusted
    )  # fmt: skip


def test_an_onnx_file_is_a_model_by_its_path_below_the_operators_folder(tmp_path: Path) -> None:
    file = put_onnx(tmp_path / "plates" / "best.onnx", task="obb", license="AGPL-3.0 License (https://…)")
    ref = shelf(tmp_path).resolve("plates/best.onnx", "obb")
    assert (ref.path, ref.source, ref.license, ref.size) == (file, "folder", "AGPL-3.0", file.stat().st_size)
    assert shelf(tmp_path).resolve("plates/best", "obb") == ref
    info = {one.name: one for one in shelf(tmp_path).infos()}["plates/best.onnx"]
    assert (info.kind, info.task, info.bytes) == ("oriented-detector", "obb", ref.size)
    assert info.created_at is not None and info.path == str(file)


@pytest.mark.parametrize(
    "name", ["../best.onnx", "plates/../best.onnx", "/best.onnx", "./best.onnx", "best.onnx/"]
)
def test_a_path_that_leads_elsewhere_is_no_name(tmp_path: Path, name: str) -> None:
    put_onnx(tmp_path / "models" / "inside.onnx", task="detect")
    put_onnx(tmp_path / "best.onnx", task="detect")
    with pytest.raises(Invalid, match="There is no model"):
        shelf(tmp_path / "models").resolve(name, "detect")


def test_a_folder_of_ours_and_one_for_openvino_are_models(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "mine", tmp_path / "yolo_openvino_model"
    ours.mkdir(), theirs.mkdir()
    (ours / "config.json").write_text(json.dumps({"kind": "pose", "task": "pose"}))
    put_onnx(ours / "model.onnx", task="pose")
    (theirs / "metadata.yaml").write_text("task: classify\nargs:\n  task: none\nlicense: AGPL-3.0 License\n")
    (theirs / "yolo.xml").write_text("<net/>")
    (theirs / "yolo.bin").write_bytes(b"0" * 9)
    here = shelf(tmp_path)
    assert set(here.refs("pose")) == {"mine"}
    ref = here.resolve("yolo_openvino_model", "classify-image")
    assert (ref.path, ref.size, ref.license) == (theirs, 9, "AGPL-3.0")


def test_pickled_weights_are_refused_with_the_cure(tmp_path: Path) -> None:
    put_weights(tmp_path / "best.pt")
    here = shelf(tmp_path)
    assert "best.pt" not in here.refs()
    for name in ("best.pt", "best"):
        with pytest.raises(Invalid, match="CALLBOARD_VISION_TRUSTED_WEIGHTS") as refused:
            here.resolve(name, "segment")
        assert refused.value.problem_code == "unsupported-format" and "yolo export" in refused.value.detail


def test_weights_that_the_operator_lists_are_a_model_for_what_they_do(tmp_path: Path) -> None:
    digest = put_weights(tmp_path / "best.pt")
    here = shelf(tmp_path, digest)
    assert here.resolve("best.pt", "segment").path == tmp_path / "best.pt"
    assert not here.has("best.pt", "detect")
    put_weights(
        tmp_path / "best.pt", "DetectionModel"
    )  # other weights in its place are not those that were listed
    with pytest.raises(Invalid, match="pickle"):
        shelf(tmp_path, digest).resolve("best.pt", "detect")


def test_listed_weights_that_are_none_of_ultralytics_are_refused(tmp_path: Path) -> None:
    digest = put_weights(tmp_path / "best.pt", "SomethingElse")
    with pytest.raises(Invalid, match="holds no model of ultralytics"):
        shelf(tmp_path, digest).resolve("best.pt", "detect")


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x08", b"\x3a\xff\xff\xff\xff\x0f", b"\x08\x0a" + b"\x72\x05abc"]
)
def test_a_file_that_is_no_onnx_model_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any.onnx").write_bytes(content)
    with pytest.raises(Invalid, match=r"any\.onnx") as refused:
        shelf(tmp_path).resolve("any.onnx", "detect")
    assert refused.value.problem_code == "unsupported-format"


def test_an_onnx_model_that_does_not_say_what_it_does_is_refused(tmp_path: Path) -> None:
    put_onnx(tmp_path / "any.onnx", author="somebody")
    with pytest.raises(Invalid, match="does not say what it does"):
        shelf(tmp_path).resolve("any.onnx", "detect")


def test_metadata_is_what_the_onnx_library_reads(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])  # fmt: skip
    model = helper.make_model(graph)
    said = {"task": "detect", "names": "{0: '사람'}", "long": "x" * 5000, "empty": ""}
    helper.set_model_props(model, said)
    onnx.save(model, tmp_path / "real.onnx")
    assert onnx_file.metadata(tmp_path / "real.onnx") == said


def test_what_ultralytics_publishes_is_known_with_and_without_its_ending(tmp_path: Path) -> None:
    here = shelf(tmp_path)
    for name in ("yolo11n-pose.pt", "yolo11n-pose"):
        ref = here.resolve(name, "pose")
        assert (ref.name, ref.source, ref.path, ref.license) == (
            "yolo11n-pose.pt", "ultralytics", None, "AGPL-3.0"
        )  # fmt: skip
    assert not here.has("yolo11n-pose.pt", "detect")
    assert here.resolve("yolo26n.yaml", "architecture").path is None
    assert publishes("yolo26n", ["detect"]) and not publishes("yolo99n", ["detect"])
    assert not any("yolo11n-pose" in name for name in here.refs())


def test_a_file_that_the_operator_put_there_stands_in_for_what_would_be_fetched(tmp_path: Path) -> None:
    file = put_onnx(tmp_path / "yolo11n.onnx", task="detect")
    for name in ("yolo11n", "yolo11n.pt", "yolo11n.onnx"):
        assert shelf(tmp_path).resolve(name, "detect").path == file


def test_what_was_fetched_is_listed(tmp_path: Path) -> None:
    (tmp_path / ".fetched").mkdir()
    put_weights(tmp_path / ".fetched" / "yolo11n.pt", "DetectionModel")
    info = {one.name: one for one in shelf(tmp_path).infos()}["yolo11n.pt"]
    assert (info.kind, info.source, info.license) == ("detector", "ultralytics", "AGPL-3.0")


def test_the_published_names_are_those_that_ultralytics_lists() -> None:
    code = "from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES as names; print(*sorted(names))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false", "HOME": "/nonexistent"},
    )  # fmt: skip
    assert set(FETCHABLE) <= set(run.stdout.split())
    assert len(FETCHABLE) > 80 and len(ARCHITECTURES) > 70


def test_trust_is_given_by_whole_digests_only() -> None:
    digest = "ab" * 32
    assert TrustSettings(vision_trusted_weights=f" {digest.upper()}, {digest}").vision_trusted_weights == (
        digest, digest
    )  # type: ignore[arg-type]  # fmt: skip
    with pytest.raises(ValidationError, match="sha256sum"):
        TrustSettings(vision_trusted_weights="best.pt")  # type: ignore[arg-type]
