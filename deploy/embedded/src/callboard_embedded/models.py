"""`make models`: what jobs can name as `model`, and whether each loads."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from callboard_embedded.folder import Folder, holder
from callboard_embedded.settings import EmbeddedSettings

WARM_S = 300.0
_HOLD_S = 30
_ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})


@dataclass(frozen=True, slots=True)
class Probe:
    """A job that is small and cannot be done without the model. ``after_loading``: codes of errors that only a model
    that is loaded can give."""

    job_type: str
    input: Mapping[str, Any]
    after_loading: frozenset[str] = frozenset()


_DOT = {
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
}
"""A black picture of one pixel."""
_SEE = Probe("vision.detect", {"image": _DOT})

PROBES = {
    "embed": Probe("nlp.embed", {"texts": ["warm"]}),
    "classify": Probe("nlp.classify", {"texts": ["warm"]}),
    # Every question to word vectors is about words, and nobody here knows which ones a model knows.
    "word2vec": Probe("nlp.word2vec.query", {"vectors": ["the"]}, frozenset({"unknown-word"})),
    "seq2seq": Probe("nlp.transformer.generate", {"texts": ["1"], "max_length": 4}),
    "chat": Probe("llm.chat", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}),
    **dict.fromkeys(("detect", "segment", "pose", "classify-image", "obb"), _SEE),
}
"""By the model's task. An architecture can only be trained, which is no small job."""


def models(*, warm: bool) -> int:
    """Lists the models of the running stack and, if asked, runs one small job with each. Returns the exit code."""
    settings = EmbeddedSettings()
    folder = Folder(settings.home_path)
    if holder(folder) is None or not folder.api_key.exists():
        print(f"No stack runs on {folder.home}. Start it with `make run`.", file=sys.stderr)
        return 1
    url = folder.ready.read_text() if folder.ready.exists() else settings.url
    headers = {"Authorization": f"Bearer {folder.api_key.read_text().strip()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=2 * _HOLD_S, trust_env=False) as http:
        try:
            table, failed = _listed(http, warm=warm)
        except httpx.HTTPStatusError as error:
            asked = error.request
            print(f"{asked.method} {asked.url.path} answered {error.response.status_code}.", file=sys.stderr)
            return 1
    Console().print(table)
    return 1 if failed else 0


def _listed(http: httpx.Client, *, warm: bool) -> tuple[Table, int]:
    """The table, and how many models do not work."""
    offered = {job_type["name"] for job_type in _data(http, "/v1/job-types")}
    table = Table(box=None)
    for title in ("model", "kind", "task", "source", "loads"):
        table.add_column(title)
    failed = 0
    for model in _data(http, "/v1/models"):
        loads, works = tried(http, model, offered) if warm else ("", True)
        failed += not works
        table.add_row(*(str(model.get(name) or "–") for name in ("name", "kind", "task", "source")), loads)
    return table, failed


def _data(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(path).raise_for_status().json()["data"]
    return found


def tried(http: httpx.Client, model: Mapping[str, Any], offered: Collection[str]) -> tuple[str, bool]:
    """Runs a small job with the model: what to tell of it, and whether it is well. ``offered``: the job types there
    are; a model for which there is none is only listed."""
    probe = PROBES.get(model["task"])
    if probe is None or probe.job_type not in offered:
        return f"not tried: there is no job type for {model['task']}", True
    body = {"type": probe.job_type, "input": {**probe.input, "model": model["name"]}}
    job = _ended(http, http.post("/v1/jobs", json=body, headers={"Prefer": f"wait={_HOLD_S}"}).json())
    error = job.get("error") or {}
    if job["status"] == "succeeded" or error.get("code") in probe.after_loading:
        return f"yes, {job['usage'].get('run_ms', 0):.0f} ms", True
    return f"no: {error.get('detail') or job.get('detail') or job.get('waiting_for') or job['status']}", False


def _ended(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it has ended; as it is if it takes too long, waits for what is not there, or is a problem."""
    deadline = time.monotonic() + WARM_S
    while "id" in job and job["status"] not in _ENDED and not job.get("waiting_for"):
        if time.monotonic() > deadline:
            break
        job = http.get(f"/v1/jobs/{job['id']}", params={"wait": _HOLD_S}).json()
    return job
