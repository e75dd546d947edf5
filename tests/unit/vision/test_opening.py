"""Which files are opened, which are refused, and what is said then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from callboard_shared.errors import FinalError, RetryableError
from callboard_shared.models.trusted import sha256_of
from callboard_vision.darknet import converted, sections
from callboard_vision.engines import Options, fetched, open_detector
from callboard_vision.engines.description import NotLoadable
from callboard_vision.engines.fetching import was_fetched

METADATA = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}", "stride": "32"}


def put_onnx(path: Path, metadata: dict[str, str] = METADATA, rows: int = 6) -> Path:
    """A model that finds, whatever it is given, nothing."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, rows, 4])
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["output0"]),
    ]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, rows, 4])
    graph = helper.make_graph(nodes, "nothing", [given], [output], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def put_pickle(path: Path, marker: Path) -> Path:
    """Weights that write a file when they are read."""
    import torch

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.write_text, (marker, "harm"))

    torch.save({"model": Harm()}, path)
    return path


@pytest.mark.parametrize("engine", ["auto", "onnxruntime", "openvino", "torch"])
def test_an_onnx_file_is_opened_by_every_engine_or_in_its_stead(tmp_path: Path, engine: Any) -> None:
    detector = open_detector(put_onnx(tmp_path / "any.onnx"), engine=engine, cache=tmp_path / "cache")
    assert detector.facts.names == {0: "cat", 1: "dog"}
    (found,) = detector.detect([np.zeros((40, 60, 3), np.uint8)], [Options()])
    assert len(found) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 200, "no ONNX model"),
        (b"PK\x03\x04 a zip", "ONNX model"),
    ],
)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_that_is_no_model_is_an_error_that_says_so(
    tmp_path: Path, content: bytes, said: str, engine: Any
) -> None:
    (tmp_path / "any.onnx").write_bytes(content)
    with pytest.raises(FinalError, match=r"any\.onnx") as failed:
        open_detector(tmp_path / "any.onnx", engine=engine, cache=tmp_path / "cache")
    assert failed.value.problem_code == "model-not-loadable"


def test_a_model_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    whole = put_onnx(tmp_path / "any.onnx").read_bytes()
    (tmp_path / "any.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotLoadable, match=r"any\.onnx"):
        open_detector(tmp_path / "any.onnx", cache=tmp_path / "cache")


def test_a_model_of_another_shape_than_it_says_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotLoadable, match="metadata"):
        open_detector(put_onnx(tmp_path / "any.onnx", rows=84), cache=tmp_path / "cache")


def test_a_folder_of_ours_says_itself_what_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    put_onnx(folder / "model.onnx", metadata={})
    with pytest.raises(NotLoadable, match="does not say"):
        open_detector(folder, cache=tmp_path / "cache")
    (folder / "config.json").write_text(
        '{"kind": "detector", "task": "detect", "names": {"0": "a", "1": "b"}}'
    )
    assert open_detector(folder, cache=tmp_path / "cache").facts.names == {0: "a", 1: "b"}


def test_pickled_weights_are_refused_unread(tmp_path: Path) -> None:
    marker = tmp_path / "harm"
    weights = put_pickle(tmp_path / "best.pt", marker)
    for engine in ("auto", "torch", "onnxruntime"):
        with pytest.raises(FinalError, match="CALLBOARD_VISION_TRUSTED_WEIGHTS") as refused:
            open_detector(weights, engine=engine, cache=tmp_path / "cache")  # type: ignore[arg-type]
        assert refused.value.problem_code == "unsupported-format"
    assert not marker.exists()


def test_pickled_weights_beside_an_onnx_file_are_passed_over(tmp_path: Path) -> None:
    folder, marker = tmp_path / "given", tmp_path / "harm"
    folder.mkdir()
    put_onnx(folder / "model.onnx")
    put_pickle(folder / "best.pt", marker)
    detector = open_detector(folder, engine="torch", cache=tmp_path / "cache")
    assert not detector.engine.startswith("torch") and not marker.exists()


