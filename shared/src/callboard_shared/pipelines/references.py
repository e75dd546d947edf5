"""References in a step's input to what other steps gave: ``${step.output.path}``. Pure.

    text      = { character | "$${" | reference }       "$${" is a literal "${"
    reference = "${" step ".output" { "." part } "}"    part: a field, or the index of a list's item, from 0

A text that is one reference and nothing else stands for the value itself, whatever its JSON type; within a longer
text the value is inserted: texts as they are, anything else as compact JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callboard_shared.errors import FinalError

STEP_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
Location = tuple[str | int, ...]

_MARK = re.compile(r"\$\$\{|\$\{(?P<inside>[^{}]*)\}|\$\{")
_INSIDE = re.compile(rf"(?P<step>{STEP_NAME})\.output(?P<path>(?:\.[^.{{}}$\s]+)*)")
_MOST_NAMED = 20


class BadReference(ValueError):
    """A text has a ``${`` that begins no reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    step: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"${{{'.'.join((self.step, 'output', *self.path))}}}"


def parse(text: str) -> list[str | Reference]:
    """The parts of a text: literal texts, none of them empty, and references. Raises BadReference."""
    parts: list[str | Reference] = []
    literal, at = "", 0
    for mark in _MARK.finditer(text):
        literal += text[at : mark.start()]
        at = mark.end()
        if mark[0] == "$${":
            literal += "${"
            continue
        inside = _INSIDE.fullmatch(mark["inside"] or "")
        if inside is None:
            raise BadReference(
                f"'{mark[0][:100]}' is no reference; write ${{step.output.field}}, or $${{ for a literal ${{"
            )
        parts += [literal] if literal else []
        parts.append(Reference(inside["step"], tuple(inside["path"].split(".")[1:])))
        literal = ""
    literal += text[at:]
    return parts + ([literal] if literal else [])


def escape(text: str) -> str:
    """As it must be written so that nothing in it is a reference."""
    return text.replace("${", "$${")


def texts_in(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """The texts in a document that have a ``${``, and where each stands."""
    if isinstance(value, str):
        if "${" in value:
            yield location, value
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from texts_in(below, (*location, name))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from texts_in(below, (*location, index))


Resolve = Callable[[Reference, Location], Any]


def fill(value: Any, resolve: Resolve, *, most_bytes: int, location: Location = ()) -> Any:
    """The document with its references replaced by what ``resolve`` gives for them.

    Raises FinalError ``too-large`` as soon as more than ``most_bytes`` of JSON were inserted, and what ``resolve``
    raises.
    """
    return _Filling(resolve, most_bytes).value(value, location)


class _Filling:
    def __init__(self, resolve: Resolve, most_bytes: int) -> None:
        self._resolve, self._most_bytes = resolve, most_bytes
        self._left = most_bytes
        self._written: dict[Reference, tuple[Any, str, int]] = {}

    def value(self, value: Any, at: Location) -> Any:
        if isinstance(value, str):
            return self._text(value, at) if "${" in value else value
        if isinstance(value, dict):
            return {name: self.value(below, (*at, name)) for name, below in value.items()}
        if isinstance(value, list):
            return [self.value(below, (*at, index)) for index, below in enumerate(value)]
        return value

    def _text(self, text: str, at: Location) -> Any:
        parts = parse(text)
        if len(parts) == 1 and isinstance(parts[0], Reference):
            return self._inserted(parts[0], at)[0]
        return "".join(part if isinstance(part, str) else self._inserted(part, at)[1] for part in parts)

    def _inserted(self, reference: Reference, at: Location) -> tuple[Any, str, int]:
        """The value, how it is written within a text, and its size."""
        if reference not in self._written:
            value = self._resolve(reference, at)
            written = value if isinstance(value, str) else orjson.dumps(value).decode()
            self._written[reference] = value, written, len(written.encode())
        self._left -= self._written[reference][2]
        if self._left < 0:
            raise FinalError(
                f"With what {reference} gives the input is larger than {self._most_bytes:,} bytes. Refer to less.",
                code="too-large",
            )
        return self._written[reference]


def look_up(outputs: Mapping[str, Any], reference: Reference, at: Location) -> Any:
    """What a reference names in the steps' outputs. Raises FinalError ``reference-not-found``."""
    value = outputs[reference.step]
    for depth, part in enumerate(reference.path):
        found = _below(value, part)
        if found is None:
            whole = Reference(reference.step, reference.path[:depth])
            message = f"{reference}: {str(whole)[2:-1]} {_what_there_is(value, part)}"
            fault = {"field": ".".join(map(str, at)), "message": message, "code": "reference-not-found"}
            raise FinalError(f"{message}.", code="reference-not-found", errors=[fault])
        value = found[0]
    return value


def _below(value: Any, part: str) -> tuple[Any] | None:
    if isinstance(value, dict):
        return (value[part],) if part in value else None
    if isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,9}", part):
        return (value[int(part)],) if int(part) < len(value) else None
    return None


def _what_there_is(value: Any, part: str) -> str:
    if isinstance(value, dict):
        names = ", ".join(str(name)[:40] for name in list(value)[:_MOST_NAMED])
        return f"has no '{part[:100]}', it has: {names or 'nothing'}"
    if isinstance(value, list):
        return f"is a list of {len(value)}, which has no item '{part[:100]}'"
    return f"is {_KINDS.get(type(value), 'a value')}, which has no '{part[:100]}'"


_KINDS = {str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
