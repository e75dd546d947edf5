"""The pieces of one job, spoken beside each other within the provider's limit, each kept when it is finished."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import structlog

from callboard_llm.speech import ffmpeg
from callboard_llm.speech.interface import Speaker, Speaking
from callboard_llm.speech.kept import KeptPieces
from callboard_llm.turns import Turns, Waiter
from callboard_shared.errors import CallboardError, RetryableError
from callboard_shared.ledger.metering import TALLY
from callboard_shared.models import Part

log = structlog.get_logger(__name__)


class Recital:
    """``told(done, pieces)`` is called whenever a piece is finished."""

    def __init__(
        self,
        speaker: Speaker,
        speaking: Speaking,
        turns: Turns,
        kept: KeptPieces,
        *,
        owner: str,
        job_id: str,
        folder: Path,
        waiter: Waiter,
        told: Callable[[int, int], None],
    ) -> None:
        self._speaking, self._limits, self._service = speaking, speaker.limits, speaker.service
        self._provider = speaker.name
        self._turns, self._waiter = turns, waiter
        self._kept, self._owner, self._job_id, self._folder, self._told = kept, owner, job_id, folder, told
        self._failure: CallboardError | None = None
        self.characters = 0
        """Of the pieces that are finished, those that were kept from before among them."""

    async def speak(self, texts: Sequence[str], keys: Sequence[str]) -> list[Path]:
        """A file of bare samples for each text. Raises what the first piece that failed raised: at once if it is
        final, else when those beside it, which are paid for, are finished and kept."""
        kept = await asyncio.to_thread(self._kept.find, self._owner, list(dict.fromkeys(keys)))
        spoken = [self._folder / f"{index}.pcm" for index in range(len(texts))]
        missing = deque(range(len(texts)))
        done = 0

        async def work() -> None:
            nonlocal done
            while missing and self._failure is None:
                index = missing.popleft()
                try:
                    await self._piece(texts[index], keys[index], kept.get(keys[index]), spoken[index])
                except CallboardError as error:
                    self._failure = self._failure or error
                    if not error.retryable:
                        raise
                    return
                done += 1
                self.characters += len(texts[index])
                self._told(done, len(texts))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(texts))):
                    group.create_task(work())
        except* CallboardError:
            pass  # it is the failure
        if self._failure is not None:
            raise self._failure
        return spoken

    async def _piece(self, text: str, key: str, part: Part | None, spoken: Path) -> None:
        received = spoken.with_suffix(".received")
        try:
            if part is not None and await asyncio.to_thread(self._kept.fetch, part, received):
                await self._decode(received, spoken)
                return
            async with self._turns.turn(self._waiter):
                if self._failure is not None:
                    raise self._failure
                await self._receive(text, received)
            await self._decode(received, spoken)
            await asyncio.to_thread(self._kept.keep, self._owner, key, self._job_id, received)
        except ffmpeg.Undecodable as error:
            log.warning(
                "speech.undecodable", job=self._job_id, provider=self._service.title, reason=str(error)
            )
            raise self._no_audio() from None
        finally:
            await asyncio.to_thread(received.unlink, missing_ok=True)

    def _no_audio(self) -> RetryableError:
        return self._service.unavailable("answered, and not with audio that can be decoded")

    async def _decode(self, received: Path, spoken: Path) -> None:
        limits = self._limits
        if limits.raw_rate == limits.sample_rate:
            await asyncio.to_thread(_taken_as_it_is, received, spoken)
            return
        await ffmpeg.decode(received, spoken, limits.sample_rate, limits.raw_rate)

    async def _receive(self, text: str, received: Path) -> None:
        file = await asyncio.to_thread(received.open, "wb")
        try:
            with TALLY.asking(self._provider):
                await self._fill(file, text)
        except RetryableError as error:
            self._turns.heed(error)
            raise
        finally:
            await asyncio.to_thread(file.close)

    async def _fill(self, file: BinaryIO, text: str) -> None:
        size = 0
        try:
            async with (
                asyncio.timeout(self._limits.timeout_s),
                aclosing(self._speaking.speak(text)) as chunks,
            ):
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._limits.max_bytes:
                        raise self._no_audio()
                    await asyncio.to_thread(file.write, chunk)
        except TimeoutError:
            raise self._service.slow() from None


def _taken_as_it_is(received: Path, spoken: Path) -> None:
    if received.stat().st_size == 0:
        raise ffmpeg.Undecodable("empty")
    spoken.hardlink_to(received)
