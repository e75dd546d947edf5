"""Models as a user meets them: trained from a file on the command line, tried, shown, used by an alias, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard_client import Callboard, Conflict, Invalid, NotFound

CORPUS = "the king rules the land and the queen rules beside the king\n" * 50


@pytest.fixture
def callboard(stack: Any) -> Iterator[Callboard]:
    with Callboard(stack.url, stack.key) as made:
        yield made


def command(stack: Any, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "CALLBOARD_URL": stack.url, "CALLBOARD_API_KEY": stack.key}
    done = subprocess.run(
        [sys.executable, "-m", "callboard_client", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_is_trained_from_a_file_and_lives_until_it_is_deleted(
    stack: Any, callboard: Callboard, tmp_path: Path
) -> None:
    (tmp_path / "corpus.txt").write_text(CORPUS)
    options = ("--file", "corpus.txt", "--vector-size", "8", "--name", "tale", "--json")
    output = json.loads(command(stack, tmp_path, "run", "nlp.word2vec.train", *options))
    name = output["model"]
    assert name in command(stack, tmp_path, "models", "list", "--task", "word2vec")
    model = callboard.models.get("tale")
    assert model.name == name and model in list(callboard.models.list())
    assert output["file"]["file_id"] in command(stack, tmp_path, "models", "show", name)
    with pytest.raises(Conflict, match=f"DELETE /v1/models/{name}"):
        callboard.files.delete(output["file"]["file_id"])
    assert command(stack, tmp_path, "models", "delete", name) == f"{name} deleted\n"
    for gone in (lambda: callboard.models.get(name), lambda: callboard.files.get(output["file"]["file_id"])):
        with pytest.raises(NotFound):
            gone()
    with pytest.raises(Invalid, match="unknown-model"):
        callboard.submit("nlp.word2vec.query", {"model": name, "vectors": ["king"]})


def test_an_alias_computes_what_the_name_computes(callboard: Callboard) -> None:
    by_alias, by_name = (
        callboard.run("nlp.embed", {"texts": ["a board"], "model": model})
        for model in ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2")
    )
    assert by_alias["model"] == by_name["model"] == "all-MiniLM-L6-v2"
    assert by_alias["embeddings"][0] == pytest.approx(by_name["embeddings"][0], abs=1e-5)


def test_make_models_loads_each(stack: Any, callboard: Callboard) -> None:
    callboard.run("nlp.word2vec.train", {"texts": ["eins zwei drei"] * 9, "vector_size": 4, "name": "german"})
    environment = {**os.environ, "CALLBOARD_HOME": str(stack.home), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "callboard_embedded", "models"],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:] if line.strip()}
    assert set(rows) == {model.name for model in callboard.models.list()}
    assert all("yes, " in line for line in rows.values()), done.stdout
