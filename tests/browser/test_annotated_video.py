"""What vision.track draws plays in Chromium."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from playwright.async_api import Browser

from callboard_shared.jobs.vision import Followed
from callboard_vision.video.drawing import Drawing
from callboard_vision.video.writing import VideoWriter

PLAY = """async (content) => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = "data:video/mp4;base64," + content;
  await video.play();
  await new Promise((ended) => (video.onended = ended));
  return [video.videoWidth, video.videoHeight, video.currentTime];
}"""


async def test_an_annotated_video_plays_to_its_end(browser: Browser, tmp_path: Path) -> None:
    drawing = Drawing(161, 121, 5)
    with VideoWriter(tmp_path / "a.mp4", 161, 121, 5, 2) as writer:
        for n in range(5):
            picture = np.full((121, 161, 3), 200, np.uint8)
            box = (10.0 + 20 * n, 40.0, 50.0 + 20 * n, 80.0)
            drawing.draw(picture, [Followed(track_id=1, label="car", class_id=2, confidence=0.9, box=box)])
            writer.write(picture, n / 5, 1 / 5)
    page = await browser.new_page()
    content = base64.b64encode((tmp_path / "a.mp4").read_bytes()).decode()
    width, height, seconds = await page.evaluate(PLAY, content)
    assert (width, height) == (162, 122)
    assert 0.95 < seconds < 1.05
