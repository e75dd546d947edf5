"""Trained models over HTTP: listed, named in jobs, removed; and only by the key that trained them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard_gateway import known_models
from callboard_shared.files import FileRecord
from callboard_shared.ledger import filing, modelling
from callboard_shared.models import Part, Shelf, TrainedModel


async def train(
    gateway: Any, client: httpx.AsyncClient, name: str = "mine", task: str = "embed"
) -> TrainedModel:
    """What a training job of this client's key leaves behind."""
    job = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()
    uploaded = (await client.post("/v1/files", files={"file": ("model.safetensors", b"weights")})).json()
    record: FileRecord = await gateway.app.state.ledger.run(filing.get_file(uploaded["id"]))
    held = replace(record, held_by="a model")
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


def put_model(folder: Path, name: str, weights: str = "model.safetensors") -> None:
    """What an operator puts into his folder of models."""
    (folder / name).mkdir(parents=True)
    config = '{"model_type": "bert", "architectures": ["BertModel"]}'
    (folder / name / "config.json").write_text(config)
    (folder / name / weights).write_bytes(b"weights")


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
    first = (await client.post("/v1/jobs", json={"type": "system.echo", "input": {}})).json()
    waiting = {**embed("labels@1"), "after": [first["id"]]}
    assert (await client.post("/v1/jobs", json=waiting)).json()["code"] == "wrong-model"


async def test_everybodys_model_is_not_hidden_by_one_of_ones_own_that_does_something_else(
    gateway: Any, client: httpx.AsyncClient, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train(gateway, client, "both", task="classify")
    put_model(tmp_path / "models", "both")
    models = gateway.app.state.models
    monkeypatch.setattr(known_models, "LOOK_FOR_MISSING_S", 0)
    monkeypatch.setattr(models, "_shelf", Shelf(models_path=tmp_path / "models", made_path=tmp_path / "none"))
    assert (await client.post("/v1/jobs", json=embed("both"))).status_code == 202


async def test_one_bad_name_spoils_none_of_a_batch(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    await train(gateway, client)
    jobs = [embed("mine@1"), embed("nope@1"), embed("mine"), embed("all-MiniLM-L6-v2")]
    data = (await client.post("/v1/jobs:batch", json={"jobs": jobs})).json()["data"]
    assert [one.get("status") for one in data] == ["queued", 422, "queued", "queued"]


async def test_a_batch_of_unknown_names_asks_the_ledger_no_more_than_one_of_them(
    gateway: Any, client: httpx.AsyncClient, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train(gateway, client)
    trips: list[int] = []
    ledger, run_many = gateway.app.state.ledger, gateway.app.state.ledger.run_many

    async def counted(calls: Any) -> Any:
        task = asyncio.current_task()
        if task is None or task.get_name() != "known models":  # which looks by itself every few seconds
            trips.append(len(calls))
        return await run_many(calls)

    async def alone(call: Any) -> Any:
        return (await counted([call]))[0]

    monkeypatch.setattr(ledger, "run_many", counted)
    monkeypatch.setattr(ledger, "run", alone)
    await client.get("/v1/job-types")  # the key is known from now on
    trips.clear()
    jobs = [embed(f"nope@{n}") for n in range(998)] + [embed("mine"), embed("all-MiniLM-L6-v2")]
    data = (await client.post("/v1/jobs:batch", json={"jobs": jobs})).json()["data"]
    assert [one["status"] for one in data] == [422] * 998 + ["queued"] * 2
    assert all("mine@1" in one["errors"][0]["allowed"] for one in data[:998])
    assert trips == [999, 1, 1], "the names that are not everybody's, what the owner has, the jobs"


async def test_an_alias_names_the_same_model_in_jobs_and_in_the_list(
    gateway: Any, client: httpx.AsyncClient, worker: Any
) -> None:
    alias = "sentence-transformers/all-MiniLM-L6-v2"
    assert (await client.get(f"/v1/models/{alias}")).json()["name"] == "all-MiniLM-L6-v2"
    assert (await client.delete(f"/v1/models/{alias}")).json()["code"] == "not-deletable"
    for name in (alias, alias, "all-MiniLM-L6-v2"):
        assert (await client.post("/v1/jobs", json=embed(name))).status_code == 202
    nlp = type(worker)(worker.ledger, "nlp")
    # A worker computes a batch with the model that its first job names: by another name it comes alone.
    assert [len(await nlp.claim(most=10)), len(await nlp.claim(most=10))] == [2, 1]


async def test_a_model_that_the_operator_puts_there_is_found_by_the_next_submission(
    gateway: Any, client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = gateway.app.state.models
    monkeypatch.setattr(known_models, "LOOK_FOR_MISSING_S", 0.2)
    monkeypatch.setattr(models, "_shelf", Shelf(models_path=tmp_path / "models", made_path=tmp_path / "none"))
    await models.look()
    assert (await client.post("/v1/jobs", json=embed("late"))).status_code == 422
    put_model(tmp_path / "models", "late")
    put_model(tmp_path / "models", "pickled", weights="pytorch_model.bin")
    async with asyncio.timeout(5):
        while (await client.post("/v1/jobs", json=embed("late"))).status_code != 202:
            await asyncio.sleep(0.05)
    assert (await client.post("/v1/jobs", json=embed("pickled"))).json()["code"] == "unsupported-format"


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
    assert "model mine@1" in held.json()["detail"] and "DELETE /v1/models/mine@1" in held.json()["detail"]
    unversioned = await client.delete("/v1/models/mine")
    assert unversioned.status_code == 404 and "mine@1" in unversioned.json()["detail"]
    assert (await client.delete("/v1/models/mine@1")).status_code == 204
    assert (await client.get(content)).status_code == 404
    assert (await client.delete("/v1/models/mine@1")).status_code == 404
    assert not [path for path in files.files.store.folder.rglob("*") if path.is_file()]
    assert (await train(gateway, client)).full_name == "mine@2"


async def test_a_file_of_a_checkpoint_is_held_by_it_and_one_that_nothing_holds_any_more_may_go(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    for holder, status in (("a checkpoint", 409), ("a model", 204)):
        uploaded = (await client.post("/v1/files", files={"file": ("state", b"state")})).json()
        record: FileRecord = await gateway.app.state.ledger.run(filing.get_file(uploaded["id"]))
        await gateway.app.state.ledger.run(filing.put_file(replace(record, held_by=holder)))
        answer = await client.delete(f"/v1/files/{uploaded['id']}")
        assert answer.status_code == status, answer.text
    assert (await client.get(f"/v1/files/{uploaded['id']}")).status_code == 404


async def test_what_everybody_uses_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/models/all-MiniLM-L6-v2")
    assert (answer.status_code, answer.json()["code"]) == (409, "not-deletable")


async def test_reading_needs_one_scope_and_removing_another(
    gateway: Any, client: httpx.AsyncClient, files: Any
) -> None:
    async with await gateway.key("jobs:read") as reader:
        assert (await reader.get("/v1/models")).status_code == 200
        assert (await reader.delete("/v1/models/mine@1")).status_code == 403
