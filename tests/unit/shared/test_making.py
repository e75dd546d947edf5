"""Default models are made once, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callboard_shared.models.making import Default, is_made, make, make_missing


def a_model(folder: Path, threads: int) -> dict[str, Any]:
    (folder / "config.json").write_text("{}")
    return {"metrics": {"accuracy": 0.9}, "license": "CC0-1.0"}


def broken(folder: Path, threads: int) -> dict[str, Any]:
    (folder / "config.json").write_text("{")
    raise OSError("no network")


def test_a_model_is_made_with_a_card_and_anew_when_its_recipe_changes(tmp_path: Path) -> None:
    default = Default("sample", 1, a_model)
    assert not is_made(tmp_path, default)
    make(tmp_path, default, 1)
    card = json.loads((tmp_path / "sample" / "model_card.json").read_text())
    assert card["recipe"] == 1 and card["metrics"] == {"accuracy": 0.9} and card["details"]["made_in_s"] >= 0
    assert is_made(tmp_path, default) and not is_made(tmp_path, Default("sample", 2, a_model))


def test_its_files_can_be_read_by_others_however_they_were_written(tmp_path: Path) -> None:
    def private(folder: Path, threads: int) -> dict[str, Any]:
        (folder / "inner").mkdir(mode=0o700)
        (folder / "inner" / "weights").touch(mode=0o600)
        return a_model(folder, threads)

    make(tmp_path, Default("sample", 1, private), 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "sample").rglob("*")}
    assert modes == {"inner": 0o755, "weights": 0o644, "config.json": 0o644, "model_card.json": 0o644}


def test_one_that_cannot_be_made_leaves_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLBOARD_DEFAULT_MODELS_DIR", str(tmp_path))
    assert make_missing((Default("bad", 1, broken), Default("good", 1, a_model))) == 1
    said = capsys.readouterr()
    assert "bad: not made (OSError: no network)" in said.err and "good: made in" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bad.lock", ".good.lock", "good"]
    assert make_missing((Default("good", 1, a_model),)) == 0
    assert capsys.readouterr().out == "", "what is there is left alone"


def test_who_makes_one_model_does_not_wait_for_who_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLBOARD_DEFAULT_MODELS_DIR", str(tmp_path))

    def slow(folder: Path, threads: int) -> dict[str, Any]:
        """While it is made, another set-up makes a model of its own."""
        assert make_missing((Default("quick", 1, a_model),)) == 0
        return a_model(folder, threads)

    assert make_missing((Default("slow", 1, slow),)) == 0
    assert {"quick", "slow"} <= {path.name for path in tmp_path.iterdir()}
