"""A release after this one, for a rolling upgrade: this code's sources, changed as a later release may change them.

It writes what this code does not know: a field of a job, one more in each event, headers of the bells, facts of its
workers. Beside the copy stand launchers, so that a member starts with the sources that its own file names.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from callboard_embedded.members import Member

ROOT = Path(__file__).parents[2]
SOURCES = ("shared/src", "services/gateway/src", "services/courier/src")
SHARED = "shared/src/callboard_shared"
CHANGES: Mapping[str, tuple[str, str]] = {
    f"{SHARED}/ledger/scripts/submit.lua": (
        '"retention", ARGV[at + 8], "created", int(NOW) }',
        '"retention", ARGV[at + 8], "created", int(NOW), "color", "blue" }',
    ),
    f"{SHARED}/ledger/scripts/lib.lua": (
        '"*", "kind", kind, "data", data)\nend',
        '"*", "kind", kind, "data", data, "color", "blue")\nend',
    ),
    f"{SHARED}/bell.py": ("retry=False, ignore_result=True", 'retry=False, headers={"color": "blue"}'),
    f"{SHARED}/worker/presence.py": (
        "self._facts, self._health = models, note, facts, health",
        "self._facts, self._health = models, note, _blue, health",
    ),
}
MORE = {f"{SHARED}/worker/presence.py": '\n\ndef _blue() -> bytes:\n    return b\'{"color": "blue"}\'\n'}


def make(folder: Path) -> str:
    """Write the release into ``folder``; gives what its members have in front of their ``PYTHONPATH``."""
    for source in SOURCES:
        shutil.copytree(
            ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name, (old, new) in CHANGES.items():
        text = (folder / name).read_text("utf-8")
        assert old in text, f"{name} has changed: this release must be told anew"
        (folder / name).write_text(text.replace(old, new) + MORE.get(name, ""), "utf-8")
    return ":".join(str(folder / source) for source in SOURCES)


def startable(member: Member, folder: Path) -> Member:
    """The member, started with the sources that the file of its name in ``folder`` says (none: this code's)."""
    command = 'sources=$(cat "$0"); PYTHONPATH="${sources:+$sources:}$PYTHONPATH" exec "$@"'
    return replace(member, argv=("/bin/sh", "-c", command, str(folder / member.name), *member.argv))
