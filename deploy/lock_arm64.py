"""`make lock-arm64`: can pip install each lock on 64-bit ARM? Names the packages for which there is no wheel.

pip itself resolves, one package at a time, against the hashes of the lock: what a lock does not list is not found.
Needs the package index; wheels are fetched where the index gives no metadata alone, so it takes some minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from lock import requirement_name, single

ROOT = Path(__file__).resolve().parent.parent
GLIBC = range(17, 37)
"""manylinux_2_17 is the oldest tag of this platform; Debian 12, on which the images are, has glibc 2.36."""


def has_wheel(requirement: str, folder: Path) -> bool:
    """Whether one hashed requirement has a wheel for Python 3.11 on Linux on ARM."""
    wanted = folder / "one.lock"
    wanted.write_text(requirement)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
    ]
    command += [
        "--only-binary=:all:",
        "--require-hashes",
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
    ]
    for minor in GLIBC:
        command += ["--platform", f"manylinux_2_{minor}_aarch64"]
    command += ["--platform", "manylinux2014_aarch64", "--target", str(folder / "target"), "-r", str(wanted)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    locks = [ROOT / path for path in sys.argv[1:]] or sorted(
        (ROOT / "services").glob("**/requirements*.lock")
    )
    known: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        for lock in locks:
            hashed = [one for one in single(lock.read_text()) if "--hash" in one]
            for one in hashed:
                if one not in known:
                    known[one] = has_wheel(one, Path(folder))
            without = [requirement_name(one) for one in hashed if not known[one]]
            said = f"no wheel of {', '.join(without)}" if without else "all have wheels"
            print(f"{lock.relative_to(ROOT)}: {len(hashed)} packages, {said}", flush=True)


if __name__ == "__main__":
    main()
