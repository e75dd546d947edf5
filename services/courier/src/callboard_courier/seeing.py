"""What the courier looks at for all: whether the object store answers."""

from __future__ import annotations

import os

from callboard_shared.errors import CallboardError
from callboard_shared.object_store import LocalStore, ObjectStore


def store_answers(store: ObjectStore) -> str:
    """``ok``, or what is wrong: ``not-writable`` for a folder, else the store's own code."""
    if isinstance(store, LocalStore):
        # A folder that is not there yet is made with the first file.
        folder = next(one for one in (store.folder, *store.folder.parents) if one.exists())
        return "ok" if os.access(folder, os.W_OK | os.X_OK) else "not-writable"
    try:
        next(iter(store.contents()), None)
    except CallboardError as error:
        return error.problem_code
    return "ok"