def test_even_trusted_weights_build_nothing_but_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "harm"
    weights = put_pickle(tmp_path / "best.pt", marker)
    monkeypatch.setenv("CALLBOARD_VISION_TRUSTED_WEIGHTS", sha256_of(weights))
    code = f"""
from pathlib import Path
from callboard_vision.engines import open_detector
open_detector(Path({str(weights)!r}), engine="torch", cache=Path({str(tmp_path / "cache")!r}))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "NotLoadable: best.pt is no model of ultralytics" in run.stderr
    assert not marker.exists()


def test_without_a_network_the_error_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_OFFLINE", "true")
    monkeypatch.setenv("CALLBOARD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLBOARD_MODELS_DIR", str(tmp_path / "models"))
    with pytest.raises(FinalError) as failed:
        fetched("yolo11n")
    assert failed.value.problem_code == "model-unavailable"
    assert str(tmp_path / "models" / "yolo11n.onnx") in failed.value.detail
    assert "yolo export model=yolo11n.pt" in failed.value.detail


def test_a_fetch_that_fails_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up: the process that fetches is replaced by one that fails."""
    monkeypatch.setenv("CALLBOARD_OFFLINE", "false")
    monkeypatch.setenv("CALLBOARD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("callboard_vision.engines.fetching.sys.executable", "/bin/false")
    with pytest.raises(RetryableError, match=r"yolo11n\.pt") as failed:
        fetched("yolo11n")
    assert failed.value.problem_code == "model-unavailable"


def test_what_was_put_among_the_fetched_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "yolo11n.pt"
    path.write_bytes(b"given")
    assert not was_fetched(path)
    (tmp_path / "yolo11n.pt.sha256").write_text(sha256_of(path))
    assert was_fetched(path)
    path.write_bytes(b"taken")
    assert not was_fetched(path)


def test_an_architecture_has_no_file() -> None:
    assert fetched("yolo11n-seg.yaml") == Path("yolo11n-seg.yaml")


CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=18
size=3
stride=2
pad=1
activation=leaky

[convolutional]
filters=18
size=1
stride=1
pad=1
activation=linear

[yolo]
mask = 0,1,2
anchors = 10,14, 23,27, 37,58
classes=1
num=3
"""
FLOATS = 18 * 4 + 18 * 27 + 18 + 18 * 18


def put_darknet(folder: Path, floats: int = FLOATS) -> tuple[Path, Path]:
    (folder / "tiny.cfg").write_text(CFG)
    header = np.array([0, 2, 0, 0, 0], np.int32).tobytes()
    values = np.random.default_rng(0).uniform(0.01, 0.1, floats).astype(np.float32)
    (folder / "tiny.weights").write_bytes(header + values.tobytes())
    return folder / "tiny.cfg", folder / "tiny.weights"


def test_a_darknet_network_becomes_onnx_of_any_size(tmp_path: Path) -> None:
    cfg, weights = put_darknet(tmp_path)
    assert [name for name, _ in sections(cfg)] == ["net", "convolutional", "convolutional", "yolo"]
    model = converted(cfg, weights, {"task": "detect", "names": {0: "thing"}, "stride": 2})
    onnx.save(model, tmp_path / "tiny.onnx")
    detector = open_detector(tmp_path / "tiny.onnx", engine="onnxruntime", cache=tmp_path)
    for size in (32, 64, 96):
        (found,) = detector.detect(
            [np.full((48, 64, 3), 90, np.uint8)], [Options(confidence=0, max_detections=3, image_size=size)]
        )
        assert len(found) == 3


@pytest.mark.parametrize(("floats", "said"), [(FLOATS - 1, "end before"), (FLOATS + 1, "go on after")])
def test_weights_of_another_network_are_refused(tmp_path: Path, floats: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        converted(*put_darknet(tmp_path, floats), {"names": {0: "thing"}})


def test_too_little_memory_on_the_device_is_told_by_the_torch_engine(tmp_path: Path) -> None:
    """The code of the GPU on a CPU: the network raises what CUDA does for more than two pictures."""
    import torch

    from callboard_vision.engines.decoding import Layout
    from callboard_vision.engines.description import Description
    from callboard_vision.engines.detector import NetworkDetector
    from callboard_vision.engines.interface import ModelFacts
    from callboard_vision.engines.torch_engine import TorchNetwork

    sizes = []

    def network(given: Any) -> Any:
        if len(given) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(given))
        assert given.is_contiguous(memory_format=torch.channels_last)
        return (torch.full((len(given), 6, 8), 0.5), {})

    torch_network = object.__new__(TorchNetwork)
    torch_network._device, torch_network._on_gpu = torch.device("cpu"), False
    torch_network._model, torch_network._picks_itself = network, False
    torch_network.metadata, torch_network.engine = {"names": {0: "a", 1: "b"}}, "torch cpu"
    torch_network.part_pixels = 64 * 640 * 640
    facts = ModelFacts("detect", {0: "a", 1: "b"})
    detector = NetworkDetector(torch_network, Description(facts, Layout("detect", 2), (64, 64)))
    found = detector.detect([np.zeros((64, 64, 3), np.uint8)] * 9, [Options(image_size=64)] * 9)
    assert len(found) == 9 and all(len(one) == 1 for one in found)
    assert max(sizes) == 2 and sum(sizes) == 10
