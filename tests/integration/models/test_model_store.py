"""The model store over a real Valkey and a real folder: whole or not at all, once, and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from callboard_shared.errors import FinalError
from callboard_shared.files import Files, LocalStore
from callboard_shared.ledger import Ledger, filing, modelling
from callboard_shared.models import Shelf, TrainedModel
from callboard_shared.models.finder import ModelFinder
from callboard_shared.models.store import ModelDamaged, ModelStore
from callboard_shared.settings import LedgerSettings

OWNER, OTHER = "key_mine", "key_theirs"


@pytest.fixture
def ledger(valkey_url: str) -> Ledger:
    return Ledger(LedgerSettings(redis_url=SecretStr(valkey_url)))


@pytest.fixture
def objects(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def store(ledger: Ledger, objects: LocalStore, tmp_path: Path) -> ModelStore:
    return ModelStore(ledger, Files(objects), tmp_path / "cache")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    (folder / "plots").mkdir(parents=True)
    (folder / "config.json").write_text('{"kind": "test"}')
    (folder / "model.safetensors").write_bytes(os.urandom(3_000_000))
    (folder / "plots" / "training.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return folder


def publish(
    store: ModelStore, folder: Path, job_id: str = "job_1", owner: str = OWNER, **more: Any
) -> TrainedModel:
    about = {
        "name": "reviews",
        "kind": "classifier",
        "task": "classify",
        "metrics": {"accuracy": 0.9},
        **more,
    }
    return store.publish(folder, owner=owner, job_id=job_id, **about)


def contents(objects: LocalStore) -> list[Path]:
    return [path for path in objects.folder.rglob("*") if path.is_file()]


def test_what_is_published_comes_back_file_by_file(store: ModelStore, trained: Path, ledger: Ledger) -> None:
    model = publish(store, trained)
    assert model.full_name == "reviews@1"
    assert [part.path for part in model.files] == ["config.json", "model.safetensors", "plots/training.png"]
    assert model.files[2].media_type == "image/png"
    here = store.folder(model)
    for path in ("config.json", "model.safetensors", "plots/training.png"):
        assert (here / path).read_bytes() == (trained / path).read_bytes()
    record = ledger.run(filing.get_file(model.files[1].id))
    assert (
        record is not None
        and record.owner == OWNER
        and record.held_by == "a model"
        and record.expires_ms is None
    )
    assert store.find(OWNER, "reviews@1") == store.find(OWNER, "reviews") == model


def test_versions_count_and_a_name_alone_is_the_newest(store: ModelStore, trained: Path) -> None:
    assert [publish(store, trained, f"job_{n}").full_name for n in (1, 2, 3)] == [
        "reviews@1",
        "reviews@2",
        "reviews@3",
    ]
    newest = store.find(OWNER, "reviews")
    assert newest is not None and newest.version == 3
    assert store.names(OWNER, ("classify",)) and store.names(OWNER, ("embed",)) == []
    assert publish(store, trained, owner=OTHER).full_name == "reviews@1"


def test_another_attempt_of_a_job_that_published_gets_the_same_model_and_leaves_nothing(
    store: ModelStore, trained: Path, objects: LocalStore
) -> None:
    first = publish(store, trained)
    before = sorted(contents(objects))
    assert publish(store, trained) == first
    assert sorted(contents(objects)) == before


def test_a_file_changed_in_the_cache_is_fetched_again_and_one_changed_in_the_store_is_refused(
    store: ModelStore, trained: Path, objects: LocalStore
) -> None:
    model = publish(store, trained)
    weights = store.folder(model) / "model.safetensors"
    weights.write_bytes(b"something else" + weights.read_bytes()[14:])
    assert (store.folder(model) / "model.safetensors").read_bytes() == (
        trained / "model.safetensors"
    ).read_bytes()
    stored = objects.path(model.files[1].id)
    stored.write_bytes(b"something else" + stored.read_bytes()[14:])
    weights.write_bytes(b"damaged as well")
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        store.folder(model)
    stored.unlink()
    with pytest.raises(ModelDamaged, match="gone"):
        store.folder(model)


def test_a_fetch_that_is_killed_leaves_nothing_that_is_used(
    store: ModelStore, trained: Path, objects: LocalStore, tmp_path: Path, valkey_url: str
) -> None:
    model = publish(store, trained)
    code = (
        "import os, signal, sys; from pathlib import Path; from pydantic import SecretStr\n"
        "from callboard_shared.files import Files, LocalStore; from callboard_shared.ledger import Ledger\n"
        "from callboard_shared.models.store import ModelStore; from callboard_shared.settings import LedgerSettings\n"
        "class Dying(Files):\n"
        "    def read(self, *args):\n"
        "        for piece in super().read(*args):\n"
        "            yield piece\n"
        "            if len(piece) > 100_000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store = ModelStore(Ledger(LedgerSettings(redis_url=SecretStr(sys.argv[1]))),"
        " Dying(LocalStore(Path(sys.argv[2]))), Path(sys.argv[3]))\n"
        "store.folder(store.find('key_mine', 'reviews'))\n"
    )
    cache = tmp_path / "cache"
    ended = subprocess.run(
        [sys.executable, "-c", code, valkey_url, str(objects.folder), str(cache)], check=False
    )
    assert ended.returncode == -9
    assert list((cache / "trained").glob(".unfinished-*/*"))
    assert (store.folder(model) / "model.safetensors").read_bytes() == (
        trained / "model.safetensors"
    ).read_bytes()


def test_workers_that_need_a_cold_model_at_once_fetch_it_once(
    ledger: Ledger, objects: LocalStore, trained: Path, tmp_path: Path
) -> None:
    reads: list[str] = []

    class Counting(Files):
        def read(self, file_id: str, *args: Any) -> Any:
            reads.append(file_id)
            return super().read(file_id, *args)

    store = ModelStore(ledger, Counting(objects), tmp_path / "cache")
    model = publish(store, trained)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(store.folder(model))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 5
    assert sorted(reads) == sorted(part.id for part in model.files)


def test_the_cache_stays_within_its_bytes_and_what_was_used_longest_ago_goes(
    ledger: Ledger, objects: LocalStore, trained: Path, tmp_path: Path
) -> None:
    store = ModelStore(ledger, Files(objects), tmp_path / "cache", cache_bytes=7_000_000)
    models = []
    for n in range(3):
        (trained / "model.safetensors").write_bytes(os.urandom(3_000_000))
        models.append(publish(store, trained, f"job_{n}"))
    first, second = store.folder(models[0]), store.folder(models[1])
    os.utime(second, (1, 1))
    third = store.folder(models[2])
    assert first.exists() and third.exists() and not second.exists()
    assert store.folder(models[1]).exists()


def test_a_checkpoint_comes_back_whole_and_the_newest_damaged_one_is_passed_over(
    store: ModelStore, objects: LocalStore, ledger: Ledger, tmp_path: Path
) -> None:
    def save(step: int, attempt: int = 1) -> bool:
        folder = tmp_path / f"step-{step}-{attempt}"
        folder.mkdir()
        (folder / "state").write_text(str(step))
        return store.save_checkpoint(folder, owner=OWNER, job_id="job_1", attempt=attempt, step=step)

    assert store.restore_checkpoint("job_1", tmp_path / "none") is None
    assert save(10) and save(20) and save(30)
    assert len(contents(objects)) == 2  # as many as are kept
    assert store.restore_checkpoint("job_1", tmp_path / "first") == 30
    assert (tmp_path / "first" / "state").read_text() == "30"
    newest = ledger.run(modelling.checkpoints("job_1"))[0]
    objects.path(newest.files[0].id).write_text("cut off")
    assert store.restore_checkpoint("job_1", tmp_path / "second") == 20
    assert save(25, attempt=2)
    assert not save(40, attempt=1), "an attempt that was given up must not overwrite its successor's"
    assert store.restore_checkpoint("job_1", tmp_path / "third") == 25
    store.forget_checkpoints("job_1")
    assert store.restore_checkpoint("job_1", tmp_path / "fourth") is None
    assert contents(objects) == []


def test_a_job_finds_what_everybody_has_first_then_its_owners_and_never_anothers(
    store: ModelStore, trained: Path, tmp_path: Path
) -> None:
    finder = ModelFinder(
        Shelf(models_path=tmp_path / "none", hub_models=(), made_path=tmp_path / "none"), lambda: store
    )
    publish(store, trained)
    found = finder.find(OWNER, "reviews", ("classify",))
    assert (found.name, found.owner, found.task) == ("reviews@1", OWNER, "classify")
    assert found.size > 3_000_000 and found.folder is not None and (found.folder() / "config.json").exists()
    shelf = finder.find(OWNER, "all-MiniLM-L6-v2", ("embed",))
    assert shelf.owner is None
    for owner, name, tasks in (
        (OTHER, "reviews@1", ("classify",)),
        (OWNER, "reviews@1", ("embed",)),
        (OWNER, "nope", ("classify",)),
    ):
        with pytest.raises(FinalError) as refused:
            finder.find(owner, name, tasks)  # type: ignore[arg-type]
        assert refused.value.problem_code == "unknown-model"
    with pytest.raises(FinalError, match="reviews@1"):
        finder.find(OWNER, "reviewz", ("classify",))
