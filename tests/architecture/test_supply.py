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
ids = [folder.name for folder in SERVICES]


@pytest.mark.parametrize("folder", SERVICES, ids=ids)
def test_a_lock_pins_what_its_service_declares_as_the_constraints_do(folder: Path) -> None:
    locked = pins(folder / "requirements.lock")
    wanted = {
        name for name in declared(folder) | declared(ROOT / "shared") if not name.startswith("callboard-")
    }
    assert wanted - TORCH_FAMILY <= set(locked)
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
    apart = folder / "requirements-torch.lock"
    assert apart.exists() == ("torch" in declared(folder))
    if apart.exists():
        assert pins(apart) == pins(ROOT / "requirements-torch.txt")


def test_what_torch_itself_needs_is_in_the_lock_of_its_worker() -> None:
    """The image installs torch with --no-deps, so that either index will do."""
    requirements = [Requirement(line) for line in importlib.metadata.requires("torch") or []]
    needed = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    }
    cuda = {name for name in needed if name.startswith(("nvidia-", "cuda-"))} | {"triton"}
    assert needed - cuda <= set(pins(ROOT / "services" / "nlp_worker" / "requirements.lock"))


def test_the_gateway_image_holds_no_model_library() -> None:
    heavy = {"torch", "transformers", "numpy", "onnxruntime", "openvino", "tokenizers", "safetensors"}
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
    """The project is Apache-2.0. LGPL is fine: it is imported, not linked in. piper is the local voice's, in the LLM
    worker alone; docs/optional-parts.md says what that means and how to do without."""
    allowed = {"piper-tts"} if folder.name == "llm_worker" else set()
    wrong = {}
    for name in pins(folder / "requirements.lock").keys() - allowed:
        metadata = importlib.metadata.metadata(name)
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
