"""Where a page of a list begins: the moment (ms) and id after which it goes on, as a text that clients hand back."""

from __future__ import annotations

import re

from callboard_shared.errors import Invalid
from callboard_shared.ids import is_id

Position = tuple[int, str]


def cursor_of(position: Position | None) -> str | None:
    """``next_cursor``; None where the list ends."""
    return None if position is None else f"{position[0]}.{position[1]}"


def position_of(cursor: str | None, kind: str) -> Position | None:
    """None where the list begins. ``kind``: the prefix of its ids. Raises Invalid."""
    if cursor is None:
        return None
    made, _, last = cursor.partition(".")
    if not re.fullmatch(r"[0-9]{1,14}", made) or not is_id(last, kind):
        message = "is none of this list's; take 'next_cursor' as it is"
        fault = {"field": "cursor", "message": message, "code": "parameter"}
        raise Invalid(f"cursor: {message}.", errors=[fault])
    return int(made), last
