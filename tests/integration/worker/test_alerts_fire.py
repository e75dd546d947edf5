"""A real Prometheus, with the settings and alerts that deploy/observability has, beside a real gateway and worker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from trials import Trial, until

HERE = Path(__file__).parents[3] / "deploy" / "observability"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not installed (Debian: apt install prometheus)",
    ),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def program(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, cwd=log.parent
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def hurried(folder: Path, target: str) -> Path:
    """Our settings with another target, and with seconds in place of minutes; gives the settings' file."""
    settings = (HERE / "prometheus.yml").read_text()
    settings = settings.replace("gateway:9464", target).replace("15s", "1s")
    assert target in settings
    alerts = re.sub(r"for: (\d+)m", r"for: \1s", (HERE / "alerts.yml").read_text())
    (folder / "alerts.yml").write_text(alerts)
    (folder / "prometheus.yml").write_text(settings)
    return folder / "prometheus.yml"


class Watched:
    """What Prometheus says at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def firing(self) -> set[tuple[str, str]]:
        """Names and queues of the alerts that fire."""
        try:
            alerts: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v1/alerts").json()["data"]["alerts"]
        except httpx.HTTPError:
            return set()
        return {
            (one["labels"]["alertname"], one["labels"].get("queue", ""))
            for one in alerts
            if one["state"] == "firing"
        }

    def value(self, query: str) -> float | None:
        try:
            result = httpx.get(f"{self.url}/api/v1/query", params={"query": query}).json()["data"]["result"]
        except (httpx.HTTPError, KeyError, ValueError):
            return None
        return float(result[0]["value"][1]) if result else None


def test_alerts_fire_when_a_worker_and_then_the_gateway_is_killed(trial: Trial, tmp_path: Path) -> None:
    metrics, port, own = free_port(), free_port(), free_port()
    with ExitStack() as running:
        gateway = running.enter_context(
            program(
                [sys.executable, "-m", "callboard_gateway"], tmp_path / "gateway.log",
                CALLBOARD_REDIS_URL=trial.url, CALLBOARD_BROKER_URL=trial.broker, CALLBOARD_HOME=str(tmp_path),
                CALLBOARD_FILES_DIR=str(tmp_path / "files"), CALLBOARD_PORT=str(port),
                CALLBOARD_METRICS_PORT=str(metrics),
            )
        )  # fmt: skip
        worker = trial.worker()
        running.enter_context(
            program(
                ["prometheus", f"--config.file={hurried(tmp_path, f'127.0.0.1:{metrics}')}",
                 f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{own}"],
                tmp_path / "prometheus.log",
            )
        )  # fmt: skip
        prometheus = Watched(f"http://127.0.0.1:{own}")
        workers = 'max(callboard_queue_workers{queue="nlp"})'
        until(lambda: prometheus.value(workers) == 1, 60, "a scrape saw the worker", every_s=0.2)
        until(lambda: prometheus.firing() == set(), 30, "nothing fires while all is well", every_s=0.2)

        worker.kill()
        trial.submit(trial.job("give", "x"))
        away = ("CallboardNoWorker", "nlp")
        until(lambda: away in prometheus.firing(), 60, "the alert that no worker is there", every_s=0.2)
        trial.worker()
        until(lambda: away not in prometheus.firing(), 60, "the alert ends", every_s=0.2)

        gateway.kill()
        until(
            lambda: ("CallboardGatewayAway", "") in prometheus.firing(),
            60,
            "the gateway's alert",
            every_s=0.2,
        )
