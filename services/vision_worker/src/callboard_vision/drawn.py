"""Draws the files of the job types' examples: ours alone, so that they may lie in the repository.

python -m callboard_vision.drawn shared/src/callboard_shared/jobs/vision/examples
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

from callboard_vision.engines.interface import Pixels

CLASSES = ("circle", "square", "triangle")


def street(width: int = 416, height: int = 312) -> Pixels:
    """Sky, hills and a road."""
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([235, 200, 150]) * (1 - rows) + np.array([240, 235, 225]) * rows
    picture: Pixels = np.repeat(sky, width, axis=1).astype(np.uint8)
    ground = int(height * 0.72)
    cv2.ellipse(
        picture, (width // 4, ground), (width // 2, height // 6), 0, 180, 360, (90, 140, 100), -1, cv2.LINE_AA
    )
    cv2.rectangle(picture, (0, ground), (width, height), (95, 95, 95), -1)
    cv2.line(picture, (0, (ground + height) // 2), (width, (ground + height) // 2), (200, 220, 220), 3)
    return picture


def stop_sign(picture: Pixels, x: int, y: int, radius: int) -> None:
    """Draws a stop sign with its post; x, y: the centre in pixels."""
    foot = min(picture.shape[0] - 1, y + radius * 4)
    cv2.rectangle(picture, (x - radius // 14, y), (x + radius // 14, foot), (120, 120, 120), -1)
    for size, colour in ((1.0, (245, 245, 245)), (0.93, (38, 30, 190))):
        angles = np.deg2rad(np.arange(8) * 45 + 22.5)
        corners = np.stack([x + radius * size * np.cos(angles), y + radius * size * np.sin(angles)], axis=1)
        cv2.fillPoly(picture, [corners.round().astype(np.int32)], colour, cv2.LINE_AA)
    scale, thick = radius / 46, max(1, radius // 12)
    (text_width, text_height), _ = cv2.getTextSize("STOP", cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    at = (x - text_width // 2, y + text_height // 2)
    cv2.putText(picture, "STOP", at, cv2.FONT_HERSHEY_SIMPLEX, scale, (245, 245, 245), thick, cv2.LINE_AA)


def shapes(
    seed: int, size: int = 64, most: int = 3
) -> tuple[Pixels, list[tuple[int, float, float, float, float]]]:
    """A scene of shapes, and what is in it: class, and the box as YOLO writes it (centre, width, height; 0…1)."""
    random = np.random.default_rng(seed)
    picture = np.full((size, size, 3), random.integers(200, 255), np.uint8)
    found = []
    for _ in range(random.integers(1, most + 1)):
        radius = int(random.integers(size // 10, size // 5))
        x, y = (int(value) for value in random.integers(radius, size - radius, 2))
        kind = int(random.integers(len(CLASSES)))
        colour = tuple(int(value) for value in random.integers(0, 160, 3))
        if kind == 0:
            cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
        else:
            corners = np.array(
                [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], np.int32
            )
            cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA)
        found.append((kind, x / size, y / size, 2 * radius / size, 2 * radius / size))
    return picture, found


def shapes_zip(path: Path, train: int, val: int, size: int = 64) -> None:
    """A data set in YOLO layout."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)

        names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
        write("data.yaml", f"train: images/train\nval: images/val\nnames:\n{names}".encode())
        for part, count, first in (("train", train, 0), ("val", val, 1_000_000)):
            for index in range(count):
                picture, found = shapes(first + index, size)
                write(f"images/{part}/{index:04}.png", cv2.imencode(".png", picture)[1].tobytes())
                lines = "".join(f"{kind} {x:.5f} {y:.5f} {w:.5f} {h:.5f}\n" for kind, x, y, w, h in found)
                write(f"labels/{part}/{index:04}.txt", lines.encode())


def passing_sign(path: Path, frames: int = 24, width: int = 416, height: int = 312) -> None:
    """A video in which a stop sign goes by from left to right, at 12 frames a second."""
    import imageio_ffmpeg

    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
        "-s", f"{width}x{height}", "-r", "12", "-i", "-", "-an", "-c:v", "libx264", "-preset", "veryslow",
        "-crf", "30", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-map_metadata", "-1", str(path),
    ]  # fmt: skip
    pictures = []
    for frame in range(frames):
        picture = street(width, height)
        stop_sign(picture, 86 + frame * (width - 172) // (frames - 1), height * 2 // 5, 76)
        pictures.append(picture.tobytes())
    subprocess.run(command, input=b"".join(pictures), check=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture = street()
    stop_sign(picture, 230, 120, 82)
    cv2.imwrite(str(folder / "stop_sign.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    passing_sign(folder / "passing_sign.mp4")
    shapes_zip(folder / "shapes.zip", train=8, val=4)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
