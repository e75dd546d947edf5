"""`make models`: what jobs can name as `model`, and whether each loads."""

from __future__ import annotations

import sys
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from callboard_embedded.folder import Folder, holder
from callboard_embedded.settings import EmbeddedSettings

WARM_S = 300.0


def models(*, warm: bool) -> int:
    """Lists the models of the running stack and, if asked, runs one small job with each. Returns the exit code."""
    settings = EmbeddedSettings()
    folder = Folder(settings.home_path)
    if holder(folder) is None or not folder.api_key.exists():
        print(f"No stack runs on {folder.home}. Start it with `make run`.", file=sys.stderr)
        return 1
    url = folder.ready.read_text() if folder.ready.exists() else settings.url
    headers = {"Authorization": f"Bearer {folder.api_key.read_text().strip()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=WARM_S, trust_env=False) as http:
        answer = http.get("/v1/models")
        if answer.status_code != 200:
            print(f"GET /v1/models answered {answer.status_code}.", file=sys.stderr)
            return 1
        found = answer.json()["data"]
        table = Table(box=None)
        for title in ("model", "kind", "task", "source", "loads"):
            table.add_column(title)
        failed = 0
        for model in found:
            loads, works = _warm(http, model) if warm else ("", True)
            failed += not works
            table.add_row(
                *(str(model.get(name) or "–") for name in ("name", "kind", "task", "source")), loads
            )
    Console().print(table)
    return 1 if failed else 0


def _warm(http: httpx.Client, model: dict[str, Any]) -> tuple[str, bool]:
    """Runs a small job with an encoder; other kinds are only listed."""
    if model.get("task") not in ("embed", "embedding", "embeddings", "feature-extraction"):
        return "", True
    body = {"type": "nlp.embed", "input": {"texts": ["warm"], "model": model["name"]}}
    answer = http.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"})
    job = answer.json()
    if job.get("status") == "succeeded":
        return f"yes, {job['usage'].get('run_ms', 0):.0f} ms", True
    return f"no: {job.get('error') or job.get('detail') or job.get('status')}", False
