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


@dataclass(frozen=True, slots=True)
class Role:
    """A worker of the stack: ``python -m callboard_PACKAGE`` becomes its process. ``env``: what makes it this one
    where a package has several roles."""

    package: str
    queues: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


TRAINING_MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
    ":glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
}
"""Each step of a training takes and frees the same large pieces of memory. The C library gives these back to the kernel
each time, which then clears them page by page: a million page faults a minute. Kept, and in huge pages, they made
training of an encoder 8 % faster. The worker gives memory back when a training has ended."""

WORKERS = {
    "nlp": Role("nlp", ("nlp",), {"CALLBOARD_NLP_QUEUES": "nlp"}),
    # The same package: training has processes of its own, so that it holds up no embedding, and no detection.
    "nlp-train": Role("nlp", ("nlp-train",), {"CALLBOARD_NLP_QUEUES": "nlp-train", **TRAINING_MALLOC}),
    "llm": Role("llm", ("llm", "tts")),
    "vision": Role("vision", ("vision",), {"CALLBOARD_VISION_QUEUES": "vision"}),
    "vision-train": Role(
        "vision", ("vision-train",), {"CALLBOARD_VISION_QUEUES": "vision-train", **TRAINING_MALLOC}
    ),
    "courier": Role("courier", ("courier", "system")),
}


def ledger_member(valkey: Valkey, env: Mapping[str, str]) -> Member:
    return Member("valkey", valkey.argv, {**MALLOC, **env}, last=True)


def service_members(settings: EmbeddedSettings, env: Mapping[str, str]) -> list[Member]:
    """Everything but the ledger."""
    members = [Member("gateway", _module("callboard_gateway"), env)]
    for name, role in WORKERS.items():
        for number in range(1, settings.count(name) + 1):
            own = name if number == 1 else f"{name}-{number}"
            argv = _module(f"callboard_{role.package}")
            members.append(Member(own, argv, {**env, **role.env}, role.queues))
    return members


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)
