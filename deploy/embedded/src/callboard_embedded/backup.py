"""`make backup`: a stack's folder as one file, while the stack runs or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import redis

from callboard_embedded import terminal
from callboard_embedded.archive import Manifest, Writer, writing
from callboard_embedded.folder import Folder, Refused, alone
from callboard_embedded.settings import EmbeddedSettings
from callboard_embedded.snapshot import AOF_MANIFEST, BASE, saved, serving
from callboard_shared.holding import Hold, Renewing, holding
from callboard_shared.object_store import LocalStore
from callboard_shared.settings import FileSettings, ModelSettings


def backup(target: str | None) -> int:
    """The command. Returns its exit code."""
    settings = EmbeddedSettings()
    folder = Folder(settings.home_path)
    now = datetime.now(UTC)
    path = Path(target or f"callboard-{now:%Y%m%dT%H%M%SZ}.tar.gz").expanduser().absolute()
    try:
        manifest = make(folder, path, now)
    except (Refused, OSError, redis.RedisError) as error:
        print(f"No backup was made: {error}", file=sys.stderr)
        return 1
    size = path.stat().st_size
    terminal.line(f"{path}: {size:,} bytes. It holds the keys of this stack: keep it as you keep those.")
    for name, part in manifest.parts.items():
        terminal.line(f"  {name:<10} {part.files:,} files, {part.bytes:,} bytes")
    if manifest.files_url:
        terminal.line(f"  Not in it: the files in {manifest.files_url}. Copy that bucket by its own means.")
    models = ModelSettings(home=folder.home).models_path
    if models != folder.home / "models" and models.is_dir():
        terminal.line(f"  Not in it: the models that you have put into {models}.")
    return 0


def make(folder: Folder, path: Path, now: datetime) -> Manifest:
    """Writes the backup, whole or not at all. Raises Refused, OSError."""
    if not folder.valkey_conf.exists() or not folder.api_key.exists():
        raise Refused(f"there is no stack in {folder.home}. Name its folder: CALLBOARD_HOME=…")
    if path.exists():
        raise Refused(f"{path} is there already. Name another file.")
    files, models = FileSettings(home=folder.home), ModelSettings(home=folder.home).models_path
    with (
        alone(folder),
        _draft(path) as target,
        serving(folder) as valkey,
        # What is deleted is held back before the ledger is copied, so that each file that the copy names is there.
        _held(files) as hold,
        saved(folder, valkey) as (ledger, layout),
        writing(target) as writer,
    ):
        _add_small(writer, folder)
        with ledger.open("rb") as opened:
            writer.add(f"valkey/appendonlydir/{BASE}", opened, mode=0o600)
        writer.add_text("valkey/appendonlydir/appendonly.aof.manifest", AOF_MANIFEST)
        if hold is not None:
            for place, content in hold.contents():
                writer.add(f"files/{place}", content, Renewing(content, hold))
        if models == folder.home / "models":
            _add_models(writer, models)
        made_at = now.isoformat(timespec="seconds")
        return writer.finish(version("callboard-embedded"), layout or 0, made_at, files.files_url)


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner may read, under its name when the block has ended well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _held(files: FileSettings) -> Iterator[Hold | None]:
    """None where the files are in a bucket."""
    if files.files_url is not None:
        yield None
        return
    with holding(LocalStore(files.files_path)) as hold:
        yield hold


def _add_small(writer: Writer, folder: Folder) -> None:
    for path in (folder.api_key, folder.valkey_conf):
        with path.open("rb") as opened:
            writer.add(path.name, opened, mode=0o600)


def _add_models(writer: Writer, models: Path) -> None:
    """What the operator has put there; what was trained here is among the files."""
    for path in sorted(models.rglob("*")):
        if path.is_file():
            with path.open("rb") as opened:
                writer.add(f"models/{path.relative_to(models).as_posix()}", opened)
