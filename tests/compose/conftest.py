"""The compose stack, built and started for these tests alone: a project, a port, secrets, volumes and tags of its own.

``CALLBOARD_E2E_MODELS``: a folder of default models that are made already (``~/.cache/callboard/models`` after
``make setup``), copied into the stack's volume; without it the stack makes them, which takes minutes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MINUTES = 60
IMAGES = ("gateway", "nlp-worker", "llm-worker", "vision-worker", "courier")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Composed:
    """``docker compose`` of one project; ``figures`` is printed when the stack has been taken down."""

    def __init__(self, folder: Path) -> None:
        self._packed = folder / "models.tar"
        self.port = free_port()
        self.tag = f"e2e-{secrets.token_hex(3)}"
        self.key = f"cb_composed_{secrets.token_urlsafe(32)}"
        self.figures: dict[str, Any] = {}
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"callboard-{self.tag}",
            "CALLBOARD_TAG": self.tag,
            "CALLBOARD_PORT": str(self.port),
            "CALLBOARD_ADMIN_KEY": self.key,
            "CALLBOARD_REDIS_PASSWORD": secrets.token_urlsafe(32),
            "CALLBOARD_OPERATOR_PASSWORD": secrets.token_urlsafe(32),
            "OPENAI_API_KEY": "",
            "ELEVENLABS_API_KEY": "",
        }

    def docker(self, *arguments: str, here: Path = ROOT, **environment: str) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True, text=True, cwd=here, env={**self._environment, **environment},
            timeout=60 * MINUTES, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"docker {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def compose(self, *arguments: str, here: Path = ROOT, **environment: str) -> str:
        return self.docker("compose", *arguments, here=here, **environment)

    def timed(self, name: str, *arguments: str, here: Path = ROOT, **environment: str) -> None:
        began = time.monotonic()
        self.compose(*arguments, here=here, **environment)
        self.figures[name] = f"{time.monotonic() - began:.0f} s"

    def bring_models(self, folder: Path, service: str) -> None:
        """Put models that are made into the volume of the cache, as the user of the containers."""
        with tarfile.open(self._packed, "w") as archive:
            archive.add(folder, "models", filter=lambda one: None if one.name.endswith(".lock") else one)
        unpack = ["run", "--rm", "-T", "--no-deps", service, "tar", "-x", "--no-same-owner", "-C", "cache"]
        with self._packed.open("rb") as archive:
            subprocess.run(
                ["docker", "compose", *unpack], cwd=ROOT, env=self._environment, stdin=archive, check=True
            )

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def inspected(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def healthy(self, service: str, number: int) -> bool:
        states = [self.inspected(one)["State"] for one in self.containers(service)]
        return [state.get("Health", {}).get("Status") for state in states] == ["healthy"] * number

    def layers(self, tag: str) -> dict[str, list[str]]:
        return {name: self.inspected(f"callboard-{name}:{tag}")["RootFS"]["Layers"] for name in IMAGES}

    def remove_images(self, tag: str) -> None:
        """The layers stay in the builder's cache, for the next time."""
        there = self.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        ours = [name for name in there if name.startswith("callboard-") and name.endswith(f":{tag}")]
        if ours:
            self.docker("image", "rm", *ours)


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers here: `docker info` fails")
    stack = Composed(tmp_path_factory.mktemp("composed"))
    try:
        stack.timed("build of what the cache does not have", "build")
        stack.timed("build, nothing changed", "build")
        if models := os.environ.get("CALLBOARD_E2E_MODELS"):
            stack.bring_models(Path(models), "nlp-models")
        stack.timed("up until healthy", "up", "-d", "--wait", "--scale", "nlp-worker=2")
        yield stack
    finally:
        stack.compose("--profile", "*", "down", "-v", "--remove-orphans")
        stack.remove_images(stack.tag)
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
