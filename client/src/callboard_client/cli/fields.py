"""Options of ``callboard run TYPE``, made from the JSON Schema of the type's input.

Text is taken as it is, numbers and booleans are read as such, lists by giving the option again, and anything
deeper as JSON. A list's option may be written in the singular: ``--text a --text b`` for ``texts``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}


class Misuse(Exception):
    """The command line does not fit the job type; the message says how it would."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an input. ``kind``: string, integer, number, boolean, array, file, or json for the rest;
    ``items``: the kind of an array's items."""

    name: str
    kind: str
    items: str
    urls: bool  # whether its files may be given by URL
    required: bool
    default: Any
    choices: tuple[str, ...]
    description: str

    @property
    def options(self) -> tuple[str, ...]:
        """How the option is written; the first is the one shown."""
        dashed = "--" + self.name.replace("_", "-")
        if self.kind == "boolean":
            return (dashed, "--no-" + dashed[2:])
        return tuple(dict.fromkeys([dashed, "--" + self.name]))

    @property
    def singular(self) -> str | None:
        """How a list's option may be written too, unless a field has that name."""
        if self.kind != "array" or not self.name.endswith("s"):
            return None
        return self.options[0][: -2 if self.name.endswith("sses") else -1]

    @property
    def placeholder(self) -> str:
        if self.choices:
            return "|".join(self.choices)
        kind = self.items if self.kind == "array" else self.kind
        shown = {"string": "TEXT", "file": "FILE|URL" if self.urls else "FILE", "boolean": ""}.get(
            kind, kind.upper()
        )
        return f"{shown} …" if self.kind == "array" else shown


@dataclass(frozen=True, slots=True)
class Local:
    """Stands in an input for a file of this machine that is still to be uploaded."""

    path: str


Given = dict[str, Any]


def fields_of(schema: Schema) -> list[Field]:
    required = set(schema.get("required", ()))
    return [
        _field(name, part, schema, name in required) for name, part in schema.get("properties", {}).items()
    ]


def _field(name: str, part: Schema, root: Schema, required: bool) -> Field:
    inner = _concrete(part, root)
    items = _concrete(inner.get("items", {}), root)
    return Field(
        name=name,
        kind=_kind(inner),
        items=_kind(items),
        urls=any("url" in one.get("properties", {}) for one in (inner, items)),
        required=required,
        default=part.get("default"),
        choices=tuple(str(choice) for choice in inner.get("enum", ())),
        description=part.get("description") or inner.get("description") or "",
    )


def _concrete(part: Schema, root: Schema) -> Schema:
    """Follows references and takes the one alternative that is not null; several stay a union (JSON)."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[-1]
        return _concrete(root.get("$defs", {}).get(name, {}), root)
    alternatives = [_concrete(one, root) for one in part.get("anyOf", part.get("oneOf", ()))]
    alternatives = [one for one in alternatives if one.get("type") != "null"]
    if len(alternatives) == 1:
        return alternatives[0]
    if alternatives:
        return next((one for one in alternatives if _is_file(one)), {})
    return part


def _is_file(part: Schema) -> bool:
    return "file_id" in part.get("properties", {})


def _kind(part: Schema) -> str:
    if _is_file(part):
        return "file"
    kind = part.get("type")
    return kind if kind in ("string", "integer", "number", "boolean", "array") else "json"


def parse(arguments: Sequence[str], fields: Sequence[Field], type_name: str) -> Given:
    """Reads the options; every option but a boolean takes the next argument, whatever it looks like."""
    known = {one.singular: one for one in fields if one.singular}
    known |= {option: one for one in fields for option in one.options}
    given: Given = {}
    rest = iter(arguments)
    for argument in rest:
        option, equals, text = argument.partition("=")
        one = known.get(option)
        if one is None:
            raise Misuse(_unknown(option, known, type_name))
        if one.kind == "boolean":
            _put_flag(given, one, option, text if equals else None)
        else:
            _put(given, one, text if equals else _next(rest, option))
    return given


def _next(rest: Iterator[str], option: str) -> str:
    for value in rest:
        return value
    raise Misuse(f"{option} needs a value.")


def _put_flag(given: Given, one: Field, option: str, text: str | None) -> None:
    says = option == one.options[0] or option == f"--{one.name}"
    if text is not None:
        if text.lower() not in ("true", "false"):
            raise Misuse(f"{option} takes true or false, not {text!r}.")
        says = says == (text.lower() == "true")
    given[one.name] = says


def _put(given: Given, one: Field, text: str) -> None:
    if one.kind == "array" and not (
        one.items != "string" and text.lstrip().startswith("[") and _whole(one, text)
    ):
        given.setdefault(one.name, []).append(_value(one, one.items, text))
    elif one.kind == "array":
        given[one.name] = json.loads(text)
    else:
        given[one.name] = _value(one, one.kind, text)


def _whole(one: Field, text: str) -> bool:
    """Whether JSON given for an array is the array itself, and not one item of an array of arrays."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return one.items not in ("array", "json") or all(isinstance(item, list) for item in value)


def _value(one: Field, kind: str, text: str) -> Any:
    option = one.options[0]
    if kind == "string":
        return text
    if kind == "file":
        return file_value(one, text)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        if kind == "json":
            return text  # a field that takes anything takes plain text too
        raise Misuse(f"{option} takes {KINDS.get(kind, 'JSON')}, not {text!r}.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def file_value(one: Field, text: str) -> Any:
    """The id of a stored file, a URL, what else the field takes as JSON (an object, a list), or else the path of a
    local file."""
    if text.startswith("file_"):
        return {"file_id": text}
    if text.startswith(("https://", "http://")):
        if not one.urls:
            raise Misuse(f"{one.options[0]} takes no URL: download the file and give its path.")
        return {"url": text}
    if text.lstrip().startswith(("{", "[")):
        with suppress(ValueError):
            return json.loads(text, parse_constant=_no_constant)
    return Local(text)


def _unknown(option: str, known: Mapping[str, Field], type_name: str) -> str:
    if not option.startswith("--"):
        return f"{option!r} stands alone: give the input as options (see `callboard run {type_name} --help`)."
    near = difflib.get_close_matches(option, known, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    shown = ", ".join(dict.fromkeys(one.options[0] for one in known.values()))
    return f"{type_name} has no {option}.{meant} It takes: {shown}."
