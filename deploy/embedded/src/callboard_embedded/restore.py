"""`make restore`: a stack's folder from a backup, put in place only when all of it was found right."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from callboard_embedded import terminal
from callboard_embedded.archive import Manifest, unpack
from callboard_embedded.folder import Folder, Refused, holder, locked
from callboard_embedded.settings import EmbeddedSettings
from callboard_shared.ledger import schema
from callboard_shared.settings import FileSettings

_OLD_DAYS = 1


def restore(source: str, *, replace: bool) -> int:
    """The command. Returns its exit code."""
    folder = Folder(EmbeddedSettings().home_path)
    path = Path(source).expanduser().absolute()
    try:
        manifest, aside = put_back(folder, path, replace=replace)
    except (Refused, OSError) as error:
        print(f"Nothing was restored: {error}", file=sys.stderr)
        return 1
    terminal.line(f"{folder.home} is as it was on {manifest.made_at}. Start it with make run.")
    if aside is not None:
        terminal.line(f"  What was there before is in {aside}; remove it when you do not need it.")
    if manifest.files_url:
        terminal.line(
            f"  Its files are in {manifest.files_url}: start it with CALLBOARD_FILES_URL set to that."
        )
    age = datetime.now(UTC) - datetime.fromisoformat(manifest.made_at)
    if age.days >= _OLD_DAYS:
        terminal.line(
            f"  The backup is {age.days} days old: what is past its retention or deadline by now ends when it starts."
        )
    return 0


def put_back(folder: Folder, path: Path, *, replace: bool = False) -> tuple[Manifest, Path | None]:
    """Unpacks beside the folder, checks, and renames; gives also where what was there before is now.

    Raises Refused, OSError; then the folder is as it was.
    """
    files = FileSettings(home=folder.home)
    if files.files_url is None and files.files_path != folder.home / "files":
        raise Refused(
            f"CALLBOARD_FILES_DIR names {files.files_path}. Restore with it unset: the files will be in "
            f"{folder.home / 'files'}; move them where they belong before you start."
        )
    if folder.used and not replace:
        raise Refused(
            f"there is a stack in {folder.home} already. Name another folder (CALLBOARD_HOME=…), or say that "
            'it is to be put aside: make restore ARGS="--replace FILE"'
        )
    if holder(folder) is not None:
        raise Refused(f"a stack runs on {folder.home}. End it first: make stop")
    folder.home.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, _beside(folder.home) as fresh:
        manifest = unpack(source, fresh)
        if manifest.schema > schema.NEWEST:
            raise Refused(
                f"the backup's ledger is of version {manifest.schema}, and this Callboard knows versions up to "
                f"{schema.NEWEST}. Restore it with the Callboard that made it ({manifest.callboard}), or a newer one."
            )
        Folder(fresh).restored.touch()
        os.sync()  # all of it is on disk before it takes a name
        with locked(folder) if folder.home.exists() else nullcontext():
            return manifest, _exchange(folder.home, fresh)


@contextmanager
def _beside(home: Path) -> Iterator[Path]:
    """A folder on the same disk, removed at the end if it is still there."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{home.name}-restoring-", dir=home.parent))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _exchange(home: Path, fresh: Path) -> Path | None:
    """The fresh folder takes the name; gives where the old one is, if there was one."""
    if not home.exists():
        fresh.rename(home)
        return None
    aside = home.with_name(f"{home.name}-before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    home.rename(aside)
    try:
        fresh.rename(home)
    except OSError:
        aside.rename(home)
        raise
    return aside
