"""Settings of the embedded stack, and the environment that its members are given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from callboard_shared.settings import Settings


class EmbeddedSettings(Settings):
    """Where the stack keeps its data, where it listens, and how many of each member it starts."""

    home: Path = Field(default=Path(".callboard"), description="Folder of everything the stack keeps.")
    host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the gateway listens on.")
    workers: str = Field(
        default="",
        pattern=r"^\s*([a-z][a-z0-9_-]*=\d+\s*(,\s*[a-z][a-z0-9_-]*=\d+\s*)*)?$",
        description="How many of each worker, one unless said otherwise: nlp=2,nlp-train=0.",
    )
    offline: bool = Field(default=False, description="Never ask a model hub; use what is on this machine.")
    stop_grace_s: float = Field(
        default=18, ge=0, le=20, description="Seconds members have to end by themselves."
    )
    ready_timeout_s: float = Field(
        default=180, gt=0, description="Seconds after which slow members are named."
    )

    @property
    def home_path(self) -> Path:
        return self.home.expanduser().absolute()

    def count(self, worker: str) -> int:
        """How many of a worker to start. One is enough for a machine: each uses all cores while it computes."""
        pairs = dict(pair.split("=") for pair in self.workers.replace(" ", "").split(",") if pair)
        return int(pairs.get(worker, 1))

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # nosec B104  # a name, not a listener
        return f"http://{host}:{self.port}"


def member_environment(settings: EmbeddedSettings, redis_url: str, admin_key: str) -> dict[str, str]:
    """What every member finds in its environment; secrets travel here and never on a command line."""
    home = settings.home_path
    fixed = {
        "CALLBOARD_HOME": str(home),
        "CALLBOARD_HOST": settings.host,
        "CALLBOARD_PORT": str(settings.port),
        "CALLBOARD_REDIS_URL": redis_url,
        "CALLBOARD_BROKER_URL": os.environ.get("CALLBOARD_BROKER_URL") or redis_url,
        "CALLBOARD_ADMIN_KEY": admin_key,
        "PYTHONUNBUFFERED": "1",
    }
    if settings.offline:
        fixed |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "YOLO_OFFLINE": "true"}
    defaults = {
        "CALLBOARD_FILES_DIR": str(home / "files"),
        "CALLBOARD_LOG_FORMAT": "text",
        "CALLBOARD_WEBHOOK_ALLOW_PRIVATE": "true",  # loopback only; link-local addresses stay refused
        "CALLBOARD_WEBHOOK_INBOX": "true",
    }
    return {**defaults, **os.environ, **fixed}


def stack_environment(home: Path, port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment in which `python -m callboard_embedded run` starts a stack of its own."""
    own = {"CALLBOARD_HOME": str(home), "CALLBOARD_PORT": str(port), "CALLBOARD_HOST": "127.0.0.1"}
    return {**os.environ, **own, "PYTHONUNBUFFERED": "1", **extra}


__all__ = ["EmbeddedSettings", "member_environment", "stack_environment"]
