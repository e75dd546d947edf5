"""The proxy spoils what it is told to spoil, in the way it says, and passes the rest."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from wire_cutter import KINDS, At, Fault, WireCutter, steps

heard: list[bytes] = []


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Notes what comes, and answers in upper case."""
    while chunk := await reader.read(100):
        heard.append(chunk)
        writer.write(chunk.upper())
    writer.close()


@asynccontextmanager
async def cutter(spoil: Callable[[bytes], Fault | None] | None = None) -> AsyncIterator[WireCutter]:
    heard.clear()
    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    proxy = WireCutter(server.sockets[0].getsockname()[1])
    proxy.spoil = spoil
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        server.close()


async def say(proxy: WireCutter, words: bytes) -> bytes:
    """All that is answered until the connection ends, or half a second of silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(words)
    answer = b""
    try:
        async with asyncio.timeout(0.5):
            while chunk := await reader.read(100):
                answer += chunk
    except TimeoutError:
        answer += b"..."  # it is still open
    writer.close()
    return answer


async def test_what_is_not_spoiled_passes_and_the_connection_stays() -> None:
    async with cutter(lambda _: None) as proxy:
        assert await say(proxy, b"hello") == b"HELLO..."


@pytest.mark.parametrize(
    ("fault", "arrived", "answered"),
    [
        (Fault("unsent"), b"", b""),
        (Fault("torn", cut_at=2), b"he", None),
        (Fault("unanswered"), b"hello", b""),
        (Fault("half answered", cut_at=3), b"hello", b"HEL"),
        (Fault("late", pause_s=0.1), b"hello", b"HELLO..."),
    ],
)
async def test_each_fault_is_what_it_says(fault: Fault, arrived: bytes, answered: bytes | None) -> None:
    async with cutter(lambda chunk: fault if chunk == b"hello" else None) as proxy:
        began = time.monotonic()
        answer = await say(proxy, b"hello")
        assert answered is None or answer == answered
        assert fault.kind != "late" or time.monotonic() - began >= fault.pause_s
        assert b"".join(heard) == arrived


async def test_it_passes_again_when_it_is_told_nothing_more() -> None:
    async with cutter(lambda _: Fault("unsent")) as proxy:
        assert await say(proxy, b"hello") == b""
        proxy.spoil = None
        assert await say(proxy, b"hello") == b"HELLO..."


def test_the_dice_choose_the_same_faults_for_the_same_seed() -> None:
    signs = steps("submit", "ring")
    chunks = [b"EVALSHA " + signs["submit"], b"LPUSH nlp", b"GET x"] * 100

    def faults(seed: int) -> list[Fault | None]:
        at = At(signs, 0.3, random.Random(seed))
        found = [at(chunk) for chunk in chunks]
        assert sum(at.done.values()) == sum(1 for fault in found if fault)
        return found

    assert faults(1) == faults(1) != faults(2)
    assert all(fault is None for fault in faults(1)[2::3])
    assert {fault.kind for fault in faults(1) if fault} == set(KINDS)
