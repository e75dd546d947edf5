"""A whole stack is backed up while it works, lost, and restored: all of it is there, and what had not ended runs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from everything import account, differences, echo, ended, lay, listed, made, until
from small_stack import client, ledger_of, small_stack

from callboard_embedded.settings import stack_environment
from callboard_embedded.stack import Stack


def command(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What `make backup` and `make restore` run."""
    return subprocess.run(
        [sys.executable, "-m", "callboard_embedded", *map(str, arguments)],
        env=stack_environment(home, 8000, {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def done(home: Path, *arguments: object) -> str:
    finished = command(home, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


class Load:
    """Submits jobs, stores files, and deletes those that were there before, one after the other, until the block ends."""

    def __init__(self, url: str, key: str) -> None:
        self._http = client(url, key)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)
        self.jobs: list[str] = []
        self.kept: list[str] = []
        self._to_go = [self._file() for _ in range(300)]
        self.deleted = 0
        self.errors: list[Exception] = []

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.jobs.append(echo(self._http, len(self.jobs)))
                self.kept.append(self._file())
                for file in self._to_go[self.deleted : self.deleted + 2]:
                    self._http.delete(f"/v1/files/{file}").raise_for_status()
                    self.deleted += 1
        except Exception as error:
            self.errors.append(error)

    def _file(self) -> str:
        return str(made(self._http.post("/v1/files", files={"file": ("a.txt", os.urandom(4000))}))["id"])

    def __enter__(self) -> Load:
        self._thread.start()
        until(lambda: len(self.kept) > 5 or self.errors)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._http.close()
        assert not self.errors


def secrets_are_private(home: Path) -> bool:
    return all(stat.S_IMODE((home / name).stat().st_mode) == 0o600 for name in ("api-key", "valkey.conf"))


def without_running(said: dict[str, Any]) -> dict[str, Any]:
    """But for the jobs that run: those are ready again after a restore."""
    return {path: one for path, one in said.items() if not (isinstance(one, dict) and one.get("status") == "running")
            or not path.startswith("/v1/jobs/")}  # fmt: skip


@pytest.mark.slow
def test_everything_is_there_after_a_restore_and_what_had_not_ended_runs(tmp_path: Path) -> None:
    home, quiet, busy, stopped = (
        tmp_path / name for name in ("home", "quiet.tar.gz", "busy.tar.gz", "stopped.tar.gz")
    )
    with small_stack(home, trains=True) as first, client(first.url, first.key) as http:
        with ledger_of(home) as ledger:
            lay(http, ledger)
        before = account(http)
        done(home, "backup", quiet)
        with Load(first.url, first.key) as load:
            early_jobs, early_files = list(load.jobs), list(load.kept)
            done(home, "backup", busy)
        assert load.deleted > 50
        port, key = first.port, first.key
    done(home, "backup", stopped)
    shutil.rmtree(home)

    done(home, "restore", quiet)
    assert secrets_are_private(home)
    with small_stack(home, port) as second, client(second.url, key) as http:
        assert second.key == key
        assert differences(without_running(before), account(http)) == []
        running_then = [path for path in before if path not in without_running(before)]
        assert len(running_then) == 2
        _runs_on(http, running_then, before)

    refused = command(home, "restore", busy)
    assert refused.returncode == 1 and "there is a stack in" in refused.stderr
    assert "put aside" in refused.stderr
    said = done(home, "restore", "--replace", busy)
    aside = next(tmp_path.glob("home-before-*"))
    assert str(aside) in said and (aside / "api-key").exists()
    with small_stack(home, port), client(first.url, key) as http:
        after = account(http)  # each file on record has its content
        assert {f"/v1/jobs/{job}" for job in early_jobs} <= after.keys()
        assert {f"/v1/files/{file}/content" for file in early_files} <= after.keys()
        assert before.keys() <= after.keys()

    done(home, "restore", "--replace", stopped)
    with small_stack(home, port), client(first.url, key) as http:
        assert set(load.jobs) <= {one["id"] for one in listed(http, "/v1/jobs")}
        assert set(load.kept) <= {one["id"] for one in listed(http, "/v1/files")}


def _runs_on(http: httpx.Client, running_then: list[str], before: dict[str, Any]) -> None:
    """Those that ran were in their only attempt, and have it still."""
    made(http.post("/v1/queues/system/resume"))
    for path in running_then:
        job = until(lambda path=path: _if_running(http, path))
        assert (job["attempt"], job["max_attempts"]) == (1, 1)
        made(http.post(f"{path}/cancel"))
    waited = [path for path, one in before.items() if path.startswith("/v1/jobs/") and isinstance(one, dict)
              and one["status"] in ("queued", "blocked") and one["type"] == "system.echo"]  # fmt: skip
    assert len(waited) == 6
    assert [ended(http, path)["status"] for path in waited] == ["succeeded"] * len(waited)
    (batch,) = [
        path for path, one in before.items() if path.startswith("/v1/batches/") and one["status"] == "running"
    ]
    assert ended(http, batch)["counts"]["succeeded"] == 2


def _if_running(http: httpx.Client, path: str) -> dict[str, Any] | None:
    job: dict[str, Any] = http.get(path).json()
    return job if job["status"] == "running" else None


def test_a_backup_of_nothing_and_over_something_is_refused(tmp_path: Path) -> None:
    none = command(tmp_path / "none", "backup", tmp_path / "backup.tar.gz")
    assert (none.returncode, none.stdout) == (1, "")
    assert "there is no stack in" in none.stderr and "CALLBOARD_HOME" in none.stderr
    home = tmp_path / "home"
    home.mkdir()
    for name in ("api-key", "valkey.conf"):
        (home / name).write_text("x")
    (tmp_path / "there.tar.gz").write_text("of value")
    over = command(home, "backup", tmp_path / "there.tar.gz")
    assert over.returncode == 1 and "is there already" in over.stderr
    assert (tmp_path / "there.tar.gz").read_text() == "of value"


@pytest.mark.slow
def test_a_running_stack_is_not_replaced(tmp_path: Path) -> None:
    env = {"CALLBOARD_WORKERS": "nlp=0,nlp-train=0,llm=0,vision=0,vision-train=0"}
    with Stack(tmp_path / "home", env=env, output=tmp_path / "log") as stack:
        done(stack.home, "backup", tmp_path / "one.tar.gz")
        refused = command(stack.home, "restore", "--replace", tmp_path / "one.tar.gz")
        assert refused.returncode == 1 and "make stop" in refused.stderr
        assert not (stack.home / "valkey" / "dump.rdb").exists()
        assert not (stack.home / "files" / ".held").exists()
        assert httpx.get(f"{stack.url}/readyz").status_code == 200
