"""What is installed: exact versions everywhere the same, hashed in images, under licences we may use."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent for path in (ROOT / "services").glob("*/pyproject.toml"))
TORCH_FAMILY = {"torch", "torchvision", "triton"}
IN_IMAGES = {"opencv-python": "opencv-python-headless"}
"""The same library, without windows."""
COPYLEFT_PARTS = {
    "llm_worker": {"piper-tts"},
    "vision_worker": {"ultralytics", "ultralytics-platform", "ultralytics-thop"},
}
"""In these workers alone; docs/optional-parts.md says what that means and how to do without."""
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)", re.M)
COPYLEFT = re.compile(r"\bA?GPL|GNU (Affero )?General Public|SSPL|Commons Clause", re.I)


def pins(path: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(path.read_text())}


def declared(folder: Path) -> set[str]:
    """What a distribution needs on the Python of the images."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["dependencies"]]
    return {
        canonicalize_name(one.name)
        for one in requirements
        if one.marker is None or one.marker.evaluate({"python_version": "3.11"})
    }


CONSTRAINTS = pins(ROOT / "constraints.txt")
WITH_TORCH = [folder for folder in SERVICES if "torch" in declared(folder)]
ids = [folder.name for folder in SERVICES]


@pytest.mark.parametrize("folder", SERVICES, ids=ids)
def test_a_lock_pins_what_its_service_declares_as_the_constraints_do(folder: Path) -> None:
    locked = pins(folder / "requirements.lock")
    everything = declared(folder) | declared(ROOT / "shared")
    wanted = {IN_IMAGES.get(name, name) for name in everything if not name.startswith("callboard-")}
    assert wanted - TORCH_FAMILY <= set(locked)
    assert not set(IN_IMAGES) & set(locked)
    assert {name: CONSTRAINTS.get(name) for name in locked} == locked


@pytest.mark.parametrize("folder", SERVICES, ids=ids)
def test_every_pin_of_a_lock_is_hashed_and_the_file_names_no_machine(folder: Path) -> None:
    text = (folder / "requirements.lock").read_text()
    unhashed = re.findall(r"^(\S+==\S+)(?! \\\n +--hash)$", text, re.M)
    assert unhashed == []
    assert not re.search(r"https?://|file:|^-|/tmp|/home|/work", text, re.M)


@pytest.mark.parametrize("folder", SERVICES, ids=ids)
def test_torch_is_pinned_apart_and_only_where_it_is_used(folder: Path) -> None:
    assert not set(pins(folder / "requirements.lock")) & TORCH_FAMILY
    apart = "requirements-torch.lock" in (folder / "Dockerfile").read_text()
    assert apart == ("torch" in declared(folder))


def test_torch_of_both_indexes_is_pinned_alike_and_pypis_is_hashed() -> None:
    wanted = pins(ROOT / "requirements-torch.txt")
    assert pins(ROOT / "services" / "requirements-torch.lock") == wanted
    hashed = ROOT / "services" / "requirements-torch-gpu.lock"
    assert wanted.items() <= pins(hashed).items() <= CONSTRAINTS.items()
    assert re.findall(r"^(\S+==\S+)(?! \\\n +--hash)$", hashed.read_text(), re.M) == []


def test_what_traces_need_is_locked_apart_as_the_constraints_have_it() -> None:
    text = (ROOT / "services" / "requirements-otel.lock").read_text()
    locked = pins(ROOT / "services" / "requirements-otel.lock")
    project = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]
    wanted = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["otel"]}
    assert wanted <= set(locked)
    assert {name: CONSTRAINTS.get(name) for name in locked} == locked
    assert len(re.findall(r"^\S+==\S+ \\\n    --hash=sha256:", text, re.M)) == len(locked)
    for folder in SERVICES:
        assert "requirements-otel.lock" in (folder / "Dockerfile").read_text()


@pytest.mark.parametrize("folder", WITH_TORCH, ids=lambda folder: folder.name)
def test_what_torch_itself_needs_is_in_the_lock_of_its_worker(folder: Path) -> None:
    """The image installs torch with --no-deps, so that either index will do."""
    requirements = [Requirement(line) for line in importlib.metadata.requires("torch") or []]
    needed = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    }
    cuda = {name for name in needed if name.startswith(("nvidia-", "cuda-"))} | {"triton"}
    assert needed - cuda <= set(pins(folder / "requirements.lock"))


def test_the_gateway_image_holds_no_model_library() -> None:
    heavy = {
        "torch", "transformers", "numpy", "onnxruntime", "openvino", "tokenizers", "safetensors", "ultralytics",
        "opencv-python-headless", "pillow",
    }  # fmt: skip
    assert not heavy & set(pins(ROOT / "services" / "gateway" / "requirements.lock"))


def test_the_constraints_pin_every_package_that_the_requirements_name() -> None:
    for path in ROOT.glob("requirements*.txt"):
        lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#-"]
        named = {canonicalize_name(Requirement(line.split("#")[0]).name) for line in lines}
        assert named <= set(CONSTRAINTS), path.name


def test_the_development_install_lists_every_distribution() -> None:
    folders = {path.parent for path in ROOT.glob("*/pyproject.toml")} | {
        path.parent for path in ROOT.glob("*/*/pyproject.toml")
    }
    editable = {
        (ROOT / path).resolve()
        for path in re.findall(r"^-e (\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    }
    assert editable == {folder.resolve() for folder in folders}


@pytest.mark.parametrize("folder", SERVICES, ids=ids)
def test_no_image_carries_a_strong_copyleft_licence(folder: Path) -> None:
    """The project is Apache-2.0. LGPL is fine: it is imported, not linked in."""
    installed = {here: name for name, here in IN_IMAGES.items()}
    wrong = {}
    for name in pins(folder / "requirements.lock").keys() - COPYLEFT_PARTS.get(folder.name, set()):
        metadata = importlib.metadata.metadata(installed.get(name, name))
        expression = metadata.get("License-Expression")
        classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
        text = expression or "; ".join(classifiers) or (metadata.get("License") or "")[:100]
        if COPYLEFT.search(text.replace("LGPL", "").replace("Lesser General Public", "")):
            wrong[name] = text
    assert wrong == {}


def test_the_licence_is_in_the_repository() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
