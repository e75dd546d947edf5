"""Videos as people have them: cut off, turned, of uneven time, damaged, and none at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from some_videos import Encode, Ffmpeg, corners, number_of, numbered

from callboard_shared.errors import FinalError
from callboard_vision.engines.interface import Pixels
from callboard_vision.video.reading import Frame, Video, open_video

FASTSTART = ("-movflags", "+faststart")


def read(content: bytes | Path, every_n: int = 1, max_pixels: int = 10_000_000) -> tuple[Video, list[Frame]]:
    given = content if isinstance(content, bytes) else content.read_bytes()
    with open_video(io.BytesIO(given), 2, max_pixels) as video:
        return video, list(video.frames(every_n))


def refused(content: bytes | Path, **options: int) -> str:
    with pytest.raises(FinalError) as caught:
        read(content, **options)
    return caught.value.problem_code


def noise(frames: int = 30, width: int = 128, height: int = 96) -> list[Pixels]:
    """Pictures that take many bytes, so that a place in the file is a place in time."""
    random = np.random.default_rng(1)
    return [random.integers(0, 255, (height, width, 3), np.uint8) for _ in range(frames)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm"])
@pytest.mark.parametrize("every_n", [1, 3, 7, 100])
def test_every_nth_frame_comes_with_its_number_and_time(name: str, every_n: int, encode: Encode) -> None:
    path = encode(name, [numbered(n) for n in range(20)], 10)
    video, frames = read(path, every_n)
    assert [frame.number for frame in frames] == list(range(0, 20, every_n))
    assert [number_of(frame.pixels) for frame in frames] == [frame.number for frame in frames]
    assert [frame.time_s for frame in frames] == pytest.approx(
        [n / 10 for n in range(0, 20, every_n)], abs=0.001
    )
    assert (video.width, video.height, video.fps, video.read) == (128, 96, 10, 20)
    assert video.ended_s == pytest.approx(2, abs=0.001)
    assert video.seconds == pytest.approx(2, abs=0.01)
    assert video.warnings == []


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_times_are_true_where_frames_come_unevenly(name: str, encode: Encode) -> None:
    uneven = (
        "-vf",
        r"settb=1/1000,setpts='100*if(lt(N\,5)\,N\,N*N-20)'",
        "-fps_mode",
        "vfr",
        "-enc_time_base",
        "1/1000",
    )
    path = encode(name, [numbered(n) for n in range(10)], 10, uneven)
    video, frames = read(path)
    times = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.6, 2.9, 4.4, 6.1]
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=0.002)
    assert video.warnings == []


@pytest.mark.parametrize("angle", [90, -90, 180])
def test_a_turned_video_is_seen_as_players_show_it(
    angle: int, encode: Encode, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    plain = encode("plain.mp4", [corners()] * 3)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(angle), "-i", plain, "-c", "copy", turned)
    video, frames = read(turned)
    shown = ffmpeg("-i", turned, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
    width, height = (64, 96) if abs(angle) == 90 else (96, 64)
    assert (video.width, video.height) == (width, height)
    expected = np.frombuffer(shown, np.uint8).reshape(height, width, 3).astype(int)
    assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 4
    assert frames[0].pixels.flags.c_contiguous


def test_times_count_from_the_start_of_the_video(encode: Encode, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    path = encode("a.mp4", [numbered(n) for n in range(10)])
    late = tmp_path / "late.mov"
    ffmpeg("-itsoffset", "5", "-i", path, "-c", "copy", "-copyts", "-avoid_negative_ts", "disabled", late)
    _, frames = read(late)
    assert [frame.time_s for frame in frames] == pytest.approx([n / 10 for n in range(10)], abs=0.001)


def test_what_a_cut_off_video_still_has_is_read(encode: Encode) -> None:
    for name, options in (("a.mp4", FASTSTART), ("a.webm", ())):
        whole = encode(name, noise(), 10, options).read_bytes()
        video, frames = read(whole[: len(whole) // 2])
        assert 8 <= len(frames) <= 22, name
        assert video.read == len(frames)
        assert "cut off" in video.warnings[0] and f"after {len(frames)}" in video.warnings[0], name


def test_a_video_without_its_index_is_damaged(encode: Encode) -> None:
    whole = encode("a.mp4", noise(), 10).read_bytes()  # the index stands at the end
    assert refused(whole[: len(whole) // 2]) == "video-damaged"
    assert refused(whole[:100]) == "video-damaged"


def test_damage_in_the_middle_is_told_and_the_rest_read(encode: Encode) -> None:
    whole = bytearray(encode("a.mp4", noise(60), 10, (*FASTSTART, "-g", "10")).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 3000] = np.random.default_rng(2).bytes(3000)
    video, frames = read(bytes(whole))
    assert 40 <= len(frames) <= 60
    assert frames[-1].number == video.read - 1
    assert "damaged" in video.warnings[0]


def test_whole_videos_of_unusual_making_are_not_called_damaged(
    encode: Encode, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    plain = encode("plain.mp4", [numbered(n) for n in range(40)], 10, ("-g", "10"))
    sound = ("-f", "lavfi", "-i", "sine=duration=9")
    ffmpeg("-i", plain, *sound, "-c:v", "copy", tmp_path / "longer_sound.mp4")
    ffmpeg("-i", plain, *sound, "-c:v", "libvpx-vp9", "-deadline", "realtime", tmp_path / "longer_sound.webm")
    ffmpeg("-ss", "1.35", "-i", plain, "-c", "copy", tmp_path / "edited.mp4")
    ffmpeg("-i", plain, "-c", "copy", "-movflags", "+frag_keyframe+empty_moov", tmp_path / "fragments.mp4")
    for name in ("longer_sound.mp4", "longer_sound.webm", "edited.mp4", "fragments.mp4"):
        video, frames = read(tmp_path / name)
        assert len(frames) >= 26, name
        assert video.warnings == [], name


def test_a_size_that_changes_midway_keeps_the_first(encode: Encode, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    for name, size in (("a", (128, 96)), ("b", (64, 48))):
        encode(f"{name}.h264", [corners(*size)] * 5, 10, ("-bf", "0"))
    both = (tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes()
    joined = tmp_path / "joined.mp4"
    ffmpeg("-f", "h264", "-r", "10", "-i", "-", "-c", "copy", joined, given=both)
    _, frames = read(joined)
    assert len(frames) == 10
    assert {frame.pixels.shape for frame in frames} == {(96, 128, 3)}
    first, last = (frame.pixels.astype(int) for frame in (frames[0], frames[-1]))
    assert np.abs(first - last).mean() < 12


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_titles_in_an_old_encoding_are_no_trouble(name: str, encode: Encode) -> None:
    titled = encode(name, [corners()] * 3, 10, ("-metadata", "title=Strasse")).read_bytes()
    content = titled.replace(b"Strasse", "Straße".encode("latin-1") + b"n")
    assert content != titled
    assert len(read(content)[1]) == 3


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (2, 150)])
def test_odd_and_tiny_sizes_are_read(size: tuple[int, int], ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    path = tmp_path / "odd.mov"
    source = f"color=red:size={size[0]}x{size[1]}:rate=10:duration=0.5"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "png", path)
    video, frames = read(path)
    assert (video.width, video.height, len(frames)) == (*size, 5)
    assert frames[0].pixels.shape == (size[1], size[0], 3)
    assert frames[0].pixels[0, 0].argmax() == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"This is a text, not a video.",
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
        b"RIFF\0\0\0\0AVI LIST",
    ],
)
def test_what_is_no_video_is_refused_by_its_bytes(content: bytes) -> None:
    assert refused(content) == "unsupported-media-type"


def test_sound_alone_is_no_video(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    assert refused(path) == "no-video"


@pytest.mark.parametrize("content", [b"\x1aE\xdf\xa3" + bytes(500), b"\0\0\0\x18ftypisom" + bytes(500)])
def test_a_beginning_without_a_video_is_damaged(content: bytes) -> None:
    assert refused(content) == "video-damaged"


def test_too_large_frames_are_refused_before_any_is_decoded(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode("a.mp4", [corners(1280, 720)] * 2)
    monkeypatch.setattr(Video, "_decode", lambda video: pytest.fail("a frame was decoded"))
    assert refused(path, max_pixels=1280 * 720 - 1) == "image-too-large"


def test_a_header_that_lies_about_its_size_does_not_help(encode: Encode) -> None:
    whole = encode("a.mp4", [corners(1280, 720)] * 2).read_bytes()
    claimed = (16).to_bytes(2, "big") * 2
    lying = whole.replace((1280).to_bytes(2, "big") + (720).to_bytes(2, "big"), claimed)
    assert lying != whole
    assert refused(lying, max_pixels=10_000) in ("image-too-large", "video-damaged")


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_whatever_is_damaged_the_video_is_read_or_refused(name: str, encode: Encode) -> None:
    whole = encode(name, [numbered(n) for n in range(12)], 10).read_bytes()
    random = np.random.default_rng(5)
    read_on = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(4, len(whole), random.integers(1, 20)):
            damaged[place] = random.integers(256)
        try:
            read_on += len(read(bytes(damaged))[1]) > 0
        except FinalError:
            continue
    assert read_on > 10
