"""`make lock`: one pinned, hashed requirements.lock for each service image, all under constraints.txt.

A lock holds the third-party packages of a service and of `callboard-shared`; an image installs it with
`pip install --require-hashes -r requirements.lock`, then the two distributions themselves with `--no-deps`.

torch stays out of the locks: an image takes it from the index that suits its hardware, and the CPU index and
PyPI carry different files (other hashes) of the same version. It is pinned in requirements-torch.lock beside,
and what torch itself imports is locked with the rest, so that `pip install --no-deps` of torch is enough.
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
LOCAL = "callboard-"
WITH_TORCH = ("nvidia-", "cuda-")  # what only torch's CUDA build needs comes with it

HEADER = """\
# {name}: every third-party package of its image, pinned and hashed, for Python {python} on Linux.
# Made by 'make lock' from the pyproject.toml files and constraints.txt; do not edit.
"""
TORCH_HEADER = """\
# {name}: torch, from the index that suits the hardware (PyTorch's CPU index, or PyPI for CUDA):
#   pip install --no-deps --index-url INDEX -r requirements-torch.lock
# Exact, and without hashes, because the two indexes carry different files of the same version.
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


def split(requirements: list[str]) -> tuple[list[str], list[str]]:
    """What goes into requirements.lock, and the torch family's names."""
    torch = sorted({requirement_name(r) for r in requirements} & set(TORCH_FAMILY))
    rest = [
        r
        for r in requirements
        if requirement_name(r) not in TORCH_FAMILY and not requirement_name(r).startswith(LOCAL)
    ]
    return rest + (list(TORCH_IMPORTS) if torch else []), torch


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
    return without_torch("".join(line for line in lines if line.strip() and not line.startswith("#")))


def without_torch(lock: str) -> str:
    """A lock less torch, which a library may require as well, and what comes with torch."""
    requirements = re.split(r"^(?=\S)", lock, flags=re.M)[1:]
    return "".join(
        one
        for one in requirements
        if requirement_name(one) not in TORCH_FAMILY and not requirement_name(one).startswith(WITH_TORCH)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the lock file of each service image anew.")
    parser.add_argument("service", nargs="*", help="folders under services/ (all of them if none is given)")
    wanted = set(parser.parse_args().service)
    _, shared = declared(ROOT / "shared")
    pinned, python = pins(), f"{sys.version_info.major}.{sys.version_info.minor}"
    for folder in services():
        if wanted and folder.name not in wanted:
            continue
        name, own = declared(folder)
        rest, torch = split(shared + own)
        (folder / "requirements.lock").write_text(
            HEADER.format(name=name, python=python) + compile_lock(rest)
        )
        if torch:
            family = "".join(f"{pinned[package]}\n" for package in ("torch", "torchvision"))
            (folder / "requirements-torch.lock").write_text(TORCH_HEADER.format(name=name) + family)
        print(f"{folder.name}: locked")


if __name__ == "__main__":
    main()
