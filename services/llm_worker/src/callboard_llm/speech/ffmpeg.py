"""ffmpeg: decoding what providers send, measuring loudness, encoding. Audio passes by in chunks.

The system's ffmpeg if it has the encoders, else the one that imageio-ffmpeg carries; ffprobe is not needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import structlog

from callboard_shared.errors import FinalError
from callboard_shared.jobs.tts import AudioFormat
from callboard_shared.settings import cpu_count

log = structlog.get_logger(__name__)

SAMPLE_BYTES = 2
_QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error")
_WRITE_BYTES = 256 * 1024
_LOUDNESS = "loudnorm=I=-16:TP=-1.5:LRA=20"
"""EBU R 128; −16 LUFS is usual for speech in one's ears. The wide range keeps the second pass a plain gain."""

_PROCESSES = asyncio.Semaphore(cpu_count())


class Undecodable(Exception):
    """What was received is no audio."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """codec and container: ffmpeg's names; kbits: the usual bitrate (None: the encoder's own, or it has none)."""

    codec: str
    container: str
    media_type: str
    kbits: int | None = None
    has_bitrate: bool = True


ENCODINGS: dict[AudioFormat, Encoding] = {
    "mp3": Encoding("libmp3lame", "mp3", "audio/mpeg", 128),
    "wav": Encoding("pcm_s16le", "wav", "audio/wav", has_bitrate=False),
    "ogg": Encoding("libvorbis", "ogg", "audio/ogg"),
    "flac": Encoding("flac", "flac", "audio/flac", has_bitrate=False),
    # An Ogg Opus file is audio/ogg; audio/opus is of RTP (RFC 7845, section 9).
    "opus": Encoding("libopus", "ogg", "audio/ogg", 64),
}


@dataclass(frozen=True, slots=True)
class Target:
    """What to make of bare samples: Hz, channels, kilobits a second (None: the encoder's own)."""

    format: AudioFormat
    sample_rate: int
    channels: int
    kbits: int | None

    @property
    def arguments(self) -> tuple[str, ...]:
        encoding = ENCODINGS[self.format]
        kbits = () if self.kbits is None else ("-b:a", f"{self.kbits}k")
        return (
            "-ac", str(self.channels), "-ar", str(self.sample_rate), "-c:a", encoding.codec, *kbits,
            "-map_metadata", "-1", "-fflags", "+bitexact", "-f", encoding.container,
        )  # fmt: skip


@cache
def executable() -> str:
    """Raises FinalError ``encoder-missing``."""
    needed = {encoding.codec for encoding in ENCODINGS.values()}
    found = [path for path in (shutil.which("ffmpeg"), _bundled()) if path]
    for path in found:
        listed = subprocess.run(
            [path, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
        )
        if needed <= set(listed.stdout.split()):
            return path
        log.warning("ffmpeg.lacks_encoders", path=path)
    raise FinalError(
        "There is no ffmpeg with the encoders for mp3, Vorbis, Opus and FLAC here. Install ffmpeg, or the package "
        "imageio-ffmpeg.",
        code="encoder-missing",
    )


def is_there() -> bool:
    """Whether there is one with the encoders."""
    try:
        return bool(executable())
    except FinalError:
        return False


def _bundled() -> str | None:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


async def decode(source: Path, target: Path, sample_rate: int, raw_rate: int | None) -> None:
    """Write the audio of ``source`` as bare 16-bit mono samples. Raises Undecodable."""
    # Told, not guessed: ffmpeg takes a steady tone for a broadcast, and what a server sends chooses no demuxer.
    kind = (
        ("-f", _container(source)) if raw_rate is None else ("-f", "s16le", "-ar", str(raw_rate), "-ac", "1")
    )
    # Through a pipe and nothing else: what a server sends must not make ffmpeg open files or addresses.
    given = ("-protocol_whitelist", "pipe", *kind, "-i", "pipe:0", "-map", "0:a:0")
    wanted = ("-ac", "1", "-ar", str(sample_rate), "-f", "s16le", "-y", f"file:{target}")
    with source.open("rb") as content:
        async with _running(*given, *wanted, stdin=content.fileno()) as process:
            _, complaint = await process.communicate()
    if process.returncode != 0 or _is_empty(target):
        raise Undecodable(complaint.decode("utf-8", "replace")[-200:])


async def settle(target: Target, folder: Path) -> tuple[Target, str | None]:
    """The target as the encoder can make it, tried on a little silence, and a warning if it had to be changed."""
    encoding = ENCODINGS[target.format]
    if not encoding.has_bitrate:
        unused = f"{target.format} has no bitrate, so the one given was left out."
        return replace(target, kbits=None), None if target.kbits is None else unused
    if target.kbits is None:
        return replace(target, kbits=encoding.kbits), None
    silence = bytes(SAMPLE_BYTES * 2400)
    try:
        await encode([silence], 24_000, folder / "trial", target, ())
    except FinalError:
        return replace(target, kbits=None), (
            f"{target.format} cannot have {target.kbits} kbit/s at {target.sample_rate:,} Hz with {target.channels} "
            "channel(s), so the encoder's own bitrate was used."
        )
    return target, None


async def loudness(samples: Iterable[bytes], sample_rate: int) -> tuple[str, ...]:
    """Measure bare mono samples; gives ffmpeg's filter that brings them to −16 LUFS, none for silence."""
    wanted = ("-af", f"{_LOUDNESS}:print_format=json", "-f", "null", "-")
    _, complaint = await _fed(samples, sample_rate, wanted, "-nostats", "-hide_banner", "-loglevel", "info")
    found = re.search(r"\{[^{}]*\"input_i\"[^{}]*\}", complaint)
    measured = json.loads(found[0]) if found else {}
    if "inf" in str(measured.get("input_i", "inf")):
        return ()
    names = (
        "measured_I=input_i",
        "measured_TP=input_tp",
        "measured_LRA=input_lra",
        "measured_thresh=input_thresh",
    )
    pairs = [name.split("=") for name in names]
    values = ":".join(f"{ours}={measured[theirs]}" for ours, theirs in pairs)
    return ("-af", f"{_LOUDNESS}:{values}:offset={measured['target_offset']}:linear=true")


async def encode(
    samples: Iterable[bytes], sample_rate: int, path: Path, target: Target, filters: Sequence[str]
) -> int:
    """Encode bare mono samples to ``path``; gives how many bytes of them there were. Raises FinalError."""
    size, complaint = await _fed(
        samples, sample_rate, (*filters, *target.arguments, "-y", f"file:{path}"), *_QUIET
    )
    if _is_empty(path):
        raise FinalError(f"ffmpeg could not make the file: {complaint[-300:]}", code="encoding-failed")
    return size


async def _fed(
    samples: Iterable[bytes], sample_rate: int, wanted: Sequence[str], *general: str
) -> tuple[int, str]:
    """Run ffmpeg on samples; gives their bytes and what it said. What ``samples`` computes happens in a thread."""
    given = ("-f", "s16le", "-ar", str(sample_rate), "-ac", "1", "-i", "pipe:0")
    size, chunks = 0, iter(samples)
    async with _running(*given, *wanted, stdin=asyncio.subprocess.PIPE, general=general) as process:
        assert process.stdin is not None and process.stderr is not None
        said = asyncio.create_task(process.stderr.read())
        try:
            # A broken pipe: ffmpeg ended early, and its exit status and words say why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while chunk := await asyncio.to_thread(next, chunks, b""):
                    size += len(chunk)
                    for at in range(0, len(chunk), _WRITE_BYTES):
                        process.stdin.write(chunk[at : at + _WRITE_BYTES])
                        await process.stdin.drain()
            process.stdin.close()
            complaint = (await said).decode("utf-8", "replace").strip()
        finally:
            said.cancel()
        status = await process.wait()
    if status != 0:
        raise FinalError(
            f"ffmpeg could not make the file (status {status}): {complaint[-300:]}", code="encoding-failed"
        )
    return size, complaint


def _container(path: Path) -> str:
    """Which of the formats that providers send it is, by its first bytes. Raises Undecodable."""
    with path.open("rb") as file:
        head = file.read(12)
    for magic, name in ((b"RIFF", "wav"), (b"OggS", "ogg"), (b"fLaC", "flac"), (b"ID3", "mp3")):
        if head.startswith(magic):
            return name
    if (
        len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06
    ):  # a frame of layer I to III
        return "mp3"
    raise Undecodable(f"begins with {head!r}")


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


@asynccontextmanager
async def _running(
    *arguments: str, stdin: int, general: Sequence[str] = _QUIET
) -> AsyncIterator[asyncio.subprocess.Process]:
    """ffmpeg as a process that does not outlive the block; one a core at a time."""
    async with _PROCESSES:
        process = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(executable), *general, *arguments, stdin=stdin,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
