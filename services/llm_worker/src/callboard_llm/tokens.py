"""How many tokens a text has for a model of OpenAI: by tiktoken where its tables lie on this machine, else a careful
estimate. Tables are never fetched from here: they are 2 MB from a host of its own, which a worker may not reach."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from functools import cache
from pathlib import Path

import tiktoken

_TABLES = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def estimated(text: str) -> int:
    """More than there are in most texts: a token a three letters of ASCII, a token each two bytes of all others."""
    ascii_only = sum(character.isascii() for character in text)
    return math.ceil(ascii_only / 3) + math.ceil((len(text.encode("utf-8", "replace")) - ascii_only) / 2)


def encoding_for(model: str) -> tiktoken.Encoding | None:
    """None where the model is not OpenAI's, or its table is not on this machine (see TIKTOKEN_CACHE_DIR)."""
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    return tiktoken.get_encoding(name) if is_there(name) else None


def is_there(encoding: str) -> bool:
    """Whether tiktoken has been on this machine before, and kept the table."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    kept = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    return (kept / _file_of(encoding)).is_file()


@cache
def _file_of(encoding: str) -> str:
    return hashlib.sha1(_TABLES.format(encoding).encode(), usedforsecurity=False).hexdigest()
