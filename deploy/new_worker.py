"""`make new-worker NAME=audio`: a worker of its own, with a first job type that runs, joined to everything.

Writes the distribution `services/NAME_worker`, the module of its job types in `callboard_shared.jobs`, a test,
and the lines by which catalogue, stack, install list, type checker and import rules know it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAKEN = {"shared", "client", "gateway", "embedded", "base", "system", "worker"}

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "callboard-{name}"
version = "0.1.0"
description = "The {name} worker of Callboard."
requires-python = ">=3.11,<3.14"
license = "Apache-2.0"
dependencies = [
    "callboard-shared",
]

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
callboard_{name} = ["py.typed"]
"""

INIT = '"""The {name} worker of Callboard."""\n'

MAIN_MODULE = '''\
"""``python -m callboard_{name}`` becomes the worker's Celery process."""

from callboard_{name}.main import worker

worker.main()
'''

MAIN = '''\
"""The {name} worker: wires handlers to job types. Libraries are loaded in the process that runs jobs."""

from __future__ import annotations

from callboard_{name}.handlers import count
from callboard_shared.jobs import {upper}_COUNT
from callboard_shared.worker import Worker

worker = Worker("{name}", queues=("{name}",))
worker.handles({upper}_COUNT)(count)
app = worker.celery
'''

HANDLERS = '''\
"""What the {name} worker does. A handler gets a job and gives its output; raise JobError to fail with a reason."""

from __future__ import annotations

from callboard_shared.jobs.{name} import CountInput, CountOutput
from callboard_shared.worker import Job


def count(job: Job[CountInput]) -> CountOutput:
    return CountOutput(characters=len(job.input.text), words=len(job.input.text.split()))
'''

JOBS = '''\
"""Jobs of the {name} worker."""

from __future__ import annotations

from pydantic import Field

from callboard_shared.jobs.base import Input, JobType, Output


class CountInput(Input):
    text: str = Field(min_length=1, max_length=200_000, description="The text to count.")


class CountOutput(Output):
    characters: int
    words: int


{upper}_COUNT = JobType(
    name="{name}.count",
    queue="{name}",
    input=CountInput,
    output=CountOutput,
    summary="Count the characters and words of a text.",
    example={{"text": "Replace this by what the worker is for."}},
)
'''

TEST = '''\
"""The {name} worker's handlers, called as the runtime calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from callboard_{name}.handlers import count
from callboard_shared.jobs import {upper}_COUNT


def test_the_example_is_counted() -> None:
    job: Any = SimpleNamespace(input={upper}_COUNT.input.model_validate({upper}_COUNT.example))
    assert count(job).words == 8
'''


class NotPossible(Exception):
    """The worker cannot be made; the message says why."""


def new_files(name: str) -> dict[str, str]:
    """Contents by path, relative to the repository."""
    package = f"services/{name}_worker/src/callboard_{name}"
    texts = {
        f"services/{name}_worker/pyproject.toml": PYPROJECT,
        f"{package}/__init__.py": INIT,
        f"{package}/__main__.py": MAIN_MODULE,
        f"{package}/main.py": MAIN,
        f"{package}/handlers.py": HANDLERS,
        f"{package}/py.typed": "",
        f"shared/src/callboard_shared/jobs/{name}.py": JOBS,
        f"tests/unit/{name}/test_{name}_handlers.py": TEST,
    }
    return {path: text.format(name=name, upper=name.upper()) for path, text in texts.items()}


def after(pattern: str, addition: str) -> Callable[[str], str]:
    """An edit: the addition behind the first match of a pattern."""

    def edit(text: str) -> str:
        match = re.search(pattern, text, re.M | re.S)
        if match is None:
            raise NotPossible(f"there is no {pattern!r} any more")
        return text[: match.end()] + addition + text[match.end() :]

    return edit


def imported(line: str) -> Callable[[str], str]:
    """An edit: an import more among those of the job modules, in order."""

    def edit(text: str) -> str:
        statement = r"from callboard_shared\.jobs\.\w+ import (?:\([^)]*\)|\w)[^\n]*\n"
        block = re.search(f"(?:{statement})+", text)
        if block is None:
            raise NotPossible("its imports are not as they were")
        statements = sorted([*re.findall(statement, block.group()), f"{line}\n"])
        return text[: block.start()] + "".join(statements) + text[block.end() :]

    return edit


def everywhere(line: str, addition: str) -> Callable[[str], str]:
    """An edit: a line more behind each line that reads so."""

    def edit(text: str) -> str:
        if line not in text:
            raise NotPossible(f"there is no line {line!r} any more")
        return text.replace(line, line + addition)

    return edit


def edits(name: str) -> list[tuple[str, Callable[[str], str]]]:
    """By path, how the files that list all workers come to list this one too."""
    catalogue, upper = "shared/src/callboard_shared/jobs/__init__.py", name.upper()
    members = "deploy/embedded/src/callboard_embedded/members.py"
    return [
        (catalogue, imported(f"from callboard_shared.jobs.{name} import {upper}_COUNT")),
        (catalogue, after(r"CATALOGUE = Catalogue\(\s*", f"{upper}_COUNT, ")),
        (catalogue, after(r"QUEUES = \([^)]*(?=\))", f', "{name}"')),
        (catalogue, after(r"__all__ = \[\s*", f'"{upper}_COUNT", ')),
        (members, after(r"WORKERS = \{\n", f'    "{name}": Role("{name}", ("{name}",)),\n')),
        ("requirements.txt", everywhere("-e ./services/vision_worker\n", f"-e ./services/{name}_worker\n")),
        (".importlinter", everywhere("    callboard_vision\n", f"    callboard_{name}\n")),
        ("pyproject.toml", after(r'mypy_path = \[\n', f'    "services/{name}_worker/src",\n')),
        ("pyproject.toml", after(r'packages = \[\n', f'    "callboard_{name}",\n')),
    ]  # fmt: skip


def scaffold(root: Path, name: str) -> list[str]:
    """Makes the worker in a checkout. Returns the paths written. Raises NotPossible, having written nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9]{1,19}", name):
        raise NotPossible(f"{name!r} is no name: 2 to 20 lower-case letters and digits, a letter first")
    files = new_files(name)
    if name in TAKEN or any((root / path).exists() for path in files):
        raise NotPossible(f"there is a {name} already")
    changed: dict[str, str] = {}
    for path, edit in edits(name):
        try:
            changed[path] = edit(changed.get(path) or (root / path).read_text())
        except NotPossible as error:
            raise NotPossible(f"{path} has changed its form: {error}") from None
    for path, text in {**files, **changed}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return [*files, *changed]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if not name:
        raise SystemExit("usage: make new-worker NAME=audio")
    try:
        written = scaffold(ROOT, name)
    except NotPossible as error:
        raise SystemExit(f"make new-worker: {error}") from None
    print("\n".join(f"  {path}" for path in written))
    print(f"\nThe worker {name} has a first job type, {name}.count. To see it run: make demo")
    print(f"Then: what it takes and gives in shared/src/callboard_shared/jobs/{name}.py, what it does in")
    print(f"services/{name}_worker/src/callboard_{name}/handlers.py, and make lock for its image.")


if __name__ == "__main__":
    main()
