"""docs/backup.md: its commands back up and restore, with `make` on a stack and with containers."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from everything import echo, ended, made
from small_stack import client

from callboard_embedded.ports import free_port
from callboard_embedded.settings import stack_environment
from callboard_embedded.stack import Stack
from callboard_shared.files import Files, LocalStore
from callboard_shared.ledger import Ledger, filing, verbs
from callboard_shared.ledger.records import NewJob
from callboard_shared.settings import LedgerSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "backup.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
VERB = re.compile(r"^make (\w+)(?: ARGS=(\"[^\"]*\"|\S+))?$", re.M)


def shell(script: str, folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def as_module(script: str) -> str:
    """What make runs for these verbs; `run` is left to the test, which waits for it."""
    lines = [(verb, args.strip('"')) for verb, args in VERB.findall(script) if verb != "run"]
    return "\n".join(f"{sys.executable} -m callboard_embedded {verb} {args}" for verb, args in lines)


@pytest.mark.slow
def test_the_commands_for_make_back_up_and_restore(tmp_path: Path) -> None:
    env = {"CALLBOARD_WORKERS": "nlp=0,nlp-train=0,llm=0,vision=0,vision-train=0"}
    ours = stack_environment(tmp_path / "home", 8000, {})
    with (
        Stack(tmp_path / "home", env=env, output=tmp_path / "log") as stack,
        client(stack.url, stack.key) as http,
    ):
        kept = echo(http, "kept")
        ended(http, f"/v1/jobs/{kept}")
        shell(as_module(BLOCKS[0]), tmp_path, ours)
        assert stat.S_IMODE((tmp_path / "monday.tar.gz").stat().st_mode) == 0o600
        later = echo(http, "later")
        shell(as_module(BLOCKS[1]), tmp_path, ours)
    assert list(tmp_path.glob("home-before-*"))
    with (
        Stack(tmp_path / "home", env=env, output=tmp_path / "log") as stack,
        client(stack.url, stack.key) as http,
    ):
        assert made(http.get(f"/v1/jobs/{kept}"))["output"] == {"value": "kept"}
        assert http.get(f"/v1/jobs/{later}").status_code == 404


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which `docker compose` is this machine's; a redis runs and is empty."""
    home, programs = tmp_path / "double", tmp_path / "bin"
    for folder in (home / "data", home / "files", programs):
        folder.mkdir(parents=True)
    docker = programs / "docker"
    docker.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/upgrade/docker_double.py" "$@"\n')
    docker.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "DOUBLE_HOME": str(home), "DOUBLE_PORT": str(free_port())}
    shell("docker compose up -d --wait redis", tmp_path, env)
    yield env
    os.kill(int((home / "redis.pid").read_text()), signal.SIGTERM)


@pytest.mark.slow
def test_the_commands_for_containers_back_up_and_restore(containers: dict[str, str], tmp_path: Path) -> None:
    back_up, restore = BLOCKS[2:4]
    (tmp_path / ".env").write_text("CALLBOARD_ADMIN_KEY=cb_x\n")
    url = f"redis://127.0.0.1:{containers['DOUBLE_PORT']}/0"
    ledger = Ledger(LedgerSettings.model_validate({"redis_url": url}))
    store = LocalStore(Path(containers["DOUBLE_HOME"]) / "files")
    stays, goes = (Files(store).put_bytes("key_1", "a.txt", data) for data in (b"stays", b"goes"))
    for record in (stays, goes):
        ledger.run(filing.put_file(record))
    waits, runs = (
        NewJob(f"job_{name}", "system.echo", "system", "key_1", b"{}", max_attempts=1) for name in "ab"
    )
    ledger.run(verbs.submit("system", [runs]))
    claim = verbs.claim("system", "by hand", limits={"system.echo": (1, 0)}, max_jobs=1, lease_ms=60_000)
    assert [job.id for job in ledger.run(claim).jobs] == [runs.id]
    ledger.run(verbs.submit("system", [waits]))

    before_files, files = back_up.split(
        "docker compose exec -T gateway python -m callboard_shared.holding tar"
    )
    shell(before_files, tmp_path, containers)
    ledger.run(filing.delete_file(goes.id, "key_1"))
    assert store.delete(goes.id), "a user deletes a file between the two copies"
    shell(
        "docker compose exec -T gateway python -m callboard_shared.holding tar" + files, tmp_path, containers
    )
    ledger.close()
    shell(restore, tmp_path, containers)

    records = ledger.run_many([filing.get_file(record.id) for record in (stays, goes)])
    assert records == [stays, goes]
    assert [Files(store).get_bytes(record.id) for record in records] == [b"stays", b"goes"]
    read = ledger.run(verbs.read("system", [waits.id, runs.id]))
    assert [(one.status.value, one.attempt) for one in read if one] == [("queued", 0), ("queued", 0)]
    with redis.Redis.from_url(url) as server:
        assert server.info("persistence")["aof_enabled"] == 1
    assert (tmp_path / "monday" / "env").read_text() == (tmp_path / ".env").read_text()
    ledger.close()


def test_the_commands_for_containers_name_what_the_compose_file_has() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    for mount in ("redis:/data", "files:/var/lib/callboard/files"):
        assert mount in compose
    services = set(re.findall(r"docker compose (?:exec|run) (?:--?[\w-]+ )*(\w+)", "".join(BLOCKS)))
    assert services == {"gateway", "redis"}
    assert all(f"\n  {name}:" in compose for name in services)
