"""`make sbom`: every locked distribution of each image is in its list, in a form that other tools read."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENT = re.compile(r"^([a-z0-9][\w.-]*)==(\S+)((?: \\\n +--hash=sha256:\w+)*)", re.M | re.I)
SAYS_NOTHING = {"cuda-toolkit"}
"""Its package has no licence in its metadata."""


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec
    assert spec.loader
    sys.path.insert(0, str(ROOT / "deploy"))  # it reads the locks as lock.py does
    try:
        module = sys.modules["sbom"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "deploy"))
    return module


@pytest.fixture(scope="module")
def lists(sbom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, dict[str, Any]]:
    """The list of each image."""
    folder = tmp_path_factory.mktemp("sbom")
    return {
        image: json.loads(sbom.written(image, folder).read_text("utf-8")) for image in sbom.images(otel=True)
    }


def components(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["components"]}


def test_each_service_has_a_list_and_what_computes_with_torch_one_of_cuda_too(
    lists: dict[Any, dict[str, Any]],
) -> None:
    assert sorted(image.name for image in lists) == [
        "callboard-courier", "callboard-gateway", "callboard-llm-worker", "callboard-nlp-worker",
        "callboard-nlp-worker-gpu", "callboard-vision-worker", "callboard-vision-worker-gpu",
    ]  # fmt: skip


def test_every_lock_that_a_dockerfile_installs_is_listed(lists: dict[Any, dict[str, Any]]) -> None:
    for folder in {image.folder for image in lists}:
        dockerfile = (folder / "Dockerfile").read_text("utf-8")
        installed = set(re.findall(r"(requirements[\w-]*\.lock)", dockerfile)) - {"requirements-build.lock"}
        listed = {lock.name for image in lists if image.folder == folder for lock in image.locks}
        assert listed == installed, folder.name


def test_every_locked_distribution_is_in_it_with_its_version_hashes_and_licence(
    lists: dict[Any, dict[str, Any]],
) -> None:
    for image, found in lists.items():
        named = components(found)
        for lock in image.locks:
            for name, version, hashes in REQUIREMENT.findall(lock.read_text("utf-8")):
                one = named[re.sub(r"[-_.]+", "-", name).lower()]
                assert (one["version"], one["purl"]) == (version, f"pkg:pypi/{one['name']}@{version}")
                (files_of_it,) = one["externalReferences"]
                given = {each["content"] for each in files_of_it.get("hashes", [])}
                assert given == set(re.findall(r"sha256:(\w+)", hashes))
                assert one.get("licenses") or one["name"] in SAYS_NOTHING, one["name"]


def test_ours_are_in_it_and_everything_hangs_together(lists: dict[Any, dict[str, Any]]) -> None:
    for image, found in lists.items():
        needs = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
        assert found["metadata"]["component"]["name"] == image.name
        reached: set[str] = set()
        ahead = [image.name]
        while ahead:
            if (ref := ahead.pop()) not in reached:
                reached.add(ref)
                ahead.extend(needs[ref])
        assert any(ref.startswith("pkg:pypi/callboard-shared@") for ref in reached)
        assert len(reached) > len(needs) / 2, "most are there because another needs them"


def test_what_an_image_takes_out_again_is_said_to_be_excluded(lists: dict[Any, dict[str, Any]]) -> None:
    excluded = {
        (image.name, name)
        for image, found in lists.items()
        for name, one in components(found).items()
        if one.get("scope") == "excluded"
    }
    assert ("callboard-nlp-worker", "openvino-telemetry") in excluded
    assert {name for _, name in excluded} == {"openvino-telemetry"}


def test_the_lists_are_cyclonedx_1_6(lists: dict[Any, dict[str, Any]]) -> None:
    def schema(name: str) -> Any:
        return json.loads((files("cyclonedx.schema") / "_res" / f"{name}.SNAPSHOT.schema.json").read_text())

    others = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema(name))
        for name in ("spdx", "jsf-0.82")
    ]
    registry = jsonschema_rs.Registry(others)
    validator = jsonschema_rs.validator_for(schema("bom-1.6"), registry=registry)
    for image, found in lists.items():
        assert found["specVersion"] == "1.6"
        assert [error.message for error in validator.iter_errors(found)] == [], image.name
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({**next(iter(lists.values())), "components": [{"name": "without a type"}]})
