"""Everything the first page tells one to type is typed here, against a running stack, in both languages.

`make` commands have tests of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(name: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / name).read_text("utf-8"))


@pytest.fixture
def folder(stack: Any, tmp_path: Path) -> Path:
    """A checkout as the page assumes it: `.venv`, and the `.callboard` of a stack that runs."""
    (tmp_path / ".callboard").symlink_to(stack.home)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run(folder: Path, command: list[str]) -> str:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    done = subprocess.run(
        command, cwd=folder, env=ours, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shapes(value: Any) -> Any:
    """An answer without what differs from run to run: names, and texts by their kind."""
    if isinstance(value, dict):
        return {name: shapes(inner) for name, inner in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_request_is_answered_as_the_page_shows(page: str, stack: Any, folder: Path) -> None:
    found = blocks(page)
    at = next(i for i, (kind, text) in enumerate(found) if kind == "sh" and text.startswith("curl"))
    assert found[at + 1][0] == "json"
    shown = json.loads(found[at + 1][1])
    answer = json.loads(run(folder, ["bash", "-c", found[at][1].replace("http://127.0.0.1:8000", stack.url)]))
    assert shapes(answer) == shapes(shown)
    same = ("type", "queue", "status", "input", "attempt", "error")
    assert {name: answer[name] for name in same} == {name: shown[name] for name in same}
    assert answer["output"]["ranking"] == shown["output"]["ranking"]
    assert answer["output"]["scores"] == pytest.approx(shown["output"]["scores"], abs=0.01)


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_python_of_the_page_runs(page: str, folder: Path) -> None:
    programs = [text for kind, text in blocks(page) if kind == "python"]
    assert programs
    for program in programs:
        said = run(folder, [sys.executable, "-c", program])
        assert "384" in said
        assert "done" in said


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_commands_of_the_page_run(page: str, folder: Path) -> None:
    lines = [
        line
        for kind, text in blocks(page)
        if kind == "sh" and not text.startswith("curl")
        for line in text.splitlines()
        if line.strip() and not line.startswith("make ")
    ]
    assert len(lines) >= 4
    for line in lines:
        run(folder, ["bash", "-c", line])


def test_the_examples_of_the_events_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/events.md") if kind == "python")
    *one, all_jobs = run(folder, [sys.executable, "-c", program]).splitlines()
    assert one == ["status queued", "status running", "status succeeded", "done succeeded"]
    assert re.fullmatch(r"ended: job_\w+ succeeded", all_jobs)


def test_the_examples_of_the_files_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/files.md") if kind == "python")
    first, *content, large, uploaded, inline = run(folder, [sys.executable, "-c", program]).splitlines()
    assert re.fullmatch(r"text/csv 18 [0-9a-f]{12}", first)
    assert content[:2] == ["text,label", "fine,1"]
    assert large == "70000000"
    assert [line.split("@")[0] for line in (uploaded, inline)] == ["given", "given"]
    assert uploaded.endswith(" 6 words") and inline.endswith(" 6 words")
    assert (folder / "copy.csv").read_text() == "text,label\nfine,1\n"


def test_the_examples_of_the_nlp_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/nlp.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program])
    assert "story@1 8 words" in said
    assert "days@1 " in said and "['월요일, 금요일', '일요일, 화요일']" in said


@pytest.mark.parametrize("page", ["docs/polling.md", "docs/polling.ko.md"])
def test_the_examples_of_the_polling_page_run(page: str, stack: Any, folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks(page) if kind == "python")
    assert run(folder, [sys.executable, "-c", program]).splitlines() == [
        "queued system", "succeeded 17 17", "at once"
    ]  # fmt: skip
    (script,) = (text for kind, text in blocks(page) if kind == "sh")
    job = json.loads(run(folder, ["bash", "-c", script.replace("http://127.0.0.1:8000", stack.url)]))
    assert (job["status"], job["output"]) == ("succeeded", {"value": 17})


def test_the_examples_of_the_observability_page_run(stack: Any, folder: Path) -> None:
    doctor, metrics, logs = (text for kind, text in blocks("docs/observability.md") if kind == "sh")
    assert "ledger" in run(folder, ["bash", "-c", doctor])
    said = run(folder, ["bash", "-c", metrics.replace("http://127.0.0.1:8000", stack.url)])
    assert re.search(r'^callboard_queue_ready\{queue="nlp"\} \d', said, re.M)
    said = run(folder, ["bash", "-c", logs])
    assert re.search(r"job\.failed .*code=timeout.* job=job_\w+ ", said)


def test_the_examples_of_the_openai_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/openai.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program]).splitlines()
    assert "Paris" in said[0] and "2 vectors of 384" in said
    assert (folder / "train.mp3").stat().st_size > 5_000


def test_the_examples_of_the_llm_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/llm.md") if kind == "python")
    first, *_, last = run(folder, [sys.executable, "-c", program]).splitlines()
    assert first.endswith("by local SmolLM2-135M-Instruct")
    assert "Paris" in first and "Paris" in last


def test_the_examples_of_the_speech_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/speech.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program])
    assert said.startswith("local joe ") and "audio/ogg 48000" in said and "pieces spoken" in said
    assert "Paris" in said.splitlines()[-1] and said.splitlines()[-1].startswith("said aloud:")
    assert all((folder / f"{name}.mp3").stat().st_size > 10_000 for name in ("announcement", "answer"))


def test_the_examples_of_the_keys_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/keys.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program])
    assert said.startswith("for the shop\n") and said.endswith("budget-exhausted\n")


def test_the_examples_of_the_pipelines_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/pipelines.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program]).splitlines()
    assert said[0].startswith("said aloud:") and "Paris" in said[0]
    assert (folder / "answer.mp3").stat().st_size > 10_000
    assert said[1].startswith("noted: {'words': 9, 'like busan': ")
    assert said[2] == "succeeded 2 of 2 {'second': {'value': [6, 'x6']}}"
    assert said[-1].startswith("seen: 1 stop sign in a picture")
    assert (folder / "picture.mp3").stat().st_size > 5_000


def test_the_examples_of_the_vision_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/vision.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program])
    assert said.startswith("1 stop sign in a picture of 416×312 pixels")
    assert "stop sign 1.00: " in said
    assert "[{'stop sign': 1}, {'stop sign': 1}]" in said
    assert (folder / "drawn.jpg").stat().st_size > 10_000
    assert (
        "1 stop sign was followed through 2.0 s of video, in 24 frames. Line 'gate' was crossed once forth"
        in said
    )
    assert "{'stop sign': 1} [{'name': 'gate', 'forth': 1, 'back': 0}]" in said
    assert (folder / "followed.mp4").read_bytes()[4:8] == b"ftyp"
    trained = re.search(r"(shapes@\d+) \['circle', 'square', 'triangle'\] True", said)
    assert trained and f"looked by {trained[1]}" in said


def test_the_examples_of_the_batches_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/batches.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program]).splitlines()
    assert said[:3] == [
        "1 The train leaves at nine. succeeded 384", "2 Mind the gap. succeeded 384", "3 Tickets, please. succeeded 384",
    ]  # fmt: skip
    assert said[3] == "completed 1 succeeded, 1 invalid of 2"
    assert "misspelt" in said[4] and "input.valu" in said[4]
    assert said[-2:] == ["canceled True completed", "completed 1 384"]


def test_the_examples_of_the_conversations_page_run_one_after_the_other(folder: Path) -> None:
    program = "\n".join(text for kind, text in blocks("docs/conversations.md") if kind == "python")
    said = run(folder, [sys.executable, "-c", program])
    assert "Paris" in said.splitlines()[0] and "user answered And of Italy?" in said
    assert " Capitals 6" in said and "# Capitals" in said
