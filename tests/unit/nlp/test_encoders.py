"""The models that a process holds: found by name, opened once, within their bytes."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from callboard_shared.errors import FinalError
from callboard_shared.models import Shelf
from callboard_shared.models.finder import ModelFinder
from callboard_shared.models.memory import LoadedModels
from callboard_shared.worker.models import Models


@dataclass
class FakeContext:
    said: list[str] = field(default_factory=list)

    def progress(self, fraction: float, message: str) -> None:
        self.said.append(message)


@dataclass
class FakeJob:
    owner: str = "key_a"
    context: FakeContext = field(default_factory=FakeContext)


class NoStore:
    """Nothing was trained here."""

    def find(self, owner: str, name: str) -> None:
        return None

    def names(self, owner: str, tasks: Any) -> list[str]:
        return []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "bert"}))
        (tmp_path / name / "model.safetensors").write_bytes(b"0" * 40)
    return tmp_path


def make(root: Path, opened: list[str], budget: int = 100) -> Models:
    def open_folder(folder: Path) -> str:
        opened.append(folder.name)
        if folder.name == "c":
            raise OSError("header too small")
        return f"engine of {folder.name}"

    shelf = Shelf(models_path=root, hub_models=(), made_path=root / ".made")
    finder = ModelFinder(shelf, NoStore)  # type: ignore[arg-type]
    return Models(finder, {"embed": open_folder}, LoadedModels(budget), fetch=Path)


def get(models: Models, name: str, *jobs: FakeJob) -> Any:
    return models.get(jobs or (FakeJob(),), name, "embed")  # type: ignore[arg-type]


def test_a_model_is_opened_once_and_the_least_used_makes_room(root: Path) -> None:
    opened: list[str] = []
    models = make(root, opened)
    for name in ("a", "b", "a", "all-MiniLM-L6-v2", "a"):
        assert get(models, name).name == name
    assert opened == ["a", "b", "model", "a"], "the pack's 90 MB leave no room for the others"


def test_a_cold_load_is_told_to_every_job_that_waits_for_it_and_a_warm_one_to_none(root: Path) -> None:
    models, jobs = make(root, []), (FakeJob(), FakeJob())
    get(models, "a", *jobs)
    get(models, "a", *jobs)
    assert [job.context.said for job in jobs] == [["loading model a"]] * 2


def test_threads_that_need_a_cold_model_at_once_load_it_once() -> None:
    loads: list[int] = []
    begun, go_on = threading.Event(), threading.Event()
    loaded = LoadedModels(100)

    def load() -> str:
        loads.append(1)
        begun.set()
        assert go_on.wait(10)
        return "model"

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(loaded.get("a", 10, load))) for _ in range(4)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert found == ["model"] * 4 and loads == [1]


def test_a_load_that_fails_is_tried_again_by_the_next(root: Path) -> None:
    opened: list[str] = []
    models = make(root, opened)
    for _ in range(2):
        with pytest.raises(FinalError, match="Model c could not be loaded: header too small") as failed:
            get(models, "c")
        assert failed.value.problem_code == "model-not-loadable"
    assert opened == ["c", "c"]


def test_an_unknown_model_is_a_final_error_naming_those_there_are(root: Path) -> None:
    with pytest.raises(FinalError, match="a, all-MiniLM-L6-v2, b, c") as failed:
        get(make(root, []), "nope")
    assert failed.value.problem_code == "unknown-model"
