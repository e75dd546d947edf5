"""The members of the stack: which processes, in which number, with which environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from callboard_embedded.settings import EmbeddedSettings
from callboard_embedded.valkey import MALLOC, Valkey


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the stack.

    queues: what it serves, so that readiness can be told; first/last: started before the others, ended after
    them (the ledger).
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    queues: tuple[str, ...] = ()
    last: bool = False


# Each worker with the queues it serves; `python -m callboard_NAME` becomes its process.
WORKERS = {
    "nlp": ("nlp",),
    "llm": ("llm", "tts"),
    "vision": ("vision",),
    "courier": ("courier", "system"),
}


def ledger_member(valkey: Valkey, env: Mapping[str, str]) -> Member:
    return Member("valkey", valkey.argv, {**MALLOC, **env}, last=True)


def service_members(settings: EmbeddedSettings, env: Mapping[str, str]) -> list[Member]:
    """Everything but the ledger."""
    members = [Member("gateway", _module("callboard_gateway"), env)]
    for name, queues in WORKERS.items():
        for number in range(1, settings.count(name) + 1):
            own = name if number == 1 else f"{name}-{number}"
            members.append(Member(own, _module(f"callboard_{name}"), env, queues))
    return members


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
