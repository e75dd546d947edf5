"""Pieces put together: nothing jumps, nothing is lost, and the pauses are as said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callboard_llm.speech.joining import joined

RATE = 24_000


def tone(path: Path, seconds: float, *, silence_s: float = 0) -> Path:
    """A cosine of 200 Hz, which begins and ends at full height; silence on both sides."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    quiet = np.zeros(int(silence_s * RATE))
    sound = np.concatenate([quiet, 0.5 * np.cos(2 * np.pi * 200 * time_s), quiet])
    path.write_bytes((sound * 32767).astype("<i2").tobytes())
    return path


def samples(pieces: list[tuple[Path, float]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(b"".join(joined(pieces, RATE)), "<i2") / 32768


def largest_jump(sound: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.max(np.abs(np.diff(sound))))


def test_a_joint_has_no_jump_where_a_plain_one_has(tmp_path: Path) -> None:
    paths = [tone(tmp_path / f"{n}", 0.3) for n in range(3)]
    slope = 0.5 * 2 * np.pi * 200 / RATE
    plain = b"".join(path.read_bytes() + bytes(RATE // 5) for path in paths)
    assert largest_jump(np.frombuffer(plain, "<i2") / 32768) > 0.4, "or the test shows nothing"
    assert largest_jump(samples([(path, 0.1) for path in paths])) < 1.1 * slope


@pytest.mark.parametrize("pause_s", [0.0, 0.03, 0.35])
def test_the_silence_of_both_sides_is_replaced_by_the_pause(tmp_path: Path, pause_s: float) -> None:
    paths = [tone(tmp_path / f"{n}", 0.3, silence_s=1.0) for n in range(2)]
    sound = samples([(path, pause_s) for path in paths])
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    gap_s = float(np.max(np.diff(loud))) / RATE
    assert pause_s <= gap_s <= pause_s + 0.13
    assert loud[0] / RATE == pytest.approx(1.0, abs=0.01), "the outer ends stay as they are"
    assert (len(sound) - loud[-1]) / RATE == pytest.approx(1.0, abs=0.01)


def test_one_piece_is_left_as_it_is(tmp_path: Path) -> None:
    path = tone(tmp_path / "one", 0.2, silence_s=0.2)
    assert b"".join(joined([(path, 0.35)], RATE)) == path.read_bytes()


def test_a_silent_or_odd_piece_harms_nothing(tmp_path: Path) -> None:
    silent, odd = tmp_path / "silent", tmp_path / "odd"
    silent.write_bytes(bytes(RATE))
    odd.write_bytes(tone(tmp_path / "a", 0.1).read_bytes() + b"\x01")
    sound = samples([(odd, 0.1), (silent, 0.1), (odd, 0.1)])
    assert len(np.flatnonzero(np.abs(sound) > 0.1)) > RATE * 0.1
