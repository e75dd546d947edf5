"""`make sbom`: what each service image holds, as CycloneDX 1.6 in dist/sbom/, from the locks that the images install.

Name, version, hashes (of every file that a lock admits) and, where the package says it, licence. Licences and what
needs what are read from the packages of this environment, which are of the same versions. Two kinds of image compute
with torch: `…-gpu` has PyPI's CUDA builds; the other has torch from PyTorch's CPU index, whose hashes are not known.

Not in it: what Debian's packages put into the base image (a scanner of images reads those), Python itself, and what
OTEL=1 adds, unless `--otel` is given.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from lock import declared, requirement_name, services, single
from packageurl import PackageURL
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
IN_THE_ENVIRONMENT = {"opencv-python-headless": "opencv-python"}
"""The same library, which the development install has with windows."""
SPDX = {
    "Apache": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Apache 2.0 License": "Apache-2.0", "MIT License": "MIT",
    "Apache Software License": "Apache-2.0", "ISC License": "ISC", "New BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause", "Python Software Foundation License": "PSF-2.0",
}  # fmt: skip
"""Names that packages give to licences, where only one can be meant; "BSD" may be two."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image and the locks that its Dockerfile installs."""

    name: str
    folder: Path
    locks: tuple[Path, ...]


def images(otel: bool = False) -> Iterator[Image]:
    """Each service's image; of those that compute with torch, the one with CUDA as well."""
    shared = ROOT / "services"
    for folder in services():
        dockerfile = (folder / "Dockerfile").read_text()
        title = re.findall(r'image\.title="([^"]+)"', dockerfile)[0]
        locks = [folder / "requirements.lock", folder / "requirements-offline.lock"]
        locks = [lock for lock in locks if lock.exists()] + [shared / "requirements-otel.lock"] * otel
        if "requirements-torch.lock" not in dockerfile:
            yield Image(title, folder, tuple(locks))
            continue
        yield Image(title, folder, (*locks, shared / "requirements-torch.lock"))
        yield Image(f"{title}-gpu", folder, (*locks, shared / "requirements-torch-gpu.lock"))


def removed(folder: Path) -> set[str]:
    """What a Dockerfile installs with a lock and takes out again."""
    return set(re.findall(r"uninstall -y (\S+)", (folder / "Dockerfile").read_text()))


def bom(image: Image) -> Bom:
    """The image with its third-party packages and Callboard's own."""
    name, direct = declared(image.folder)
    _, of_shared = declared(ROOT / "shared")
    version = str(tomllib.loads((image.folder / "pyproject.toml").read_text())["project"]["version"])
    made = Bom()
    made.metadata.component = root = Component(
        name=image.name, version=version, type=ComponentType.CONTAINER, bom_ref=image.name,
        licenses=_licences(re.findall(r'image\.licenses="([^"]+)"', (image.folder / "Dockerfile").read_text())[0]),
    )  # fmt: skip
    out = removed(image.folder)
    parts = {
        part.name: part
        for lock in image.locks
        for part in (_component(one, out) for one in single(lock.read_text()) if one[0] not in "#\n")
    }
    for own in (name, "callboard-shared"):
        purl = PackageURL("pypi", name=own, version=version)
        parts[own] = Component(name=own, version=version, type=ComponentType.LIBRARY, bom_ref=str(purl), purl=purl,
                               licenses=_licences("Apache-2.0"))  # fmt: skip
    made.components.update(parts.values())
    made.register_dependency(root, [parts[name]])
    needs = {name: [*direct, "callboard-shared"], "callboard-shared": of_shared}
    for part in parts.values():
        wanted = needs.get(part.name) or _required(part.name)
        made.register_dependency(part, [parts[one] for one in _names(wanted) if one in parts])
    made.serial_number = uuid5(
        NAMESPACE_URL, "\n".join(f"{image.name} {one.purl}" for one in sorted(made.components))
    )
    return made


def _component(requirement: str, out: set[str]) -> Component:
    """Of one requirement of a lock, with its hashes."""
    name = requirement_name(requirement)
    version = re.findall(r"==(\S+)", requirement)[0]
    hashes = [
        HashType(alg=HashAlgorithm.SHA_256, content=one)
        for one in re.findall(r"--hash=sha256:(\w+)", requirement)
    ]
    purl = PackageURL("pypi", name=name, version=version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes,
        comment="any of these files, as the lock admits them",
    )  # fmt: skip
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, bom_ref=str(purl), purl=purl,
        scope=ComponentScope.EXCLUDED if name in out else ComponentScope.REQUIRED,
        licenses=_licences(licence(name)), external_references=[files],
    )  # fmt: skip


def licence(name: str) -> str:
    """What a package says of its licence in this process's environment; empty if nothing, or if it is not there."""
    try:
        told = importlib.metadata.metadata(IN_THE_ENVIRONMENT.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""
    if expression := told.get("License-Expression"):
        return expression
    classifiers = [
        one for one in told.get_all("Classifier") or [] if one.startswith("License :: OSI Approved :: ")
    ]
    first = (told.get("License") or "").strip().split("\n")[0]
    named = first if 0 < len(first) <= 80 else " OR ".join(one.split(" :: ")[-1] for one in classifiers)
    return SPDX.get(named.removeprefix("OSI Approved :: "), named)


def _licences(text: str) -> list[License]:
    """An SPDX expression or id where it is one, else a name as the package has it."""
    return [LicenseFactory().make_from_string(text)] if text else []


def _required(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(IN_THE_ENVIRONMENT.get(name, name)) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _names(requirements: list[str]) -> Iterator[str]:
    """Of what is required in an image: Linux, the images' Python, no extras."""
    for text in requirements:
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"python_version": "3.11", "extra": ""}):
            named = requirement_name(one.name)
            yield named
            yield from (new for new, old in IN_THE_ENVIRONMENT.items() if old == named)


def written(image: Image, folder: Path) -> Path:
    """The file of an image's components."""
    path = folder / f"{image.name}.cdx.json"
    outputter = make_outputter(bom(image), OutputFormat.JSON, SchemaVersion.V1_6)
    outputter.output_to_file(str(path), allow_overwrite=True, indent=2)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what each service image holds, as CycloneDX 1.6.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist" / "sbom")
    parser.add_argument("--otel", action="store_true", help="of images built with OTEL=1")
    given = parser.parse_args()
    folder = cast("Path", given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for image in images(given.otel):
        print(written(image, folder))


if __name__ == "__main__":
    main()
