"""Settings by environment (``CALLBOARD_…``) or ``.env``, in small groups, each read by what uses it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from callboard_shared.urls import Policy


class Settings(BaseSettings):
    """Base of every group; an environment variable beats a line of ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="CALLBOARD_", env_file=".env", extra="ignore", frozen=True, protected_namespaces=()
    )


class LedgerSettings(Settings):
    """Where the ledger is. A Redis 7 or Valkey 7.2+ with an append-only file and ``noeviction``."""

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="The ledger: a Redis 7 or Valkey 7.2+, append-only, with `noeviction`; or its Sentinels, "
        "[`redis+sentinel://…`](scaling.md#redis).",
    )
    redis_timeout_s: float = Field(default=1.5, gt=0, description="Seconds for one answer of the ledger.")


class BrokerSettings(Settings):
    """Where Celery's messages go: the ledger's Redis unless said otherwise; any broker of Celery's will do."""

    broker_url: SecretStr | None = None


class FileSettings(Settings):
    """Where files lie: a folder that gateway and workers share, or a bucket."""

    home: Path = Field(default=Path(".callboard"), description="Folder of the embedded stack's data.")
    files_dir: Path | None = Field(
        default=None, description="Folder of the object store; HOME/files if not set."
    )
    files_url: str | None = Field(
        default=None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[!-~]*)?$",
        description="s3://BUCKET/PREFIX: the object store is there instead; see [files.md](files.md).",
    )
    inline_output_bytes: int = Field(default=256 * 1024, description="Outputs larger than this become files.")

    @property
    def files_path(self) -> Path:
        return (self.files_dir or self.home / "files").absolute()


class ModelSettings(Settings):
    """Where models are looked for, besides the offline pack, and where what is made from them is kept."""

    models_dir: Path | None = Field(
        default=None, description="Operator's folder of models; HOME/models if not set."
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Models converted for speed, kept across stacks; the user's cache folder if not set.",
    )
    default_models_dir: Path | None = Field(
        default=None, description="Default models that the set-up made; CACHE_DIR/models if not set."
    )
    model_cache_bytes: int = Field(
        default=20 * 1024**3,
        gt=0,
        description="Trained models kept on this machine; the oldest use goes first.",
    )
    model_memory_bytes: int = Field(
        default=2 * 1024**3,
        gt=0,
        description="Models that one process holds, by the size of their files; the oldest use makes room.",
    )
    home: Path = Path(".callboard")

    @property
    def models_path(self) -> Path:
        return (self.models_dir or self.home / "models").absolute()

    @property
    def default_models_path(self) -> Path:
        return (self.default_models_dir or self.cache_path / "models").absolute()

    @property
    def fetched_weights_path(self) -> Path:
        """What ultralytics publishes, fetched when it was asked for."""
        return self.cache_path / "ultralytics" / "weights"

    @property
    def cache_path(self) -> Path:
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return (self.cache_dir or users / "callboard").absolute()


class OutboundSettings(Settings):
    """Which URLs of users are asked for, and how much patience inputs by URL are given."""

    webhook_allow_private: bool = Field(
        default=False, description="Permit loopback webhook and input URLs, also over http, on any port."
    )
    fetch_max_bytes: int = Field(
        default=1024**3, gt=0, description="Largest file that an input may name by URL."
    )
    fetch_timeout_s: float = Field(
        default=120, gt=0, description="Seconds in which an input named by URL must have arrived."
    )
    fetch_min_bytes_per_s: int = Field(
        default=1024,
        ge=0,
        description="Slowest arrival of an input named by URL, over 10 s; 0: any that does not stop.",
    )

    @property
    def policy(self) -> Policy:
        return Policy(self.webhook_allow_private)


class WorkerSettings(Settings):
    """How a worker takes and holds work."""

    lease_s: float = Field(default=15, gt=0, description="Seconds a claim holds without a renewal.")
    heartbeat_s: float = Field(default=5, gt=0, description="Seconds between renewals.")
    cancel_grace_s: float = Field(default=10, ge=0, description="Seconds a handler has to notice a cancel.")
    shutdown_grace_s: float = Field(default=15, ge=0, description="Seconds running jobs have after SIGTERM.")
    slice_s: float = Field(default=20, gt=0, description="Seconds one answered bell goes on claiming.")
    linger_s: float = Field(
        default=1, ge=0, description="Seconds an idle answerer listens before it hangs up."
    )
    health_file: Path | None = Field(
        default=None, description="Written while the worker is well; what a container's health check reads."
    )


class LogSettings(Settings):
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(
        default="json", pattern="^(json|text)$", description="json or text; one line an event."
    )


def cpu_count() -> int:
    """Cores this process may use (cgroup limits as the scheduler shows them)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
