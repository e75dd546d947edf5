"""Who may import whom, and what a process must not carry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATEWAY_LIBRARIES = (
    "fastapi",
    "redis.asyncio",
    "celery.app",
    "jinja2",
    "prometheus_client",
    "structlog",
    "limits",
    "yaml",
)
MODEL_LIBRARIES = ("torch", "transformers", "numpy", "cv2", "onnxruntime", "openvino")


def imported_by(module: str) -> dict[str, float | list[str]]:
    """What a fresh interpreter has loaded after importing a module, and the seconds of CPU that took."""
    code = (
        "import json, sys, time; began = time.process_time();"
        f"import {module};"
        "print(json.dumps({'seconds': time.process_time() - began, 'modules': list(sys.modules)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout))


def seconds(modules: str) -> float:
    return float(imported_by(modules)["seconds"])  # type: ignore[arg-type]


def roots(found: dict[str, float | list[str]]) -> set[str]:
    modules = found["modules"]
    assert isinstance(modules, list)
    return {name.split(".")[0] for name in modules}


def test_the_import_rules_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module",
    ["callboard_gateway.app", "callboard_shared.ledger", "callboard_shared.worker", "callboard_courier.main"],
)
def test_the_light_processes_load_no_model_library(module: str) -> None:
    assert not roots(imported_by(module)) & set(MODEL_LIBRARIES)


def test_the_gateway_starts_without_any_model_library_installed(tmp_path: Path) -> None:
    """As in its image: whoever imports one of them there gets an ImportError."""
    for name in MODEL_LIBRARIES:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not in this image')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import callboard_gateway.app"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_gateway_is_imported_in_little_more_than_its_libraries_are() -> None:
    """In the same minute on the same machine; the seconds themselves are the bench's (group e)."""
    ours = min(seconds("callboard_gateway.app") for _ in range(3))
    theirs = min(seconds(", ".join(GATEWAY_LIBRARIES)) for _ in range(3))
    assert ours < 3 * theirs


@pytest.mark.parametrize(
    "module", ["callboard_gateway.app", "callboard_shared.worker", "callboard_shared.urls"]
)
def test_only_what_goes_out_loads_an_http_client(module: str) -> None:
    assert not roots(imported_by(module)) & {"httpx", "httpcore"}


def test_the_catalogue_of_job_types_needs_only_pydantic() -> None:
    heavy = {"celery", "kombu", "redis", "fastapi", "structlog", "orjson", "numpy", "torch"}
    assert not roots(imported_by("callboard_shared.jobs")) & heavy


def test_the_client_loads_nothing_of_the_services() -> None:
    found = roots(imported_by("callboard_client._sync, callboard_client._async"))
    assert {name for name in found if name.startswith("callboard_")} == {"callboard_client"}
    assert not found & {"fastapi", "celery", "redis", "torch"}


def test_the_supervisor_loads_no_service() -> None:
    found = roots(imported_by("callboard_embedded.run"))
    ours = {name for name in found if name.startswith("callboard_")}
    assert ours <= {"callboard_embedded", "callboard_shared", "callboard_client"}
    assert not found & {"celery", "fastapi", "torch"}
