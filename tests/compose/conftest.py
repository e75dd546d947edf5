"""The compose stack, built and started for these tests alone: a project, a port, secrets and volumes of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MINUTES = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Composed:
    """``docker compose`` of one project; ``figures`` is printed when the stack has been taken down."""

    def __init__(self) -> None:
        self.port = free_port()
        self.key = f"cb_composed_{secrets.token_urlsafe(32)}"
        self.figures: dict[str, Any] = {}
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"callboard-e2e-{secrets.token_hex(3)}",
            "CALLBOARD_PORT": str(self.port),
            "CALLBOARD_ADMIN_KEY": self.key,
            "CALLBOARD_REDIS_PASSWORD": secrets.token_urlsafe(32),
            "CALLBOARD_OPERATOR_PASSWORD": secrets.token_urlsafe(32),
            "OPENAI_API_KEY": "",
            "ELEVENLABS_API_KEY": "",
        }

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True, text=True, cwd=ROOT, env=self._environment, timeout=30 * MINUTES, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"docker {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.docker("compose", *arguments)

    def timed(self, name: str, *arguments: str) -> None:
        began = time.monotonic()
        self.compose(*arguments)
        self.figures[name] = f"{time.monotonic() - began:.0f} s"

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def inspected(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def healthy(self, service: str, number: int) -> bool:
        states = [self.inspected(one)["State"] for one in self.containers(service)]
        return [state.get("Health", {}).get("Status") for state in states] == ["healthy"] * number


@pytest.fixture(scope="session")
def composed() -> Iterator[Composed]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers here: `docker info` fails")
    stack = Composed()
    try:
        stack.timed("build", "build")
        stack.timed("build, nothing changed", "build")
        stack.timed("up until healthy", "up", "-d", "--wait", "--scale", "nlp-worker=2")
        yield stack
    finally:
        stack.compose("--profile", "*", "down", "-v", "--remove-orphans")
        print("\n" + "\n".join(f"{name}: {figure}" for name, figure in stack.figures.items()))


@pytest.fixture
def http(composed: Composed) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {composed.key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{composed.port}", headers=headers, timeout=90) as client:
        yield client


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], float], None]:
    """Waits until something outside of this process is so."""

    def wait(holds: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it did not come to be in time"
            time.sleep(0.5)

    return wait
