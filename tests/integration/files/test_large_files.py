"""Large files pass through the gateway in pieces: its memory does not grow with them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from callboard_client import Callboard

KEY = "cb_testtest_" + "k" * 43
MB = 1024**2
SIZE = int(os.environ.get("CALLBOARD_TEST_LARGE_MB", "300")) * MB
ROOM = 150 * MB
"""What the gateway may have in all, of which it needs some 90 MB for itself."""


class Watched:
    """A gateway in a process of its own; ``most`` is the most memory that it was seen to have."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.url, self.most = url, 0
        self._process = psutil.Process(process.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def watched(valkey_url: str, tmp_path: Path) -> Iterator[Watched]:
    port = _free_port()
    env = {
        **os.environ, "CALLBOARD_REDIS_URL": valkey_url, "CALLBOARD_ADMIN_KEY": KEY, "CALLBOARD_PORT": str(port),
        "CALLBOARD_FILES_DIR": str(tmp_path / "files"), "CALLBOARD_HOME": str(tmp_path),
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "callboard_gateway"], env=env, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        watched = Watched(process, url)
        yield watched
        watched.end()
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, str]:
    """A file that holds nothing twice, and its sha256."""
    path, digest = tmp_path / "large.bin", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(SIZE // MB):
            piece = os.urandom(MB)
            digest.update(piece)
            file.write(piece)
    return path, digest.hexdigest()


@pytest.mark.slow
def test_up_and_down_within_its_memory(watched: Watched, large: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = large
    with Callboard(watched.url, KEY) as callboard:
        pieces = callboard.files.upload(path)
        assert (pieces.bytes, pieces.sha256) == (SIZE, sha256)
        in_pieces = watched.most
        back = callboard.files.download(pieces, tmp_path / "back.bin")
        assert _sha256(back) == sha256
        back.unlink()
        callboard.files.delete(pieces)
        at_once = _form(watched.url, path)
        assert (at_once["bytes"], at_once["sha256"]) == (SIZE, sha256)
    print(f"most memory: {in_pieces / MB:.0f} MB in pieces, {watched.most / MB:.0f} MB in all")
    assert watched.most < ROOM


def _form(url: str, path: Path) -> Any:
    with path.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/files", files={"file": file}, headers={"Authorization": f"Bearer {KEY}"}, timeout=300
        )
    assert answer.status_code == 201, answer.text
    return answer.json()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
