"""The whole stack with its files in a bucket: inputs, large outputs, trained models, and what goes with a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "files"))

from s3_server import URL, s3_server

from callboard_client import Callboard
from callboard_embedded.stack import Stack
from callboard_shared.s3_store import S3Store

pytestmark = [pytest.mark.slow, pytest.mark.models]

SENTENCES = "the cat sat on the mat\nthe dog sat on the log\n" * 50


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Callboard, S3Store]]:
    home = tmp_path_factory.mktemp("stack-on-s3")
    url = f"{URL}/stack"
    with s3_server() as (settings, _):
        env = {
            "CALLBOARD_FILES_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_ENDPOINT_URL": settings.endpoint_url or "", "CALLBOARD_WORKERS": "llm=0,vision=0",
        }  # fmt: skip
        with (
            Stack(home, env=env, output=home / "said") as running,
            Callboard(running.url, running.key) as client,
        ):
            yield client, S3Store.at(url, settings)
        assert not (home / "files").exists(), "nothing lies in the folder"


def contents(store: S3Store) -> set[str]:
    return {content.file_id for content in store.contents()}


def test_a_job_reads_its_input_from_the_bucket_and_its_model_is_kept_there(
    bucket: tuple[Callboard, S3Store], tmp_path: Path
) -> None:
    callboard, store = bucket
    (tmp_path / "words.txt").write_text(SENTENCES)
    file = callboard.files.upload(tmp_path / "words.txt")
    made = callboard.run(
        "nlp.word2vec.train",
        {"file": {"file_id": file.id}, "name": "s3", "epochs": 2, "vector_size": 8},
        wait_s=120,
    )
    assert {file.id, *(part["file_id"] for part in callboard.models.get(made["model"]).files)} <= contents(
        store
    )
    answer = callboard.run(
        "nlp.word2vec.query", {"model": made["model"], "similarity": [["cat", "dog"]]}, wait_s=120
    )
    assert len(answer["similarity"]) == 1


def test_a_large_output_lies_in_the_bucket_and_goes_with_its_job(bucket: tuple[Callboard, S3Store]) -> None:
    callboard, store = bucket
    before = contents(store)
    job = callboard.submit("system.echo", {"value": "x" * 300_000})
    ended = callboard.jobs.wait(job, 60)
    assert callboard.jobs.output(ended) == {"value": "x" * 300_000}
    assert len(contents(store) - before) == 1
    callboard.jobs.delete(job)
    assert contents(store) == before
