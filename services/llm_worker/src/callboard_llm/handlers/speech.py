"""Handler of tts.speech."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from callboard_llm.speech import ffmpeg
from callboard_llm.speech.interface import Speaker
from callboard_llm.speech.joining import joined
from callboard_llm.speech.kept import KeptPieces, piece_key
from callboard_llm.speech.pieces import Piece, cut
from callboard_llm.speech.recital import Recital
from callboard_llm.turns import Turns
from callboard_shared.files import FileRecord
from callboard_shared.jobs.tts import SpeechInput
from callboard_shared.worker import Context, Job

_SPOKEN = 0.9
"""Of the progress; the rest is to join and to encode."""
_OPUS_RATE = 48_000
_LOWEST_STABILITY = 0.3
_READ_BYTES = 1024 * 1024


class SpeechHandlers:
    """``speakers``: in the order in which auto takes the first that is ready."""

    def __init__(self, speakers: Sequence[Speaker], kept: Callable[[], KeptPieces]) -> None:
        self._speakers = {speaker.name: speaker for speaker in speakers}
        self._turns = {
            speaker.name: Turns(speaker.service.title, speaker.limits.concurrency, speaker.limits.per_min)
            for speaker in speakers
        }
        self._kept = kept

    async def speech(self, job: Job[SpeechInput]) -> dict[str, Any]:
        value, context = job.input, job.context
        speaker = self._speaker(value)
        async with _scratch(job.id) as folder, speaker.begin(value) as speaking:
            pieces = cut(value.text, speaker.limits.piece_chars)
            texts = [piece.text for piece in pieces]
            keys = [piece_key(speaker.name, speaking.voice, speaking.settings, text) for text in texts]
            target, warnings = await _target(value, speaker.limits.sample_rate, folder)
            kept = self._kept()

            def told(done: int, of: int) -> None:
                context.progress(_SPOKEN * done / of, f"{done} of {of} pieces spoken", step=done, steps=of)

            recital = Recital(
                speaker, speaking, self._turns[speaker.name], kept,
                owner=job.owner, job_id=job.id, folder=folder, waiter=_Waiter(context), told=told,
            )  # fmt: skip
            try:
                spoken = await recital.speak(texts, keys)
            finally:
                context.usage["characters"] = recital.characters
            context.progress(_SPOKEN, "joining and encoding")
            record, duration_s = await _made(job, pieces, spoken, speaker.limits.sample_rate, target, folder)
            context.usage["characters"] = len(value.text)
            # Not before: who dies with the answers at hand and the commit still to come would pay for all of it again.
            context.once_committed(lambda: kept.forget(job.owner, keys))
        return {
            "file": record.reference(),
            "duration_s": round(duration_s, 3),
            "sample_rate": target.sample_rate,
            "characters": len(value.text),
            "provider": speaker.name,
            "voice": speaking.voice,
            "warnings": [*_of_settings(value), *speaking.warnings, *warnings],
        }

    def _speaker(self, value: SpeechInput) -> Speaker:
        if value.provider == "auto":
            return next(speaker for speaker in self._speakers.values() if speaker.ready)
        return self._speakers[value.provider]


class _Waiter:
    """Tells the job's owner why there is nothing yet. While any piece of the job waits for its turn the job waits: its
    time limit is for what hangs."""

    def __init__(self, context: Context) -> None:
        self._context, self._told = context, False

    def delayed(self, why: str) -> None:
        if not self._told:  # and not for each piece: from the first on, progress counts them
            self._told = True
            self._context.progress(0.0, why)

    def waiting(self) -> AbstractContextManager[None]:
        return self._context.waiting()


async def _target(value: SpeechInput, own_rate: int, folder: Path) -> tuple[ffmpeg.Target, list[str]]:
    """What to make of the voice's samples, as far as the format can have it, and what it cannot."""
    wanted, warnings = value.sample_rate or own_rate, []
    if value.format == "opus" and wanted != _OPUS_RATE:
        if value.sample_rate is not None:
            warnings.append(f"Opus always plays at 48,000 Hz, so the {wanted:,} Hz asked for were left out.")
        wanted = _OPUS_RATE
    kbits = None if value.bitrate is None else int(value.bitrate)
    target, warning = await ffmpeg.settle(ffmpeg.Target(value.format, wanted, value.channels, kbits), folder)
    return target, [*warnings, *([warning] if warning else [])]


async def _made(
    job: Job[SpeechInput],
    pieces: Sequence[Piece],
    spoken: Sequence[Path],
    rate: int,
    target: ffmpeg.Target,
    folder: Path,
) -> tuple[FileRecord, float]:
    """The file in the object store, and how many seconds it plays."""
    parts = [(path, piece.pause_s) for path, piece in zip(spoken, pieces, strict=True)]
    filters = await ffmpeg.loudness(joined(parts, rate), rate) if job.input.normalize else ()
    path = folder / "speech"
    size = await ffmpeg.encode(joined(parts, rate), rate, path, target, filters)
    name = f"speech.{target.format}"
    media_type = ffmpeg.ENCODINGS[target.format].media_type
    record = await asyncio.to_thread(job.context.put_file, name, _chunks(path), media_type)
    return record, size / ffmpeg.SAMPLE_BYTES / rate


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            yield chunk


def _of_settings(value: SpeechInput) -> list[str]:
    stability = value.voice_settings.stability if value.voice_settings else None
    if stability is None or stability >= _LOWEST_STABILITY:
        return []
    return [
        f"A stability of {stability:g} is below {_LOWEST_STABILITY}: the voice may vary much, and mispronounce or skip "
        "words."
    ]


@asynccontextmanager
async def _scratch(job_id: str) -> AsyncIterator[Path]:
    """An empty folder. What an attempt of this job that was killed left behind on this machine goes first."""
    prefix = f"callboard-speech-{job_id}-"

    def make() -> Path:
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=prefix))

    folder = await asyncio.to_thread(make)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
