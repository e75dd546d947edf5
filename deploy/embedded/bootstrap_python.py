"""A Python that can make .venv, or words for what is missing. Standard library only, as bootstrap.py."""

import os
import shutil
import subprocess

SUPPORTED = ((3, 11), (3, 12), (3, 13))


class Stop(Exception):
    """Set-up cannot go on; the message names the cure."""


def ask(python, code):
    """What a Python prints for a piece of code, or None if it cannot run it."""
    try:
        out = subprocess.check_output([python, "-c", code], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.decode("utf-8", "replace").strip()


def version_of(python):
    out = ask(python, "import sys; print('%d.%d.%d' % sys.version_info[:3])")
    return tuple(int(part) for part in out.split(".")) if out else None


def dotted(version):
    return ".".join(str(part) for part in version)


def find_python():
    """A Python of a supported version that can make virtual environments. Raises Stop when there is none."""
    chosen = os.environ.get("PYTHON", "")
    names = [chosen] if chosen else ["python3", "python3.13", "python3.12", "python3.11", "python"]
    seen, without_venv = [], None
    for name in names:
        path = shutil.which(name)
        version = version_of(path) if path else None
        if version is None:
            continue
        if version[:2] not in SUPPORTED:
            seen.append("%s is %s" % (name, dotted(version)))
        elif ask(path, "import ensurepip, venv; print('ok')") != "ok":
            without_venv = without_venv or version
        else:
            return path, version
    if without_venv:
        short = dotted(without_venv[:2])
        raise Stop(
            "Python %s is here, but it cannot make virtual environments: its venv and ensurepip modules are a\n"
            "package of their own on Debian and Ubuntu. Install it, then run this again:\n"
            "    sudo apt install python%s-venv      (or: python3-venv)" % (short, short)
        )
    found = "; ".join(seen) if seen else ("%r was not found" % chosen if chosen else "none was found")
    raise Stop(
        "Callboard needs Python 3.11, 3.12 or 3.13 (%s). Install one, for example with\n"
        "    sudo apt install python3.11 python3.11-venv     brew install python@3.13     uv python install 3.13\n"
        "or name it: make setup PYTHON=/path/to/python3.13" % found
    )
