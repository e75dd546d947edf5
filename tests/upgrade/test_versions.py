"""Data of every version since the first are read by today's code, and what waits in them runs."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from everything import account, differences, made, until
from make_fixture import ADMIN_KEY, DATA
from small_stack import client

from callboard_embedded.ports import free_port
from callboard_shared.jobs import QUEUES
from callboard_shared.ledger import Ledger, keys, schema, verbs
from callboard_shared.ledger.records import Ended
from callboard_shared.object_store import LocalStore

VERSIONS = sorted(DATA.glob("v*.json.gz"))


def load(path: Path, server: redis.Redis, files: Path) -> dict[str, Any]:
    """Puts the data in place; gives what was said of them when they were made."""
    document = json.loads(gzip.decompress(path.read_bytes()))
    for key, (ttl, value) in document["keys"].items():
        server.restore(key, ttl, base64.b64decode(value))
    store = LocalStore(files)
    for file_id, content in document["files"].items():
        place = store.path(file_id)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(base64.b64decode(content))
    said: dict[str, Any] = document["said"]
    return said


def gateway(valkey_url: str, files: Path, port: int) -> subprocess.Popen[str]:
    env = {
        **os.environ, "CALLBOARD_REDIS_URL": valkey_url, "CALLBOARD_FILES_DIR": str(files), "CALLBOARD_PORT": str(port),
        "CALLBOARD_ADMIN_KEY": ADMIN_KEY, "CALLBOARD_WEBHOOK_ALLOW_PRIVATE": "true", "CALLBOARD_WEBHOOK_INBOX": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "callboard_gateway"]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@contextmanager
def serving(valkey_url: str, files: Path) -> Iterator[httpx.Client]:
    port = free_port()
    process = gateway(valkey_url, files, port)
    try:
        with client(f"http://127.0.0.1:{port}", ADMIN_KEY) as http:
            until(lambda: process.poll() is not None or _answers(http))
            yield http
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").is_success
    except httpx.HTTPError:
        return False


def test_there_are_data_of_each_version_since_the_first() -> None:
    assert [path.name for path in VERSIONS] == [
        f"v{number}.json.gz" for number in range(1, schema.NEWEST + 1)
    ]
    assert all(path.stat().st_size < 100_000 for path in VERSIONS)


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.name.partition(".")[0])
def test_a_gateway_says_of_them_what_was_said_when_they_were_made(
    path: Path, valkey_url: str, server: redis.Redis, ledger: Ledger, tmp_path: Path
) -> None:
    said = load(path, server, tmp_path / "files")
    (usage,) = said.pop("/v1/usage")  # it goes back for some weeks only, and the data are older
    with serving(valkey_url, tmp_path / "files") as http:
        assert differences(said, account(http)) == []
        again = http.post(
            "/v1/jobs",
            json={"type": "system.echo", "input": {"value": "once"}},
            headers={"Idempotency-Key": "the-only-one"},
        )
        first = [
            one for one in said.values() if isinstance(one, dict) and one.get("input") == {"value": "once"}
        ]
        assert again.json()["id"] == first[0]["id"]
    assert server.get(keys.SCHEMA) == str(schema.NEWEST).encode()
    (owner,) = {one["id"] for one in said["/v1/keys"] if one["name"].startswith("admin")}
    day = date.fromisoformat(usage["day"]).toordinal() - date(1970, 1, 1).toordinal()
    rows = [row for queue in QUEUES for row in ledger.run(verbs.usage(queue, owner, day))]
    assert sum(row.figures["jobs"] for row in rows) == usage["jobs"] > 0


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.name.partition(".")[0])
def test_what_waits_in_them_runs_to_its_end(
    path: Path, valkey_url: str, server: redis.Redis, ledger: Ledger, tmp_path: Path
) -> None:
    said = load(path, server, tmp_path / "files")
    schema.ensure(ledger)
    ledger.run(verbs.resume("system"))
    limits = {"system.echo": (50, 0)}
    claim = verbs.claim("system", "by hand", limits=limits, max_jobs=50, lease_ms=15_000)
    claimed = ledger.run(claim).jobs
    ready = [one["id"] for one in said.values() if isinstance(one, dict) and one.get("status") == "queued"
             and one.get("type") == "system.echo"]  # fmt: skip
    assert sorted(job.id for job in claimed) == sorted(ready) and len(ready) == 4
    ends = [Ended(job.id, job.attempt, "succeeded", output=b'{"value":1}') for job in claimed]
    assert ledger.run(verbs.finish("system", "by hand", ends)).results == ["committed"] * len(ends)
    with serving(valkey_url, tmp_path / "files") as http:
        assert all(made(http.get(f"/v1/jobs/{job_id}"))["status"] == "succeeded" for job_id in ready)


def test_a_gateway_under_older_code_than_the_data_says_so_and_ends(
    valkey_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    server.set(keys.SCHEMA, schema.NEWEST + 1)
    process = gateway(valkey_url, tmp_path, free_port())
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"The gateway cannot start: The ledger's data are of version {schema.NEWEST + 1}" in said
    assert "Traceback" not in said


def test_a_worker_under_older_code_than_the_data_says_so_and_ends(
    valkey_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    server.set(keys.SCHEMA, schema.NEWEST + 1)
    env = {**os.environ, "CALLBOARD_REDIS_URL": valkey_url, "CALLBOARD_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "callboard_courier"],
        env=env,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"The ledger's data are of version {schema.NEWEST + 1}" in done.stdout + done.stderr
    assert server.keys("*") == [keys.SCHEMA.encode()], "it changed nothing"
