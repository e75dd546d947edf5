"""Trained models over HTTP: listed, named in jobs, removed; and only by the key that trained them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard_shared.files import FileRecord
from callboard_shared.ledger import filing, modelling
from callboard_shared.models import Part, TrainedModel


async def train(
    gateway: Any, client: httpx.AsyncClient, name: str = "mine", task: str = "embed"
) -> TrainedModel:
    """What a training job of this client's key leaves behind."""
    job = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()
    uploaded = (await client.post("/v1/files", files={"file": ("model.safetensors", b"weights")})).json()
    record: FileRecord = await gateway.app.state.ledger.run(filing.get_file(uploaded["id"]))
    held = FileRecord(**{**_fields(record), "held_by": "a model"})
    parts = (Part("model.safetensors", held.id, held.bytes, held.sha256),)
    model = TrainedModel(
        record.owner,
        name,
        "encoder",
        task,
        job["id"],
        record.created_ms,
        parts,
        {"accuracy": 0.5},  # type: ignore[arg-type]
    )
    published, _ = await gateway.app.state.ledger.run(modelling.publish_model(model, [held]))
    return published  # type: ignore[no-any-return]


def _fields(record: FileRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FileRecord.__dataclass_fields__}


@pytest.fixture
def files(gateway: Any, tmp_path: Path) -> Any:
    from callboard_shared.files import AsyncFiles, LocalStore

    gateway.app.state.files = AsyncFiles(LocalStore(tmp_path / "files"))
    return gateway.app.state.files


def embed(model: str) -> dict[str, Any]:
    return {"type": "nlp.embed", "input": {"texts": ["a"], "model": model}}


async def test_a_trained_model_is_listed_and_shown_with_its_job_metrics_and_files(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    model = await train(gateway, client)
    listed = {one["name"]: one for one in (await client.get("/v1/models")).json()["data"]}
    assert list(listed) == sorted(listed)
    shown = listed["mine@1"]
    assert (shown["source"], shown["kind"], shown["task"]) == ("trained", "encoder", "embed")
    assert shown["job_id"] == model.job_id and shown["metrics"] == {"accuracy": 0.5}
    assert shown["files"][0]["path"] == "model.safetensors"
    assert (await client.get(shown["files"][0]["url"])).content == b"weights"
    assert (await client.get("/v1/models/mine@1")).json() == shown
    assert (await client.get("/v1/models/mine")).json()["name"] == "mine@1"
    assert (await client.get("/v1/models/all-MiniLM-L6-v2")).json()["source"] == "offline-pack"
    assert (await client.get("/v1/models/org/nope")).status_code == 404


async def test_a_job_may_name_ones_own_model_and_shares_batches_with_nobody_elses(
    gateway: Any, client: httpx.AsyncClient, worker: Any, files: Any
) -> None:
    async with await gateway.key("jobs:read", "jobs:write") as other:
        for key in (client, other):
            await train(gateway, key)
            assert (await key.post("/v1/jobs", json=embed("mine@1"))).status_code == 202
            assert (await key.post("/v1/jobs", json=embed("all-MiniLM-L6-v2"))).status_code == 202
    nlp = type(worker)(worker.ledger, "nlp")
    sizes = [len(await nlp.claim(most=10)) for _ in range(4)]
    assert sorted(sizes) == [0, 1, 1, 2], "only the jobs with everybody's model came together"


async def test_anothers_model_is_not_there(gateway: Any, client: httpx.AsyncClient, files: Any) -> None:
    await train(gateway, client)
    async with await gateway.key("jobs:read", "jobs:write") as other:
        refused = await other.post("/v1/jobs", json=embed("mine@1"))
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown-model")
        assert "mine@1" not in str(refused.json()["errors"][0]["allowed"])
        assert (await other.get("/v1/models/mine@1")).status_code == 404
        assert (await other.delete("/v1/models/mine@1")).status_code == 404
        assert all(one["name"] != "mine@1" for one in (await other.get("/v1/models")).json()["data"])
    assert (await client.get("/v1/models/mine@1")).status_code == 200


async def test_an_unknown_model_is_refused_with_a_guess_among_ones_own(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    await train(gateway, client, "reviews")
    problem = (await client.post("/v1/jobs", json=embed("reviews@2"))).json()
    assert (problem["status"], problem["code"]) == (422, "unknown-model")
    assert "Did you mean 'reviews@1'?" in problem["detail"]
    assert problem["errors"][0]["field"] == "input.model"
    assert (
        "reviews@1" in problem["errors"][0]["allowed"]
        and "all-MiniLM-L6-v2" in problem["errors"][0]["allowed"]
    )


async def test_a_model_that_cannot_do_it_is_refused_by_what_it_is(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    await train(gateway, client, "labels", task="classify")
    problem = (await client.post("/v1/jobs", json=embed("labels@1"))).json()
    assert (problem["status"], problem["code"]) == (422, "wrong-model")


async def test_one_bad_name_spoils_none_of_a_batch(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    await train(gateway, client)
    jobs = [embed("mine@1"), embed("nope@1"), embed("mine"), embed("all-MiniLM-L6-v2")]
    data = (await client.post("/v1/jobs:batch", json={"jobs": jobs})).json()["data"]
    assert [one.get("status") for one in data] == ["queued", 422, "queued", "queued"]


async def test_a_job_that_waits_for_another_may_name_the_model_that_this_will_make(
    client: httpx.AsyncClient,
) -> None:
    first = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()
    answer = await client.post("/v1/jobs", json={**embed("coming@1"), "after": [first["id"]]})
    assert answer.status_code == 202, answer.text


async def test_a_model_is_removed_with_its_files_and_its_version_is_never_given_again(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    model = await train(gateway, client)
    content = f"/v1/files/{model.files[0].id}"
    held = await client.delete(content)
    assert (held.status_code, held.json()["code"]) == (409, "held")
    unversioned = await client.delete("/v1/models/mine")
    assert unversioned.status_code == 404 and "mine@1" in unversioned.json()["detail"]
    assert (await client.delete("/v1/models/mine@1")).status_code == 204
    assert (await client.get(content)).status_code == 404
    assert (await client.delete("/v1/models/mine@1")).status_code == 404
    assert not [path for path in files.files.store.folder.rglob("*") if path.is_file()]
    assert (await train(gateway, client)).full_name == "mine@2"


async def test_what_everybody_uses_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/models/all-MiniLM-L6-v2")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-deletable")


async def test_reading_needs_one_scope_and_removing_another(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    async with await gateway.key("jobs:read") as reader:
        assert (await reader.get("/v1/models")).status_code == 200
        assert (await reader.delete("/v1/models/mine@1")).status_code == 403
