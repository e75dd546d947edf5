"""The folder of a stack (`.callboard/`): what lies where, the lock on it, and its first admin key."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class Refused(Exception):
    """The stack cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths in a stack's folder; `make` creates it, private to its owner."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def valkey(self) -> Path:
        return self.home / "valkey"

    @property
    def valkey_conf(self) -> Path:
        return self.home / "valkey.conf"

    @property
    def api_key(self) -> Path:
        return self.home / "api-key"

    @property
    def ready(self) -> Path:
        """Exists while the stack is ready; holds its address."""
        return self.run / "ready"

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def backup_lock(self) -> Path:
        return self.home / "backup.lock"

    @property
    def restored(self) -> Path:
        """Exists from a restore until the next start has seen to what a restored ledger needs."""
        return self.home / "restored"

    @property
    def used(self) -> bool:
        """Whether a stack keeps something here."""
        kept = (self.api_key, self.valkey_conf, self.valkey, self.home / "files", self.home / "models")
        return any(path.exists() for path in kept)

    def make(self) -> None:
        """Creates what is missing. Raises Refused if the place cannot be written."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.run, self.logs, self.valkey):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise Refused(
                f"{self.home} cannot be written ({error.strerror}). Name another: CALLBOARD_HOME=…"
            ) from error


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Holds the folder for this process; the lock goes with the process, however it ends. Raises Refused."""
    with folder.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refused(
                f"A stack runs on {folder.home} already (pid {file.read().strip() or 'unknown'}). End it there with "
                "Ctrl-C or with `make stop`, or give this one a folder and a port of its own:\n"
                "    CALLBOARD_HOME=.callboard-2 CALLBOARD_PORT=8001 make run"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def alone(folder: Folder) -> Iterator[None]:
    """One backup of a folder at a time. Raises Refused."""
    with folder.backup_lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another backup of {folder.home} is being made. Wait for that.") from None
        yield


def holder(folder: Folder) -> int | None:
    """The pid of the process that holds the folder, if one does."""
    if not folder.lock.exists():
        return None
    with folder.lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else None
    return None


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read (mode 0600), whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def admin_key(folder: Folder) -> str:
    """The first admin key: made once, kept in `.callboard/api-key`."""
    if folder.api_key.exists():
        key = folder.api_key.read_text().strip()
        if key:
            return key
    key = f"cb_embedded_{secrets.token_urlsafe(32)}"
    write_private(folder.api_key, key + "\n")
    return key
