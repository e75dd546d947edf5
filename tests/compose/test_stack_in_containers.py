"""`make e2e-compose`: the stack in containers, as docker-compose.yml has it, under load and under faults.

Waits are long: what takes seconds on a machine of its own takes minutes on one that four others share.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard_client import Callboard

pytestmark = pytest.mark.timeout(7200)
Wait = Callable[[Callable[[], object], float], None]
ROOT = Path(__file__).parents[2]
MINUTES = 60


@pytest.fixture
def callboard(composed: Any) -> Callboard:
    return Callboard(f"http://127.0.0.1:{composed.port}", composed.key)


def embed(callboard: Callboard, number: int) -> list[str]:
    """Ids of so many jobs, each of a text of its own."""
    jobs = [
        {"type": "nlp.embed", "input": {"texts": [f"Wagon {n} of the train. " * 40] * 8}}
        for n in range(number)
    ]
    return [
        job.id for start in range(0, number, 100) for job in callboard.submit_batch(jobs[start : start + 100])
    ]


def ended(callboard: Callboard, ids: list[str]) -> list[Any]:
    return [callboard.jobs.wait(one, 20 * MINUTES) for one in ids]


def containers_of(jobs: list[Any]) -> Counter[str]:
    """How many jobs each container ran; a worker's name ends in its container's, and the number of its process."""
    return Counter(str(job.worker).split("@")[-1].rpartition("-")[0] for job in jobs)


@contextmanager
def load(callboard: Callboard) -> Iterator[list[str]]:
    """Keeps some dozens of jobs waiting for as long as it lasts; gives the growing list of their ids."""
    ids: list[str] = []
    over = threading.Event()

    def submit() -> None:
        while not over.wait(0.5):
            (nlp,) = [queue for queue in callboard.queues() if queue.name == "nlp"]
            if nlp.ready < 60:
                ids.extend(embed(callboard, 60))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


def test_every_job_types_example_runs_in_containers(composed: Any, callboard: Callboard) -> None:
    types = callboard.job_types()
    jobs = [(one.name, callboard.submit(one.name, one.example)) for one in types]
    wrong = {
        name: job.error
        for name, job in ((n, callboard.jobs.wait(j, 30 * MINUTES)) for n, j in jobs)
        if job.status != "succeeded"
    }
    assert wrong == {}
    composed.figures["job types run"] = len(types)


def test_both_workers_of_a_kind_take_part(composed: Any, callboard: Callboard) -> None:
    done = ended(callboard, embed(callboard, 200))
    assert Counter(job.status for job in done) == {"succeeded": 200}
    by = containers_of(done)
    composed.figures["200 jobs, by container"] = dict(by)
    assert len(by) == 2


def test_the_doctor_finds_nothing_wrong(composed: Any) -> None:
    command = [
        sys.executable, "-m", "callboard_client", "--url", f"http://127.0.0.1:{composed.port}", "--key", composed.key,
        "doctor", "--json",
    ]  # fmt: skip
    told = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    assert [check for check in told if check["good"] is False] == []


def test_scaling_up_and_down_under_load_loses_no_job(
    composed: Any, callboard: Callboard, eventually: Wait
) -> None:
    with load(callboard) as ids:
        composed.timed("2 to 4 workers", "up", "-d", "--no-recreate", "--scale", "nlp-worker=4")
        eventually(lambda: composed.healthy("nlp-worker", 4), 20 * MINUTES)
        working: set[str] = set()

        def all_four_have_work() -> bool:
            working.update(one.id for one in callboard.workers() if one.queue == "nlp" and one.running)
            return len(working) == 4

        eventually(all_four_have_work, 5 * MINUTES)
        composed.timed("4 to 1 worker", "up", "-d", "--no-recreate", "--scale", "nlp-worker=1")
    assert len(composed.containers("nlp-worker")) == 1
    done = ended(callboard, ids)
    assert Counter(job.status for job in done) == {"succeeded": len(ids)}
    composed.figures["while scaling"] = f"{len(ids)} jobs, by {dict(containers_of(done))}"


def test_a_killed_container_comes_back_and_its_jobs_end(
    composed: Any, callboard: Callboard, eventually: Wait
) -> None:
    composed.compose("up", "-d", "--no-recreate", "--scale", "nlp-worker=1")
    ids = embed(callboard, 300)
    (container,) = composed.containers("nlp-worker")
    eventually(lambda: any(one.queue == "nlp" and one.running for one in callboard.workers()), 5 * MINUTES)
    os.kill(composed.inspected(container)["State"]["Pid"], signal.SIGKILL)
    eventually(lambda: composed.inspected(container)["RestartCount"] >= 1, 5 * MINUTES)
    done = ended(callboard, ids)
    assert Counter(job.status for job in done) == {"succeeded": 300}
    assert max(job.attempt for job in done) == 2, "the kill met jobs that ran"


def test_jobs_and_files_outlive_a_restart_of_redis(
    composed: Any, callboard: Callboard, http: httpx.Client, eventually: Wait
) -> None:
    content = os.urandom(200_000)
    stored = http.post("/v1/files", files={"file": ("data.bin", content)}).json()
    before = callboard.jobs.wait(callboard.submit("system.echo", {"value": "before"}), 5 * MINUTES)
    waiting = callboard.submit("system.echo", {"value": "later", "sleep_ms": 2000})
    composed.timed("restart of redis", "restart", "redis")
    eventually(lambda: http.get("/readyz").status_code == 200, 5 * MINUTES)
    assert callboard.jobs.get(before.id).output == {"value": "before"}, (
        "played back from the append-only file"
    )
    assert callboard.jobs.wait(waiting, 10 * MINUTES).status == "succeeded"
    assert http.get(f"/v1/files/{stored['id']}/content").content == content


def test_workers_have_a_way_out_and_the_ledger_has_none(composed: Any) -> None:
    """Providers, pictures and webhooks are fetched and asked by https from these; nothing is sent here."""

    def has_way_out(service: str) -> bool:
        routes = composed.compose("exec", "-T", service, "cat", "/proc/net/route").splitlines()[1:]
        return any(route.split()[1] == "00000000" for route in routes)

    for service in ("llm-worker", "nlp-worker", "vision-worker", "courier"):
        assert has_way_out(service), service
    assert not has_way_out("redis")


def test_the_ledgers_user_may_not_empty_or_configure_it(composed: Any) -> None:
    for command in ("FLUSHALL", "CONFIG SET maxmemory 1", "ACL LIST", "SHUTDOWN"):
        said = composed.compose(
            "exec", "-T", "redis", "sh", "-c", f"redis-cli --user callboard {command} 2>&1"
        )
        assert "NOPERM" in said, said
    said = composed.compose("exec", "-T", "redis", "sh", "-c", "env -u REDISCLI_AUTH redis-cli ping 2>&1")
    assert "NOAUTH" in said


def test_no_container_has_what_is_not_its_own(composed: Any) -> None:
    def names(service: str) -> set[str]:
        environment = composed.inspected(composed.containers(service)[0])["Config"]["Env"]
        return {line.split("=")[0] for line in environment}

    assert "OPENAI_API_KEY" not in names("gateway")
    assert all(
        "CALLBOARD_ADMIN_KEY" not in names(one)
        for one in ("nlp-worker", "llm-worker", "vision-worker", "courier")
    )


def test_images_are_small_and_say_what_they_are(composed: Any) -> None:
    for service in ("gateway", "nlp-worker", "llm-worker", "vision-worker", "courier"):
        image = composed.inspected(composed.inspected(composed.containers(service)[0])["Image"])
        composed.figures[f"image {service}"] = f"{image['Size'] / 1e6:.0f} MB"
        assert image["Config"]["Labels"]["org.opencontainers.image.title"] == f"callboard-{service}"
        assert service != "gateway" or image["Size"] <= 200e6
    usage = composed.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    composed.figures["memory"] = "\n" + usage


def test_what_is_installed_in_an_image_is_what_its_list_says(composed: Any, tmp_path: Path) -> None:
    """`make sbom` reads the locks; here the images are asked themselves."""
    subprocess.run([sys.executable, ROOT / "deploy" / "sbom.py", tmp_path], check=True, capture_output=True)
    of_cuda = os.environ.get("TORCH_INDEX") == ""
    ask = (
        "import sys, importlib.metadata as m; ours = [one for one in sys.path if one.startswith('/opt/')]; "
        "print(*{d.metadata['Name'] + '==' + d.version for d in m.distributions(path=ours)})"
    )
    for name in ("gateway", "nlp-worker", "llm-worker", "vision-worker", "courier"):
        installed = composed.compose("exec", "-T", name, "python", "-c", ask).split()
        found = {
            re.sub(r"[-_.]+", "-", one.partition("==")[0]).lower(): one.partition("==")[2]
            for one in installed
        }
        cuda = "-gpu" if of_cuda and name in ("nlp-worker", "vision-worker") else ""
        told = json.loads((tmp_path / f"callboard-{name}{cuda}.cdx.json").read_text("utf-8"))["components"]
        listed = {one["name"]: one["version"] for one in told if one.get("scope") != "excluded"}
        without_build = {one: version.partition("+")[0] for one, version in found.items()}  # 2.14.1+cpu
        assert without_build == listed, name


def test_a_change_of_code_installs_nothing_anew(composed: Any, tmp_path: Path) -> None:
    """Built from a copy in which one line is new; all layers but the code's own are the same."""
    for name in ("shared", "services"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    (tmp_path / "deploy").mkdir()
    for name in ("docker-compose.yml", "constraints.txt", ".dockerignore", "deploy/worker_health.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    with (tmp_path / "shared/src/callboard_shared/ids.py").open("a") as module:
        module.write("\n# Changed.\n")
    tag = f"{composed.tag}-changed"
    composed.timed("build, code changed", "build", here=tmp_path, CALLBOARD_TAG=tag)
    before, after = composed.layers(composed.tag), composed.layers(tag)
    try:
        for name, layers in after.items():
            assert layers != before[name], name
            assert len(set(layers) - set(before[name])) <= 2, f"{name}: the code's layer, and what lies on it"
    finally:
        composed.remove_images(tag)
