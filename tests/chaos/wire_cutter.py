"""A TCP proxy in front of the ledger that spoils connections: process control from outside, no product code knows of it.

It knows the steps by what goes over the wire: a script by its hash, a bell by the LPUSH of its queue. When a chunk
with one of them comes from a client, ``spoil`` may name a fault for it, and how many bytes still pass.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from callboard_shared.ledger.client import script

CHUNK = 65_536
Kind = Literal["unsent", "torn", "unanswered", "half answered", "late"]
KINDS: tuple[Kind, ...] = ("unsent", "torn", "unanswered", "half answered", "late")


@dataclass(frozen=True, slots=True)
class Fault:
    """unsent: the request is cut off before its first byte; torn: after ``cut_at`` bytes; unanswered: it arrives, and its
    answer does not; half answered: ``cut_at`` bytes of the answer do; late: it is held for ``pause_s`` seconds."""

    kind: Kind
    cut_at: int = 0
    pause_s: float = 0.0


def steps(*names: str) -> dict[str, bytes]:
    """What gives a step away: scripts by name, and ``ring`` for a bell."""
    return {name: b"LPUSH" if name == "ring" else script(name).sha.encode() for name in names}


class At:
    """Spoils a share of the requests that carry out one of these steps; the dice say which, and how."""

    def __init__(
        self, signs: Mapping[str, bytes], share: float, dice: random.Random, longest_s: float = 1.0
    ) -> None:
        self.signs, self.share, self.dice, self.longest_s = signs, share, dice, longest_s
        self.done: Counter[str] = Counter()

    def __call__(self, chunk: bytes) -> Fault | None:
        step = next((name for name, sign in self.signs.items() if sign in chunk), None)
        if step is None or self.dice.random() >= self.share:
            return None
        fault = Fault(
            self.dice.choice(KINDS), self.dice.randrange(len(chunk)), self.dice.uniform(0, self.longest_s)
        )
        self.done[f"{step}: {fault.kind}"] += 1
        return fault


class WireCutter:
    """``spoil``: asked for each chunk that a client sends. ``away``: connections are cut and refused meanwhile."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.spoil: Callable[[bytes], Fault | None] | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, to = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        answers = _Answers(there, writer)
        back = asyncio.ensure_future(answers.carry())
        try:
            while chunk := await reader.read(CHUNK):
                fault = self.spoil(chunk) if self.spoil else None
                if fault is not None and not await _commit(fault, chunk, to, answers):
                    break
                if fault is None or fault.kind == "late":
                    to.write(chunk)
                    await to.drain()
        except OSError:
            pass
        finally:
            back.cancel()
            await asyncio.wait([back])
            to.close()
            writer.close()


class _Answers:
    """What comes back on one connection. left: bytes that still pass; None: all."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.left: int | None = None
        self.came = asyncio.Event()

    async def carry(self) -> None:
        try:
            while chunk := await self._reader.read(CHUNK):
                passes = chunk if self.left is None else chunk[: self.left]
                if self.left is not None:
                    self.left -= len(passes)
                if passes:
                    self._writer.write(passes)
                    await self._writer.drain()
                self.came.set()
        except OSError:
            pass
        finally:
            self.came.set()
            self._writer.close()


async def _commit(fault: Fault, chunk: bytes, to: asyncio.StreamWriter, answers: _Answers) -> bool:
    """Whether the connection lives on."""
    if fault.kind == "late":
        await asyncio.sleep(fault.pause_s)
        return True
    if fault.kind == "torn":
        to.write(chunk[: fault.cut_at])
        await to.drain()
    elif fault.kind in ("unanswered", "half answered"):
        answers.left = min(fault.cut_at, 64) if fault.kind == "half answered" else 0
        answers.came.clear()
        to.write(chunk)
        await to.drain()
        await answers.came.wait()
    return False
