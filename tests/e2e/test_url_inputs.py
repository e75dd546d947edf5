"""Inputs by URL over HTTP, on the embedded default: fetched from this machine, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from file_server import FileServer, content, redirect, serving, status
from over_http import error, run, submit

pytestmark = pytest.mark.models

SENTENCES = b"the king rules the land\nthe queen rules beside the king\n" * 40
REVIEWS = b"text,label\n" + b"warm and funny,good\ntwo hours of boredom,bad\n" * 30


@pytest.fixture
def elsewhere() -> Iterator[FileServer]:
    answers = {
        "/sentences.txt": content(SENTENCES),
        "/moved": redirect("/sentences.txt"),
        "/metadata": redirect("http://169.254.169.254/latest/meta-data/"),
        "/inside": redirect("http://10.0.0.1/"),
        "/large": lambda request: request.head(200, Content_Length=10**12),
        "/picture.png": content(b"\x89PNG\r\n\x1a\n" + bytes(100)),
        "/gone": status(404),
    }
    with serving(answers) as running:
        yield running


@pytest.mark.parametrize("path", ["/sentences.txt", "/moved"])
def test_a_model_is_trained_from_a_file_at_a_url(
    http: httpx.Client, elsewhere: FileServer, path: str
) -> None:
    value = {
        "file": {"url": elsewhere.url + path},
        "vector_size": 16,
        "min_count": 1,
        "seed": 1,
        "name": "fetched",
    }
    assert run(http, "nlp.word2vec.train", value)["vocabulary_size"] == 6
    assert elsewhere.asked[-1][0] == "/sentences.txt"


def test_a_data_set_is_read_from_a_url(http: httpx.Client, elsewhere: FileServer) -> None:
    labels = run(http, "nlp.classify", {"texts": ["a warm film"]})["results"][0]["scores"]
    good, bad = sorted(labels)[-1], sorted(labels)[0]
    elsewhere.answers["/reviews.csv"] = content(
        REVIEWS.replace(b",good", b"," + good.encode()).replace(b",bad", b"," + bad.encode())
    )
    measured = run(
        http, "nlp.evaluate", {"model": "sentiment", "dataset": {"url": f"{elsewhere.url}/reviews.csv"}}
    )
    assert 0 <= measured["accuracy"] <= 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/metadata", "url-blocked"),
        ("/inside", "url-blocked"),
        ("/large", "fetch-too-large"),
        ("/gone", "fetch-failed"),
        ("/picture.png", "unsupported-format"),
    ],
)
def test_what_cannot_be_fetched_ends_the_job_with_the_reason(
    http: httpx.Client, elsewhere: FileServer, path: str, code: str
) -> None:
    failed = error(http, "nlp.word2vec.train", {"file": {"url": f"{elsewhere.url}{path}?token=SECRET"}})
    assert failed["code"] == code and "SECRET" not in failed["detail"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "https://169.254.169.254/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_never_allowed_is_refused_at_once(http: httpx.Client, url: str) -> None:
    answer = http.post("/v1/jobs", json={"type": "nlp.word2vec.train", "input": {"file": {"url": url}}})
    assert (answer.status_code, answer.json()["code"]) == (422, "url-not-allowed")
    assert answer.json()["errors"][0]["field"] == "input.file.url"


def test_a_cancel_ends_a_fetch_at_once(http: httpx.Client, elsewhere: FileServer) -> None:
    elsewhere.answers["/silent"] = lambda request: request.pause(60)
    job_id = submit(http, "nlp.word2vec.train", {"file": {"url": f"{elsewhere.url}/silent"}})
    deadline = time.monotonic() + 60
    while not elsewhere.asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    job = http.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
    assert job["status"] == "canceled" and time.monotonic() - began < 5
