"""`make setup`: which Python, which torch, what is done again, and what a failure says."""

from __future__ import annotations

import importlib.util
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "embedded" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as if the checkout were an empty folder."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "requirements-torch.txt").write_text("torch==2.14.1\ntorchvision==0.29.1\n")
    (tmp_path / "requirements.txt").write_text("-e ./shared\n")
    (tmp_path / "constraints.txt").write_text("pip==25.3\ntorch==2.14.1\n")
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(module, "STAMPS", str(tmp_path / ".venv" / ".stages"))
    monkeypatch.setattr(module, "has_nvidia_gpu", lambda: False)
    (tmp_path / ".venv" / ".stages").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    (tmp_path / "bin").mkdir()
    return module


def fake_python(folder: Path, name: str, version: str, *, venv: bool = True) -> None:
    """A program that answers as a Python of that version would."""
    path = folder / "bin" / name
    answer = "echo ok" if venv else "exit 1"
    path.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) {answer};; *) echo {version};; esac\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_an_old_python_is_named_and_so_is_the_cure(bootstrap: ModuleType, tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "3.9.2")
    with pytest.raises(bootstrap.Stop, match=r"3\.11, 3\.12 or 3\.13 \(python3 is 3\.9\.2\)"):
        bootstrap.find_python()


def test_a_python_that_is_too_new_is_passed_over_for_one_that_fits(
    bootstrap: ModuleType, tmp_path: Path
) -> None:
    fake_python(tmp_path, "python3", "3.14.0")
    fake_python(tmp_path, "python3.12", "3.12.4")
    path, version = bootstrap.find_python()
    assert path.endswith("/python3.12")
    assert version == (3, 12, 4)


def test_the_python_that_was_named_is_the_only_one_tried(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path, "python3", "3.12.4")
    monkeypatch.setenv("PYTHON", "python3.13")
    with pytest.raises(bootstrap.Stop, match=r"'python3\.13' was not found"):
        bootstrap.find_python()


def test_a_missing_venv_module_names_debians_package(bootstrap: ModuleType, tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "3.11.2", venv=False)
    with pytest.raises(bootstrap.Stop, match=r"apt install python3\.11-venv"):
        bootstrap.find_python()


def test_without_a_gpu_torch_comes_from_the_index_of_cpu_builds(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "answers", lambda url: True)
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    stage = bootstrap.torch_stage()
    assert stage.commands == [
        ["--index-url", bootstrap.CPU_INDEX, "--no-deps", "torch==2.14.1", "torchvision==0.29.1"]
    ]
    assert stage.cost == bootstrap.COSTS["cpu"]


@pytest.mark.parametrize("index", ["", "http://127.0.0.1:9/whl"])
def test_an_empty_or_unreachable_index_means_pypi_and_its_cost_is_told(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    monkeypatch.setenv("TORCH_INDEX", index)
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    stage = bootstrap.torch_stage()
    assert "--index-url" not in stage.commands[0]
    assert stage.cost == bootstrap.COSTS["cuda"]


def test_other_platforms_take_pypis_build_which_is_small_there(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "arm64")
    assert bootstrap.torch_source(False)[:2] == ("cpu", "")


def test_a_torch_that_is_here_is_not_installed_again(bootstrap: ModuleType, tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("torch-2.14.1+cpu.dist-info", "torchvision-0.29.1.dist-info"):
        (packages / name).mkdir(parents=True)
    assert bootstrap.torch_stage().commands == []


def test_a_stage_is_done_again_only_when_its_inputs_change(bootstrap: ModuleType, tmp_path: Path) -> None:
    for stage in bootstrap.stages("dev"):
        bootstrap.write(stage.stamp, stage.done)
    assert all(stage.is_done() for stage in bootstrap.stages("dev"))
    (tmp_path / "requirements-dev.txt").write_text("ruff\n")
    assert [stage.name for stage in bootstrap.stages("dev") if not stage.is_done()] == ["dev"]


def test_a_package_whose_installation_was_cut_off_is_forgotten(bootstrap: ModuleType, tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    whole, cut_off = packages / "whole-1.dist-info", packages / "half-1.dist-info"
    whole.mkdir(parents=True)
    cut_off.mkdir()
    (whole / "RECORD").write_text("")
    (cut_off / "METADATA").write_text("")
    bootstrap.forget_half_installed()
    assert whole.exists()
    assert not cut_off.exists()


def test_too_little_disk_is_told_before_anything_is_downloaded(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000_000})
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(bootstrap.Stop, match=r"has 1\.0 GB free, and this needs about"):
        bootstrap.check_disk(list(bootstrap.stages("run")))


@pytest.mark.parametrize(
    ("log", "cure"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        (
            "NewConnectionError('…: Failed to establish a new connection: [Errno -2] Name or service",
            "cannot be reached",
        ),
        ("ERROR: No matching distribution found for torch==2.14.1", "index lacks a version"),
        ("ERROR: Package 'x' requires a different Python: 3.14.0 not in '<3.14'", "PYTHON=python3.11"),
        ("error: command '/usr/bin/gcc' failed: No such file or directory", "build-essential"),
        ("something else", "Run this again"),
    ],
)
def test_pips_failures_are_told_with_their_cure(bootstrap: ModuleType, log: str, cure: str) -> None:
    assert cure in bootstrap.cure(log, "pip.log")


def test_with_nothing_to_do_it_does_and_says_nothing(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text("")
    bootstrap.write(str(tmp_path / ".venv" / ".stages" / "venv"), str(tmp_path))
    for stage in bootstrap.stages("run"):
        bootstrap.write(stage.stamp, stage.done)
    monkeypatch.setattr(bootstrap, "set_up", lambda goal: pytest.fail("it set up again"))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "run"])
    bootstrap.main()
    assert capsys.readouterr().out == ""


def test_a_checkout_that_was_moved_gets_an_environment_of_its_own(
    bootstrap: ModuleType, tmp_path: Path
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text("")
    bootstrap.write(str(tmp_path / ".venv" / ".stages" / "venv"), "/where/it/was")
    assert not bootstrap.venv_is_usable()


@pytest.mark.parametrize(("made", "worker"), [("models", "nlp"), ("detector", "vision")])
def test_default_models_that_cannot_be_made_do_not_end_the_set_up(
    bootstrap: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: str,
    worker: str,
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text("")
    bootstrap.write(str(tmp_path / ".venv" / ".stages" / "venv"), str(tmp_path))
    for stage in bootstrap.stages("run"):
        if stage.name != made:
            bootstrap.write(stage.stamp, stage.done)
    ran: list[list[str]] = []
    monkeypatch.setattr(
        bootstrap.subprocess, "call", lambda command, cwd: ran.append(command) or len(ran) == 1
    )
    bootstrap.set_up("run")
    assert ran[0][1:] == ["-m", f"callboard_{worker}.default_models"]
    assert "`make models` tries again" in capsys.readouterr().out
    assert [stage.name for stage in bootstrap.stages("run") if not stage.is_done()] == [made]
    bootstrap.set_up("run")
    assert all(stage.is_done() for stage in bootstrap.stages("run"))
