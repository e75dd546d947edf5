"""Jobs that wait for others: the verbs by which an end is told to those who wait for it."""

from __future__ import annotations

from typing import Any

from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua
from callboard_shared.ledger.records import Filled
from callboard_shared.ledger.saying import said


def _text(reply: bytes) -> str:
    return reply.decode()


def depend(job_id: str, queue: str, dependent_id: str, dependent_queue: str) -> Call[str]:
    """Let ``dependent`` be told when this job ends: ``pending``, ``missing``, or how it has ended already."""
    return lua("depend", [keys.base(queue)], [job_id, f"{dependent_queue} {dependent_id}"], _text)


def settle(
    dependent_id: str, dependent_queue: str, job_id: str, outcome: str, made: Filled | bytes | None = None
) -> Call[tuple[bool, str, bytes]]:
    """Tell a blocked job that one it waits for has ended. Gives (ring, ignored | waits | ready | failed, nothing).

    ``made``: what a step of a pipeline starts with after the last one, or the problem it fails with. Without it the
    step stays ``unfilled``, as it does where its message may not join (the refusal, the job that answers there)."""
    args: list[Any] = [dependent_id, job_id, outcome]
    if isinstance(made, Filled):
        expires, says = (
            "" if made.expires_in_ms is None else made.expires_in_ms,
            said(made.says) if made.says else "",
        )
        args += ["ready", *made.room, made.spec, made.batch_key, made.weight, expires, says]
    elif made is not None:
        args += ["failed", made]

    def parse(reply: Any) -> tuple[bool, str, bytes]:
        return reply[0] == 1, reply[1].decode(), reply[2] if len(reply) > 2 else b""

    return lua("settle", [keys.base(dependent_queue)], args, parse)


def settled(queue: str, row: str) -> Call[int]:
    """Strike a row of the settlements to make, once it is made."""
    return Call(("SREM", keys.of(queue, "settle"), row), int)


def waits_for(job_id: str, queue: str) -> Call[list[str]]:
    return Call(("SMEMBERS", keys.of(queue, "waits", job_id)), lambda reply: sorted(map(_text, reply)))
