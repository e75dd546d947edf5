"""What is written plays in browsers, as fast as it happened."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from some_videos import corners, number_of, numbered

from callboard_shared.errors import RetryableError
from callboard_vision.engines.interface import Pixels
from callboard_vision.video.reading import open_video
from callboard_vision.video.writing import VideoWriter


def write(path: Path, pictures: list[Pixels], times: list[float], rate: float = 10) -> Path:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width, height, rate, 2) as writer:
        for picture, time_s in zip(pictures, times, strict=True):
            writer.write(picture, time_s, 1 / rate)
    return path


def seen(path: Path) -> list[tuple[float, Pixels]]:
    with path.open("rb") as file, open_video(file, 1, 10_000_000) as video:
        return [(frame.time_s, frame.pixels) for frame in video.frames()]


def test_it_is_what_every_browser_plays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(12)], [n / 10 for n in range(12)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, float(stream.duration * stream.time_base)) == (
            12,
            pytest.approx(1.2, abs=0.001),
        )
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert 0 < content.index(b"moov") < content.index(b"mdat")  # it plays before it is all there


def test_every_frame_is_there_at_its_own_time(tmp_path: Path) -> None:
    times = [0, 0.1, 0.15, 0.4, 1.0, 1.001, 3.5]
    found = seen(write(tmp_path / "a.mp4", [numbered(n) for n in range(7)], times))
    assert [time_s for time_s, _ in found] == pytest.approx(times, abs=0.0005)
    assert [number_of(picture) for _, picture in found] == list(range(7))


def test_frames_without_a_later_time_are_kept(tmp_path: Path) -> None:
    found = seen(write(tmp_path / "a.mp4", [numbered(n) for n in range(4)], [0, 0.5, 0.5, 0.2]))
    assert [number_of(picture) for _, picture in found] == [0, 1, 2, 3]
    times = [time_s for time_s, _ in found]
    assert times == sorted(set(times))


def test_colours_stay(tmp_path: Path) -> None:
    picture = corners(128, 96)
    found = seen(write(tmp_path / "a.mp4", [picture] * 3, [0, 0.1, 0.2]))
    assert np.abs(found[0][1].astype(int) - picture.astype(int)).mean() < 4


@pytest.mark.parametrize("size", [(33, 47), (64, 47), (1, 1), (2, 150)])
def test_odd_sizes_are_filled_up(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    picture: Pixels = np.full((height, width, 3), (20, 20, 200), np.uint8)
    found = seen(write(tmp_path / "a.mp4", [picture] * 2, [0, 0.1]))
    assert found[0][1].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(found[0][1].astype(int) - (20, 20, 200)).mean() < 6


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert len(seen(write(tmp_path / "a.mp4", [corners()], [0]))) == 1


def test_a_full_disk_is_a_reason_to_try_again() -> None:
    with pytest.raises(RetryableError, match="No space left"):
        write(Path("/dev/full"), [corners()] * 2, [0, 0.1])
