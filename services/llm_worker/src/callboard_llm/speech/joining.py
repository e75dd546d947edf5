"""Pieces of speech put together without clicks.

At a joint the silence of both sides is trimmed, their ends are faded over a few milliseconds, and a pause of known
length is put between them: so nothing jumps there, whatever the provider lets a piece begin and end with.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

with warnings.catch_warnings():
    # It looks for an ffmpeg when it is imported; we give it none to run.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

_SILENT_DBFS = -50.0
_MARGIN_MS = 40
"""Kept before the first and after the last loud moment: soft consonants are below the threshold."""
_FADE_MS = 15


def joined(pieces: Sequence[tuple[Path, float]], sample_rate: int) -> Iterator[bytes]:
    """Bare 16-bit mono samples of all pieces, one after the other; never more than a piece is in memory.

    ``pieces``: each a file of such samples and the seconds of silence after it (the last one's are left out).
    """
    last = len(pieces) - 1
    for index, (path, pause_s) in enumerate(pieces):
        sound = _read(path, sample_rate)
        if index > 0:
            sound = _trimmed_start(sound).fade_in(_FADE_MS)
        if index < last:
            sound = _trimmed_start(sound.reverse()).reverse().fade_out(_FADE_MS)
            # A fade ends one step above nothing; the silence behind it makes it nothing.
            sound += AudioSegment.silent(duration=round(pause_s * 1000), frame_rate=sample_rate)
        if sound.raw_data:
            yield sound.raw_data


def _read(path: Path, sample_rate: int) -> AudioSegment:
    data = path.read_bytes()
    return AudioSegment(data=data[: len(data) // 2 * 2], sample_width=2, frame_rate=sample_rate, channels=1)


def _trimmed_start(sound: AudioSegment) -> AudioSegment:
    silent_ms = detect_leading_silence(sound, silence_threshold=_SILENT_DBFS, chunk_size=5)
    return sound[max(0, silent_ms - _MARGIN_MS) :]
