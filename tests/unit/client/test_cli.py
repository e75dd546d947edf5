from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callboard_client.cli import main

SCHEMA = {
    "properties": {
        "texts": {"type": "array", "items": {"type": "string"}, "description": "Some texts."},
        "normalize": {"type": "boolean", "default": True},
        "pooling": {"enum": ["mean", "cls"], "type": "string", "default": "mean"},
    },
    "required": ["texts"],
}
TYPES = {
    "data": [
        {"name": "nlp.embed", "queue": "nlp", "summary": "Turn texts into vectors.", "input_schema": SCHEMA,
         "example": {"texts": ["it's"]}},
        {"name": "see", "queue": "vision", "summary": "Look.", "input_schema": {
            "properties": {
                "images": {"type": "array", "items": {"$ref": "#/$defs/FileRef"}},
                "classes": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}},
            "$defs": {"FileRef": {"type": "object", "properties": {"file_id": {"type": "string"}, "url": {}}}}}},
        {"name": "learn", "queue": "nlp-train", "summary": "Learn.",
         "example": {"dataset": {"base64": "UEsDBAo="}, "epochs": 1}, "input_schema": {
            "properties": {
                "dataset": {"oneOf": [{"type": "array"}, {"$ref": "#/$defs/Upload"}]},
                "eval_dataset": {"anyOf": [{"$ref": "#/$defs/Upload"}, {"type": "null"}]}},
            "required": ["dataset"],
            "$defs": {"Upload": {"type": "object", "properties": {"file_id": {"type": "string"}}}}}},
    ],
    "next_cursor": None,
}  # fmt: skip

Command = Callable[..., int]


@pytest.fixture
def callboard_command(gateway: Any, make: Any, no_environment: None) -> Command:
    gateway.on("GET", "/v1/job-types", make.answer(200, TYPES))

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--url", gateway.url, "--key", make.key, *arguments])
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


def ends(gateway: Any, make: Any, status: str, **more: Any) -> None:
    """The gateway takes a job, and its stream tells how it ended."""
    frames = b'id: 1\nevent: log\ndata: {"level": "info", "message": "[warming] up"}\n\n'
    done = json.dumps(make.job(status, **more))
    frames += f"id: 2\nevent: done\ndata: {done}\n\n".encode()
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job()))
    gateway.on("GET", "/v1/jobs/job_1/events", make.answer(200, frames))


def submitted(gateway: Any) -> Any:
    return next(seen.json for seen in gateway.seen if seen.path == "/v1/jobs")


