"""What a sound is, measured: decoded by ffmpeg, and looked at with numpy."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import Any

import imageio_ffmpeg
import numpy as np

Samples = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Sound:
    """codec, sample_rate and channels as ffmpeg reads them; samples: mono, −1…1."""

    codec: str
    sample_rate: int
    channels: int
    kbits: int | None
    samples: Samples

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def loudness_dbfs(self) -> float:
        return float(10 * np.log10(np.mean(self.samples**2) + 1e-12))

    def speaking(self) -> float:
        """The share of moments of 50 ms that are louder than −45 dBFS."""
        size = self.sample_rate // 20
        frames = self.samples[: len(self.samples) // size * size].reshape(-1, size)
        return float(np.mean(10 * np.log10(np.mean(frames**2, axis=1) + 1e-12) > -45))

    def pitches(self) -> list[int]:
        """The tones one hears, one after the other, in Hz to the next hundred; silence parts them."""
        return [self.pitch(part) for part in self.parts()]

    def parts(self) -> list[Samples]:
        size = self.sample_rate // 100
        frames = self.samples[: len(self.samples) // size * size].reshape(-1, size)
        loud = np.max(np.abs(frames), axis=1) > 0.02
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
        return [frames[a:b].ravel() for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 10]

    def pitch(self, part: Samples) -> int:
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        return round(float(np.argmax(spectrum)) * self.sample_rate / len(part) / 100) * 100


def hear(content: bytes) -> Sound:
    """Decode any audio. Raises CalledProcessError."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-nostdin", "-hide_banner", "-i", "pipe:0", "-f", "s16le", "pipe:1"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    said = done.stderr.decode("utf-8", "replace")
    found = re.search(r"Audio: (\w+)[^\n]*?, (\d+) Hz, (mono|stereo)[^\n]*", said)
    assert found, said
    kbits = re.search(r"(\d+) kb/s", found[0])
    channels = 1 if found[3] == "mono" else 2
    samples = np.frombuffer(done.stdout, "<i2").reshape(-1, channels).mean(axis=1) / 32768
    return Sound(found[1], int(found[2]), channels, int(kbits[1]) if kbits else None, samples)


def loudness_lufs(content: bytes) -> float:
    """Integrated loudness by ffmpeg's ebur128 filter (ITU-R BS.1770)."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", "pipe:0", "-af", "ebur128", "-f", "null", "-"
    ]  # fmt: skip
    said = subprocess.run(command, input=content, capture_output=True, check=True).stderr.decode()
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1])
