"""Whether what a reference names can be in the output of a job type, by the JSON Schema of that output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from callboard_shared.jobs import JobType

Schema = dict[str, Any]


def missing_part(job_type: JobType[Any, Any], path: Sequence[str]) -> str | None:
    """What is wrong with a path into this type's output, as a sentence that goes on from it; None if nothing is,
    as far as the schema says. Outputs that are large are files; that does not matter here."""
    root = job_type.output_schema
    here = list(_branches(root, root))
    for depth, part in enumerate(path):
        below = [found for one in here for found in _below(one, part, root)]
        if not below:
            names = sorted({name for one in here for name in one.get("properties", {})})
            where = ".".join(("output", *path[:depth]))
            has = f"it has: {', '.join(names)}" if names else "there is nothing below it"
            return f"the {where} of {job_type.name} has no '{part[:100]}'; {has}"
        here = below
    return None


def _branches(schema: Any, root: Schema) -> Iterator[Schema]:
    """The alternatives of a schema, references followed; ``{}`` takes anything."""
    if not isinstance(schema, dict):
        yield {}
    elif "$ref" in schema:
        yield from _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif branches := schema.get("anyOf") or schema.get("oneOf"):
        for one in branches:
            yield from _branches(one, root)
    else:
        yield schema


def _below(schema: Schema, part: str, root: Schema) -> Iterator[Schema]:
    kind = schema.get("type")
    if kind is None:
        yield {}
    elif kind == "object":
        if part in schema.get("properties", {}):
            yield from _branches(schema["properties"][part], root)
        elif (more := schema.get("additionalProperties", True)) is not False:
            yield from _branches(more, root)
    elif kind == "array" and part.isdecimal():
        prefix = schema.get("prefixItems", [])
        item = prefix[int(part)] if len(part) < 9 and int(part) < len(prefix) else schema.get("items", {})
        if item is not False:
            yield from _branches(item, root)
