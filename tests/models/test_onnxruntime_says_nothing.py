"""ONNX Runtime would keep an id of the machine and report its use to its maker; ours must not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

_RUN = """
from {module} import onnxruntime
session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
assert session.run(None, {{"x": [1.0]}})[0].tolist() == [1.0]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network that gives back what it is given."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "same.onnx")
    return tmp_path / "same.onnx"


@pytest.mark.models
@pytest.mark.parametrize(
    "module", ["callboard_vision.engines.onnxruntime_alone", "callboard_llm.speech.onnxruntime_alone"]
)
def test_no_process_of_ours_reports_its_use(module: str, model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _RUN.format(module=module, model=str(model))],
        env={"HOME": str(home), "PATH": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_what_uses_it_takes_it_from_there() -> None:
    sources = (Path(__file__).parents[2] / "services").glob("*/src/**/*.py")
    loads = re.compile(r"^\s*(?:import onnxruntime|from onnxruntime)\b", re.M)
    assert {path.name for path in sources if loads.search(path.read_text("utf-8"))} == {
        "onnxruntime_alone.py"
    }