def test_run_turns_options_into_the_input_and_prints_the_output(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [0.123456] * 384
    ends(
        gateway,
        make,
        "succeeded",
        output={"embeddings": [numbers, numbers], "model": "m"},
        usage={"run_ms": 12},
    )
    assert callboard_command("run", "nlp.embed", "--texts", "a", "--text", "--b", "--no-normalize") == 0
    assert submitted(gateway)["input"] == {"texts": ["a", "--b"], "normalize": False}
    out, err = capsys.readouterr()
    assert "[0.1235, 0.1235, 0.1235, 0.1235, … 384 numbers]" in out
    assert "[warming] up" in err
    assert "ran 12 ms" in err


def test_run_with_json_prints_the_output_and_nothing_else(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(gateway, make, "succeeded", output={"value": "é"})
    assert callboard_command("run", "nlp.embed", "--input", '{"texts": ["a"]}', "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"value": "é"}
    assert err == ""


def test_a_job_that_fails_ends_with_code_1_and_its_reason(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(gateway, make, "failed", error=make.problem(0, "worker_lost", "the worker died"))
    assert callboard_command("run", "nlp.embed", "--text", "a") == 1
    assert "ended failed: the worker died [worker_lost]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nlp.embd", "--text", "a"], "Did you mean nlp.embed? There are: nlp.embed, see, learn."),
        (["nlp.embed", "--txts", "a"], "Did you mean --texts? It takes: --texts, --normalize, --pooling."),
        (["nlp.embed", "a"], "'a' stands alone"),
        (["nlp.embed"], "needs --texts"),
        (["nlp.embed", "--texts"], "--texts needs a value"),
        (["nlp.embed", "--normalize=maybe"], "takes true or false"),
        (["nlp.embed", "--input", "{"], "not JSON"),
        (["nlp.embed", "--input", "[1]"], "takes a JSON object"),
        (["nlp.embed", "--input", "@no-such-file"], "no-such-file cannot be read"),
        (["see", "--images", "no-such.jpg"], "no-such.jpg cannot be read"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2_and_says_how_it_would_be_right(
    callboard_command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert callboard_command("run", *arguments) == 2
    assert words in capsys.readouterr().err


def test_local_files_are_uploaded_and_urls_and_ids_passed_on(
    gateway: Any, make: Any, callboard_command: Command, tmp_path: Path
) -> None:
    ends(gateway, make, "succeeded", output=None)
    gateway.on("POST", "/v1/files", make.answer(201, {"id": "file_7"}))
    (tmp_path / "a.jpg").write_bytes(b"jpg")
    given = [
        "--image",
        "a.jpg",
        "--image",
        "https://example.org/b.jpg",
        "--images",
        "file_3",
        "--file",
        "a.jpg",
    ]
    assert callboard_command("run", "see", *given) == 0
    assert submitted(gateway)["input"]["images"] == [
        {"file_id": "file_7"}, {"url": "https://example.org/b.jpg"}, {"file_id": "file_3"}, {"file_id": "file_7"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [("--dataset", "reviews.csv"), ("--file", "reviews.csv"), ("--file", "dataset=reviews.csv")],
)
def test_a_data_set_is_uploaded_from_its_path(
    gateway: Any, make: Any, callboard_command: Command, tmp_path: Path, given: tuple[str, str]
) -> None:
    ends(gateway, make, "succeeded", output=None)
    gateway.on("POST", "/v1/files", make.answer(201, {"id": "file_7"}))
    (tmp_path / "reviews.csv").write_bytes(b"text,label")
    assert callboard_command("run", "learn", *given, "--eval-dataset", "file_2") == 0
    assert submitted(gateway)["input"] == {
        "dataset": {"file_id": "file_7"},
        "eval_dataset": {"file_id": "file_2"},
    }
    (upload,) = (seen for seen in gateway.seen if seen.path == "/v1/files")
    assert b'filename="reviews.csv"' in upload.body and b"text,label" in upload.body


def test_detach_prints_the_id_and_does_not_wait(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on("POST", "/v1/jobs", make.answer(202, make.job()))
    assert callboard_command("run", "nlp.embed", "--text", "a", "--detach", "--metadata", "order=17") == 0
    assert capsys.readouterr().out == "job_1\n"
    assert submitted(gateway)["metadata"] == {"order": "17"}


def test_files_of_the_output_are_saved(
    gateway: Any, make: Any, callboard_command: Command, tmp_path: Path
) -> None:
    ends(gateway, make, "succeeded", output={"plots": [{"file_id": "file_1"}]})
    gateway.on("GET", "/v1/files/file_1", make.answer(200, {"id": "file_1", "name": "../plot.png"}))
    gateway.on("GET", "/v1/files/file_1/content", make.answer(200, b"png"))
    assert callboard_command("run", "nlp.embed", "--text", "a", "--save", "out") == 0
    assert (tmp_path / "out" / "plot.png").read_bytes() == b"png"


def test_help_of_a_type_shows_its_fields_and_an_example_to_paste(
    callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callboard_command("run", "nlp.embed", "--help") == 0
    out = capsys.readouterr().out
    assert "--text " in out
    assert "mean|cls" in out
    assert "--normalize / --no-normalize" in out
    assert """callboard run nlp.embed --input '{"texts": ["it'\\''s"]}'""" in out


def test_help_shows_a_path_where_an_example_brings_the_bytes_of_a_file(
    callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callboard_command("run", "learn", "--help") == 0
    out = capsys.readouterr().out
    assert """callboard run learn --dataset PATH --input '{"epochs": 1}'""" in out
    assert "UEsDBAo" not in out


def test_a_list_is_given_in_the_singular_also_where_that_is_no_s_less(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(gateway, make, "succeeded", output=None)
    assert callboard_command("run", "see", "--class", "bus", "--class", "7") == 0
    assert submitted(gateway)["input"] == {"classes": ["bus", 7]}


def test_jobs_are_listed_without_folding_their_ids(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on(
        "GET", "/v1/jobs", make.answer(200, {"data": [make.job(usage={"run_ms": 5})], "next_cursor": None})
    )
    assert callboard_command("jobs", "list", "--status", "queued") == 0
    assert "job_1  system.echo  queued" in capsys.readouterr().out
    assert gateway.seen[-1].query["status"] == "queued"
    assert callboard_command("jobs", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "job_1"


def test_a_refusal_ends_with_code_1_and_the_gateways_sentence(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on(
        "POST", "/v1/jobs/job_1/cancel", make.answer(409, make.problem(409, "conflict", "it has ended"))
    )
    assert callboard_command("jobs", "cancel", "job_1") == 1
    assert capsys.readouterr().err == "it has ended [conflict]\n"


def test_doctor_finds_a_queue_without_a_worker_and_says_what_to_do(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    queues = [{"name": "nlp", "workers": 1}, {"name": "vision", "ready": 4}, {"name": "tts"}]
    gateway.on("GET", "/readyz", make.answer(200, {"status": "ready", "ledger": "ok", "queues": queues}))
    gateway.on("GET", "/v1/queues", make.answer(200, {"data": queues}))
    gateway.on("GET", "/v1/workers", make.answer(200, {"data": []}))
    assert callboard_command("doctor") == 1
    out = capsys.readouterr().out
    assert "✓ queue nlp" in out
    assert "✗ queue vision  no worker is online, 4 jobs wait" in out
    assert "→ Start a worker for it" in out
    assert "tts" not in out


def test_doctor_tells_an_absent_gateway_from_a_bad_key_and_an_absent_ledger(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on(
        "GET",
        "/readyz",
        make.answer(503, make.problem(503, "ledger-unavailable", "away"), {"retry-after": "60"}),
    )
    assert callboard_command("doctor") == 1
    assert "✗ ledger  away" in capsys.readouterr().out
    gateway.on("GET", "/readyz", make.answer(200, {"status": "ready"}))
    gateway.on("GET", "/v1/job-types", make.answer(401, make.problem(401, "unauthorized", "no")))
    assert callboard_command("doctor") == 1
    assert "✗ key  no" in capsys.readouterr().out


MODELS = {
    "data": [
        {"name": "mini", "task": "embed", "source": "offline-pack", "bytes": 91_000_000, "loaded": True},
        {"name": "reviews@1", "task": "classify", "source": "trained", "bytes": 1500, "metrics": {"accuracy": 0.9},
         "files": [{"path": "model.safetensors", "file_id": "file_1", "bytes": 1500}]},
    ],
    "next_cursor": None,
}  # fmt: skip


def test_models_are_listed_and_shown_with_their_files(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on("GET", "/v1/models", make.answer(200, MODELS))
    gateway.on("GET", "/v1/models/reviews%401", make.answer(200, MODELS["data"][1]))
    assert callboard_command("models", "list") == 0
    out = capsys.readouterr().out
    assert "mini" in out and "91.0 MB" in out and "reviews@1  classify  trained" in out and "1.5 kB" in out
    assert callboard_command("models", "list", "--task", "classify", "--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["reviews@1"]
    assert callboard_command("models", "show", "reviews@1") == 0
    out = capsys.readouterr().out
    assert '{"accuracy": 0.9}' in out and "model.safetensors  1.5 kB  file_1" in out
    assert callboard_command("models", "show", "reviews@1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["file_id"] == "file_1"


def test_a_model_is_deleted_and_one_that_was_not_trained_here_is_not(
    gateway: Any, make: Any, callboard_command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.on("DELETE", "/v1/models/reviews%401", make.answer(204))
    gateway.on(
        "DELETE", "/v1/models/mini", make.answer(409, make.problem(409, "not-deletable", "it belongs to all"))
    )
    assert callboard_command("models", "delete", "reviews@1") == 0
    assert capsys.readouterr().out == "reviews@1 deleted\n"
    assert callboard_command("models", "delete", "mini") == 1
    assert capsys.readouterr().err == "it belongs to all [not-deletable]\n"
