from __future__ import annotations

from typing import Any

import pytest

from callboard_client import AsyncCallboard, Callboard, Conflict, Model, NotFound

TRAINED = {
    "name": "reviews@2", "kind": "classifier", "task": "classify", "source": "trained", "path": None, "bytes": 1500,
    "license": None, "metrics": {"accuracy": 0.9}, "loaded": False, "created_at": "2026-11-22T21:30:00.000Z",
    "job_id": "job_1", "details": {"labels": ["a", "b"]}, "from_the_future": 1,
    "files": [{"path": "model.safetensors", "file_id": "file_1", "bytes": 1500}],
}  # fmt: skip
PACK = {"name": "mini", "kind": "encoder", "task": "embed", "source": "offline-pack"}
LIST = {"data": [PACK, TRAINED], "next_cursor": None}
ALIAS = "org/mini"


@pytest.fixture
def models(gateway: Any, make: Any) -> None:
    gateway.on("GET", "/v1/models", make.answer(200, LIST))
    gateway.on("GET", "/v1/models/org%2Fmini", make.answer(200, PACK))
    gateway.on("GET", "/v1/models/reviews", make.answer(200, TRAINED))
    gateway.on("DELETE", "/v1/models/reviews%402", make.answer(204))
    gateway.on("DELETE", "/v1/models/mini", make.answer(409, make.problem(409, "not-deletable")))


@pytest.mark.usefixtures("models")
def test_models_are_listed_found_by_any_of_their_names_and_deleted(callboard: Callboard) -> None:
    pack, trained = callboard.models.list()
    assert callboard.models.get(ALIAS) == pack and callboard.models.get("reviews") == trained
    assert (trained.name, trained.task, trained.metrics) == ("reviews@2", "classify", {"accuracy": 0.9})
    assert trained.created_at is not None and trained.files[0]["file_id"] == "file_1"
    callboard.models.delete(trained)
    with pytest.raises(Conflict, match="not-deletable"):
        callboard.models.delete("mini")
    with pytest.raises(NotFound):
        callboard.models.get("nope")


@pytest.mark.usefixtures("models")
async def test_the_async_client_does_so_too(gateway: Any, async_callboard: AsyncCallboard) -> None:
    found = [model async for model in async_callboard.models.list()]
    assert found == [Model.model_validate(PACK), Model.model_validate(TRAINED)]
    assert await async_callboard.models.get("reviews") == found[1]
    await async_callboard.models.delete(found[1])
    assert (gateway.seen[-1].method, gateway.seen[-1].path) == ("DELETE", "/v1/models/reviews%402")
