"""OpenVINO would report each import to its maker; ours must not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CHECK = """
import sys
import {module}
assert sys.modules["openvino"] is not None
assert sys.modules["openvino_telemetry"] is None, "the reporting package was loaded"
"""


@pytest.mark.models
@pytest.mark.parametrize("module", ["callboard_nlp.engines.openvino_engine", "callboard_nlp.engines.export"])
def test_no_process_of_ours_loads_its_telemetry(module: str, tmp_path: Path) -> None:
    check = _CHECK.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()  # where it would keep its id of this user
