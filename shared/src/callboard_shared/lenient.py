"""Reading what a newer Callboard wrote into the same ledger: what this one does not know of is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any


@cache
def _names(record: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(record))


def known(record: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Of the document what the dataclass has a field for."""
    names = _names(record)
    return {name: value for name, value in document.items() if name in names}
