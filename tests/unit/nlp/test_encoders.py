"""The few models that a process holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callboard_nlp.engines import Encoder, Encoders
from callboard_shared.errors import FinalError
from callboard_shared.models import Shelf


class Stub:
    engine = "stub"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "bert"}))
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    return tmp_path


def make(root: Path, opened: list[str]) -> Encoders:
    def open_folder(folder: Path) -> Encoder:
        opened.append(folder.name)
        if folder.name == "c":
            raise OSError("header too small")
        return Stub()  # type: ignore[return-value]

    return Encoders(Shelf(models_path=root, hub_models=()), open_folder, keep=2)


def test_a_model_is_opened_once_and_the_least_used_makes_room(root: Path) -> None:
    opened: list[str] = []
    encoders = make(root, opened)
    for name in ("a", "b", "a", "all-MiniLM-L6-v2", "a", "b"):
        assert encoders.get(name)[0] == name
    assert opened == ["a", "b", "model", "b"]


def test_a_torn_model_is_a_final_error_that_names_it(root: Path) -> None:
    with pytest.raises(FinalError, match="Model c could not be loaded: header too small") as failed:
        make(root, []).get("c")
    assert failed.value.problem_code == "model-not-loadable"


def test_an_unknown_model_is_a_final_error_naming_those_there_are(root: Path) -> None:
    with pytest.raises(FinalError, match="a, all-MiniLM-L6-v2, b, c") as failed:
        make(root, []).get("nope")
    assert failed.value.problem_code == "unknown-model"
