"""`make sign-in`: a new link for the stack that runs."""

from __future__ import annotations

import sys

from callboard_embedded import terminal
from callboard_embedded.folder import Folder, holder
from callboard_embedded.settings import EmbeddedSettings
from callboard_embedded.sign_in import sign_in_link
from callboard_embedded.valkey import recall
from callboard_shared.errors import LedgerError


def print_link() -> int:
    """Prints a link. Returns the exit code."""
    settings = EmbeddedSettings()
    folder = Folder(settings.home_path)
    if holder(folder) is None or not folder.valkey_conf.exists() or not folder.api_key.exists():
        print(f"No stack runs on {folder.home}. Start it with `make run`.", file=sys.stderr)
        return 1
    url = folder.ready.read_text() if folder.ready.exists() else settings.url
    try:
        link = sign_in_link(url, recall(folder).url, folder.api_key.read_text().strip())
    except LedgerError as error:
        print(error.detail, file=sys.stderr)
        return 1
    if not link:
        print("The gateway has not started yet. Try again in a moment.", file=sys.stderr)
        return 1
    terminal.line(link)
    return 0
