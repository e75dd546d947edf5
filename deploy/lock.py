"""`make lock`: one pinned, hashed requirements.lock for each service image, all under constraints.txt.

A lock holds the third-party packages of a service and of `callboard-shared`; an image installs it with
`pip install --require-hashes -r requirements.lock`, then the two distributions themselves with `--no-deps`.

torch stays out of these locks: an image takes it from the index that suits its hardware. For the CPU index
services/requirements-torch.lock pins it; services/requirements-torch-gpu.lock pins and hashes PyPI's builds with what
they need for CUDA. What torch itself imports is locked with the rest.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_FAMILY = ("torch", "torchvision", "triton")
TORCH_IMPORTS = (
    "filelock",
    "fsspec",
    "jinja2",
    "networkx",
    "numpy",
    "pillow",
    "setuptools",
    "sympy",
    "typing-extensions",
)
WINDOWLESS = {"opencv-python": "opencv-python-headless"}
"""The same library without Qt: an image has no windows, and none of the system's libraries that draw them."""
LOCAL = "callboard-"
WITH_TORCH = ("nvidia-", "cuda-")  # what only torch's CUDA build needs comes with it
BESIDE_TORCH = ("nvidia-ml-py",)  # of that name, and needed by ultralytics

HEADER = """\
# {name}: every third-party package of its image, pinned and hashed, for Python {python} on Linux.
# Made by 'make lock' from the pyproject.toml files and constraints.txt; do not edit.
"""
TORCH_HEADER = """\
# torch from PyTorch's CPU index: pip install --no-deps --index-url INDEX -r requirements-torch.lock
# Exact, and without hashes: the files of that index are others than PyPI's, whose hashes 'make lock' knows.
"""
OTEL_HEADER = """\
# What traces need (callboard-shared[otel]), pinned and hashed, for Python {python}: for images built with OTEL=1.
# Made by 'make lock' from shared/pyproject.toml and constraints.txt; do not edit.
"""
TORCH_GPU_HEADER = """\
# torch of PyPI and what it needs for CUDA, pinned and hashed, for Python {python} on Linux (x86-64 and arm64).
# Made by 'make lock' from constraints.txt; do not edit.
"""


def requirement_name(requirement: str) -> str:
    """The normalised project name that a requirement line begins with (PEP 503)."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement.strip())
    if match is None:
        raise SystemExit(f"lock: cannot read the requirement {requirement!r}")
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def services() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "services").glob("*/pyproject.toml"))


def declared(folder: Path) -> tuple[str, list[str]]:
    """Name and dependencies of the distribution in a folder."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project["name"], list(project.get("dependencies", []))


def locked(requirements: list[str]) -> list[str]:
    """What a lock is made of: what a service declares less torch and ours, and what torch imports if it has it."""
    names = {requirement_name(requirement) for requirement in requirements}
    rest = [
        r
        for r in requirements
        if requirement_name(r) not in TORCH_FAMILY and not requirement_name(r).startswith(LOCAL)
    ]
    windowless = [WINDOWLESS[name] for name in sorted(names & set(WINDOWLESS))]
    return rest + windowless + (list(TORCH_IMPORTS) if names & set(TORCH_FAMILY) else [])


def pins() -> dict[str, str]:
    """Every line `name==version` of constraints.txt, by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        requirement_name(line): line.strip() for line in lines if "==" in line and not line.startswith("#")
    }


def compile_lock(requirements: list[str]) -> str:
    """pip-compile's answer, without index addresses, paths or annotations."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "lock.in"), Path(folder, "lock.txt")
        source.write_text("\n".join(requirements) + "\n")
        command = [
            sys.executable,
            "-m",
            "piptools",
            "compile",
            "--quiet",
            "--generate-hashes",
            "--strip-extras",
        ]
        command += [
            "--allow-unsafe",
            "--no-header",
            "--no-annotate",
            "--no-emit-options",
            "--no-emit-index-url",
        ]
        command += [
            "--no-emit-find-links",
            "--no-emit-trusted-host",
            "--constraint",
            str(ROOT / "constraints.txt"),
        ]
        subprocess.run([*command, "--output-file", str(target), str(source)], check=True)
        lines = target.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.startswith("#"))


def of_torch(requirement: str) -> bool:
    """Is it torch, or what only torch's CUDA build needs?"""
    name = requirement_name(requirement)
    return name in TORCH_FAMILY or (name.startswith(WITH_TORCH) and name not in BESIDE_TORCH)


def single(lock: str) -> list[str]:
    """The requirements of a lock, each with its hashes."""
    return re.split(r"^(?=\S)", lock, flags=re.M)[1:]


def for_image(lock: str) -> str:
    """A lock less torch, what comes with torch, and what draws windows, which libraries may require as well."""
    return "".join(
        one for one in single(lock) if not of_torch(one) and requirement_name(one) not in WINDOWLESS
    )


def lock_torch(python: str) -> None:
    pinned = pins()
    family = [pinned[package] for package in ("torch", "torchvision")]
    (ROOT / "services" / "requirements-torch.lock").write_text(
        TORCH_HEADER + "".join(f"{pin}\n" for pin in family)
    )
    hashed = [one for one in single(compile_lock(family)) if of_torch(one)]
    (ROOT / "services" / "requirements-torch-gpu.lock").write_text(
        TORCH_GPU_HEADER.format(python=python) + "".join(hashed)
    )


def lock_otel(python: str) -> None:
    project = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]
    (ROOT / "services" / "requirements-otel.lock").write_text(
        OTEL_HEADER.format(python=python) + compile_lock(project["optional-dependencies"]["otel"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the lock file of each service image anew.")
    parser.add_argument("service", nargs="*", help="folders under services/ (all of them if none is given)")
    wanted = set(parser.parse_args().service)
    _, shared = declared(ROOT / "shared")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    for folder in services():
        if wanted and folder.name not in wanted:
            continue
        name, own = declared(folder)
        (folder / "requirements.lock").write_text(
            HEADER.format(name=name, python=python) + for_image(compile_lock(locked(shared + own)))
        )
        print(f"{folder.name}: locked")
    if not wanted:
        lock_torch(python)
        lock_otel(python)
        print("torch, otel: locked")


if __name__ == "__main__":
    main()
