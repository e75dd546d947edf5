"""Models of one's own over HTTP, on the embedded default: trained, asked, removed; and what is refused."""

from __future__ import annotations

import time

import httpx
import pytest
from over_http import content, ended, error, run, submit, upload

pytestmark = pytest.mark.models


def test_a_job_may_name_the_model_that_the_job_before_it_will_make(http: httpx.Client) -> None:
    text = "the king rules the land and the queen rules beside the king"
    train = submit(
        http, "nlp.word2vec.train", {"texts": [text] * 20, "min_count": 1, "seed": 1, "name": "coming"}
    )
    asked = submit(
        http, "nlp.word2vec.query", {"model": "coming@1", "similarity": [["king", "queen"]]}, after=[train]
    )
    assert ended(http, train)["output"]["model"] == "coming@1"
    job = ended(http, asked)
    assert job["status"] == "succeeded", job["error"]
    assert -1 <= job["output"]["similarity"][0] <= 1


def test_word_vectors_are_trained_from_a_file_and_answer_every_question(http: httpx.Client) -> None:
    lines = [
        "the king rules the land",
        "the queen rules the land",
        "the farmer works the land",
        "서울 은 한국 의 수도 이다",
    ] * 60
    file = upload(http, "corpus.txt", "\n".join(lines).encode())
    output = run(
        http,
        "nlp.word2vec.train",
        {"file": file, "vector_size": 16, "epochs": 10, "seed": 3, "name": "words"},
    )
    model = output["model"]
    assert output["vocabulary_size"] == 13
    assert content(http, output["file"]).split(b"\n", 1)[0] == b"13 16"
    vectors = run(http, "nlp.word2vec.query", {"model": model, "vectors": ["king", "한국"]})["vectors"]
    assert {word: len(vector) for word, vector in vectors.items()} == {"king": 16, "한국": 16}
    near = run(
        http, "nlp.word2vec.query", {"model": model, "most_similar": {"positive": ["king"], "topn": 2}}
    )
    assert len(near["most_similar"]) == 2
    odd = run(http, "nlp.word2vec.query", {"model": model, "doesnt_match": ["king", "queen", "수도"]})
    assert odd["doesnt_match"] in ("king", "queen", "수도")
    compared = run(
        http,
        "nlp.similarity",
        {"model": model, "pairs": [["the king", "the queen"], ["the king", "zebra king"]]},
    )
    assert len(compared["scores"]) == 2 and compared["unknown_words"] == ["zebra"]
    unknown = error(http, "nlp.word2vec.query", {"model": model, "vectors": ["king", "zebra", "quokka"]})
    assert unknown["code"] == "unknown-word"
    assert "zebra" in unknown["detail"] and "quokka" in unknown["detail"]


def test_a_model_of_token_lists_is_asked_and_compared_by_its_own_spelling(http: httpx.Client) -> None:
    sentences = [["New York", "is", "BIG", "."], ["Seoul", "is", "BIG", "."]] * 40
    value = {"sentences": sentences, "vector_size": 16, "min_count": 1, "epochs": 4, "sample": 0}
    job_id = submit(http, "nlp.word2vec.train", {**value, "name": "lists"})
    output = ended(http, job_id)["output"]
    model = output["model"]
    losses = [epoch["loss"] for epoch in output["history"]]
    assert len(losses) == 4 and 0 < losses[-1] < losses[0] and output["left_out"] == 0
    events = http.get(f"/v1/jobs/{job_id}/events").text
    assert f"epoch 4 of 4, loss {losses[-1]:.4g}" in events
    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}[model]
    assert listed["metrics"] == {"loss": losses[-1], "vocabulary_size": 5, "tokens": 320}
    assert listed["details"]["tokenizer"] == "sentences as given" and listed["details"]["vector_size"] == 16
    asked = {"model": model, "similarity": [["New York", "Seoul"]]}
    assert -1 <= run(http, "nlp.word2vec.query", asked)["similarity"][0] <= 1
    compared = {"model": model, "pairs": [["Seoul is BIG", "Is New_York BIG?"]]}
    assert run(http, "nlp.similarity", compared)["unknown_words"] == []


def test_a_cancel_ends_a_long_epoch_at_once(http: httpx.Client) -> None:
    lines = "\n".join(" ".join(f"word{(n * m) % 9973}" for m in range(1, 21)) for n in range(40_000))
    file = upload(http, "long.txt", lines.encode())
    job_id = submit(
        http, "nlp.word2vec.train", {"file": file, "vector_size": 1000, "window": 20, "sg": 1, "name": "long"}
    )
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as events:
        assert any("epoch 1 of 5: " in line for line in events.iter_lines())
    began = time.monotonic()
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert ended(http, job_id)["status"] == "canceled"
    assert time.monotonic() - began < 5, "not by the end of the epoch, and before the grace of 10 s is over"


def test_the_default_word_vectors_answer_out_of_the_box(http: httpx.Client) -> None:
    asked = {"most_similar": {"positive": ["government"], "topn": 3}}
    assert len(run(http, "nlp.word2vec.query", asked)["most_similar"]) == 3
    listed = {one["name"]: one for one in http.get("/v1/models").json()["data"]}["lee-news"]
    assert listed["task"] == "word2vec" and listed["metrics"]["vocabulary_size"] > 1000


@pytest.mark.parametrize(
    ("corpus", "code"),
    [
        ("한글 글자\n".encode("euc-kr"), "not-utf8"),
        (b"\x80\x04\x95\x00", "unsupported-format"),
        (b"text\nand then\0bytes\n", "unsupported-format"),
        (b"\n\n", "empty-corpus"),
        (b"every word once", "no-vocabulary"),
    ],
)
def test_a_corpus_that_cannot_be_used_ends_the_job_with_the_cure(
    corpus: bytes, code: str, http: httpx.Client
) -> None:
    failed = error(http, "nlp.word2vec.train", {"file": upload(http, "corpus.txt", corpus)})
    assert failed["code"] == code and len(failed["detail"]) > 40


def test_a_file_that_is_not_there_is_refused_at_once(http: httpx.Client) -> None:
    for file_id in ("file_01m82m2nhxf26b6wtnj62qx105", "nonsense"):
        value = {"file": {"file_id": file_id}}
        answer = http.post("/v1/jobs", json={"type": "nlp.word2vec.train", "input": value})
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown-file")
        assert answer.json()["errors"][0]["field"] == "input.file.file_id"
