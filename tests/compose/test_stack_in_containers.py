"""`make e2e-compose`: the stack in containers, as docker-compose.yml has it, under load and under faults."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from callboard_client import Callboard

Composed = Any

pytestmark = pytest.mark.timeout(1800)
Wait = Callable[[Callable[[], object], float], None]


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
    return [callboard.jobs.wait(one, 300) for one in ids]


def test_every_job_types_example_runs_in_containers(composed: Any, callboard: Callboard) -> None:
    types = callboard.job_types()
    jobs = [(one.name, callboard.submit(one.name, one.example)) for one in types]
    wrong = {
        name: job.error
        for name, job in ((n, callboard.jobs.wait(j, 600)) for n, j in jobs)
        if job.status != "succeeded"
    }
    assert wrong == {}
    composed.figures["job types run"] = len(types)


def test_both_workers_of_a_kind_take_part(composed: Any, callboard: Callboard) -> None:
    done = ended(callboard, embed(callboard, 200))
    assert Counter(job.status for job in done) == {"succeeded": 200}
    by = Counter(str(job.worker).split("@")[-1] for job in done)
    composed.figures["200 jobs, by container"] = dict(by)
    assert len(by) == 2


def test_scaling_up_and_down_under_load_loses_no_job(
    composed: Any, callboard: Callboard, eventually: Wait
) -> None:
    ids = embed(callboard, 600)
    composed.timed("2 to 4 workers", "up", "-d", "--no-recreate", "--scale", "nlp-worker=4")
    eventually(lambda: composed.healthy("nlp-worker", 4), 300)
    ids += embed(callboard, 600)
    composed.timed("4 to 1 worker", "up", "-d", "--no-recreate", "--scale", "nlp-worker=1")
    assert len(composed.containers("nlp-worker")) == 1
    done = ended(callboard, ids)
    assert Counter(job.status for job in done) == {"succeeded": 1200}
    composed.figures["1200 jobs while scaling, by container"] = len({str(job.worker) for job in done})


def test_a_killed_container_comes_back_and_its_jobs_end(
    composed: Any, callboard: Callboard, eventually: Wait
) -> None:
    composed.compose("up", "-d", "--no-recreate", "--scale", "nlp-worker=1")
    ids = embed(callboard, 300)
    (container,) = composed.containers("nlp-worker")
    eventually(lambda: any(callboard.jobs.get(one).status == "running" for one in ids[:50]), 60)
    os.kill(composed.inspected(container)["State"]["Pid"], signal.SIGKILL)
    eventually(lambda: composed.inspected(container)["RestartCount"] >= 1, 60)
    assert Counter(job.status for job in ended(callboard, ids)) == {"succeeded": 300}


def test_jobs_and_files_outlive_a_restart_of_redis(
    composed: Any, callboard: Callboard, http: httpx.Client
) -> None:
    content = os.urandom(200_000)
    stored = http.post("/v1/files", files={"file": ("data.bin", content)}).json()
    before = callboard.jobs.wait(callboard.submit("system.echo", {"value": "before"}), 30)
    waiting = callboard.submit("system.echo", {"value": "later", "sleep_ms": 2000})
    composed.timed("restart of redis", "restart", "redis")
    assert callboard.jobs.get(before.id).output == {"value": "before"}, (
        "played back from the append-only file"
    )
    assert callboard.jobs.wait(waiting, 60).status == "succeeded"
    assert http.get(f"/v1/files/{stored['id']}/content").content == content


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
