"""`make new-worker NAME=…` gives a worker that is declared, started and checked like the others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("new_worker", ROOT / "deploy" / "new_worker.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the generator touches."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for folder in ("shared", "deploy", "services"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    for name in ("requirements.txt", "pyproject.toml", ".importlinter"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, *command: str) -> str:
    paths = [str(path) for path in checkout.glob("*/src")] + [str(path) for path in checkout.glob("*/*/src")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_worker_is_declared_started_and_passes_the_checks(
    generator: ModuleType, checkout: Path
) -> None:
    written = generator.scaffold(checkout, "audio")
    code = (
        "import callboard_shared; from callboard_shared.jobs import CATALOGUE, QUEUES;"
        "from callboard_audio.main import worker; from callboard_embedded.members import WORKERS;"
        "print(callboard_shared.__file__, 'audio.count' in CATALOGUE, 'audio' in QUEUES, worker.queues,"
        " 'audio' in WORKERS)"
    )
    out = run(checkout, sys.executable, "-c", code).split(maxsplit=1)
    assert out[0].startswith(str(checkout))
    assert out[1].strip() == "True True ('audio',) True"
    run(checkout, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/audio")
    tool = str(Path(sys.executable).with_name("ruff"))
    run(checkout, tool, "check", "--no-cache", *(path for path in written if path.endswith(".py")))
    assert "-e ./services/audio_worker" in (checkout / "requirements.txt").read_text()
    assert (checkout / ".importlinter").read_text().count("callboard_audio") >= 3


@pytest.mark.parametrize("name", ["", "Audio", "a", "no-dash", "gateway", "nlp", "../etc"])
def test_a_bad_or_taken_name_is_refused_and_nothing_is_written(
    generator: ModuleType, checkout: Path, name: str
) -> None:
    before = sorted(checkout.rglob("*"))
    with pytest.raises(generator.NotPossible):
        generator.scaffold(checkout, name)
    assert sorted(checkout.rglob("*")) == before
