"""Which models everybody may name is judged from memory; the disk is looked at beside the loop, and rarely."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from callboard_gateway import known_models
from callboard_gateway.known_models import KnownModels
from callboard_shared.jobs import EMBED, SIMILARITY
from callboard_shared.ledger.records import Named
from callboard_shared.models import ModelRef, Shelf

PACK, ALIAS = "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"


class CountedShelf(Shelf):
    """Counts the looks at the disk; each waits until ``free`` is set."""

    looks = 0
    free: threading.Event

    def refs(self, task: Any = None, *, anew: bool = False) -> dict[str, ModelRef]:
        if anew:
            self.looks += 1
            assert self.free.wait(10)
        return super().refs(task, anew=anew)


@pytest.fixture
def shelf(tmp_path: Path) -> CountedShelf:
    shelf = CountedShelf(models_path=tmp_path, hub_models=("org/hub",), made_path=tmp_path / ".made")
    shelf.free = threading.Event()
    shelf.free.set()
    return shelf


def put_model(root: Path, name: str, weights: str = "model.safetensors") -> None:
    (root / name).mkdir(parents=True)
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    (root / name / "config.json").write_text(json.dumps(config))
    (root / name / weights).write_bytes(b"0")


def known(shelf: Shelf) -> KnownModels:
    return KnownModels(None, shelf)  # type: ignore[arg-type]


async def test_a_name_is_judged_without_a_look_at_the_disk(shelf: CountedShelf, tmp_path: Path) -> None:
    models = known(shelf)
    await models.look_for_missing()
    put_model(tmp_path, "late")
    for name, expected in (
        (PACK, True),
        (ALIAS, True),
        ("org/hub", True),
        ("late", False),
        ("mine@1", False),
    ):
        assert models.knows(EMBED, "model", name) is expected
        assert models.refusal(Named("model", "input.model", name, ("embed",))) is None
    assert shelf.looks == 1


async def test_the_default_is_known_before_anything_was_looked_at(shelf: CountedShelf) -> None:
    assert known(shelf).knows(SIMILARITY, "model", PACK)
    assert shelf.looks == 0


async def test_the_loop_goes_on_while_the_disk_is_looked_at_and_many_share_one_look(
    shelf: CountedShelf, tmp_path: Path
) -> None:
    models = known(shelf)
    shelf.free.clear()
    put_model(tmp_path, "late")
    asking = [asyncio.create_task(models.look_for_missing()) for _ in range(100)]
    _, waiting = await asyncio.wait(asking, timeout=0.05)
    assert len(waiting) == 100
    asking[0].cancel()  # its caller hung up
    shelf.free.set()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in done] == [asyncio.CancelledError, *[type(None)] * 99]
    assert models.knows(EMBED, "model", "late")
    assert shelf.looks == 1


async def test_a_flood_of_unknown_names_looks_once_in_an_interval(
    shelf: CountedShelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = known(shelf)
    for _ in range(50):
        await models.look_for_missing()
    assert shelf.looks == 1
    put_model(tmp_path, "late")
    put_model(tmp_path, "pickled", weights="pytorch_model.bin")
    monkeypatch.setattr(known_models, "LOOK_FOR_MISSING_S", 0)
    await models.look_for_missing()
    assert shelf.looks == 2
    assert models.knows(EMBED, "model", "late")
    refused = models.refusal(Named("model", "input.model", "pickled", ("embed",)))
    assert refused is not None and refused.problem_code == "unsupported-format"
    assert refused.errors is not None and refused.errors[0]["field"] == "input.model"


async def test_what_workers_announce_is_known_by_its_alias_too_unless_it_does_something_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard_shared.models.shelf._PACKS", ())  # a gateway's image holds no pack
    models = known(Shelf(models_path=tmp_path, hub_models=(), made_path=tmp_path / ".made"))
    put_model(tmp_path, "here")
    models._announced["nlp"] = frozenset({PACK, "here"})
    await models.look_for_missing()
    assert models.has("nlp", ("embed",), ALIAS) and models.has("nlp", ("embed",), "here")
    assert not models.has("nlp-train", ("embed",), ALIAS)
    assert not models.has("nlp", ("classify",), "here")
