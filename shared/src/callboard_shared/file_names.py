"""Names of files, made safe: whatever a user or a model calls a file, this is what is shown and sent."""

from __future__ import annotations

import re

MAX_NAME_BYTES = 255


def clean_name(name: str) -> str:
    """A name that is safe to show and to save under: no folders, no control characters, ≤ 255 bytes."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(c for c in name if c.isprintable()).strip().strip(".").strip()
    stem, dot, suffix = name.rpartition(".")
    if len(name.encode("utf-8", "ignore")) > MAX_NAME_BYTES and dot and len(suffix) <= 16:
        return _cut(stem, MAX_NAME_BYTES - len(suffix.encode()) - 1) + dot + suffix
    return _cut(name, MAX_NAME_BYTES) or "file"


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8", "ignore")[:size].decode("utf-8", "ignore")
