"""A double of ElevenLabs and of OpenAI's speech, over real sockets, in their exact wire formats.

It speaks tones: the number in a text decides how high (300 Hz and 100 Hz more for each), so that a test hears which
text it was and in which order. ``script`` makes the next requests for speech go wrong; ``heard`` keeps them all.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
import struct
import subprocess
import threading
import time
import wave
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import imageio_ffmpeg
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ELEVENLABS_KEY = "sk_" + "5eca" * 12
OPENAI_KEY = "sk-proj-" + "5ecb" * 12
GEORGE, ROGER = "JBFqnCBsd6RMkjVDRZzb", "CwhRBWXzGAHq8TQ4Fs17"
TONE_S = 0.5

_ELEVENLABS_VOICES = [
    {
        "voice_id": GEORGE, "name": "George", "category": "premade", "labels": {"accent": "british"},
        "description": "Warm", "preview_url": "https://example.com/george.mp3",
        "verified_languages": [{"language": "en", "model_id": "eleven_multilingual_v2"}],
    },
    {"voice_id": ROGER, "name": "Roger - Laid-Back, Casual", "category": "premade", "labels": {}},
]  # fmt: skip
_ELEVENLABS_MODELS = [
    {"model_id": "eleven_multilingual_v2", "name": "Multilingual", "can_do_text_to_speech": True},
    {"model_id": "eleven_english_sts_v2", "name": "Voice changer", "can_do_text_to_speech": False},
]
_OPENAI_VOICES = ("alloy", "nova")
_OPENAI_MODELS = ("gpt-4o-mini-tts", "tts-1")


@dataclass(frozen=True)
class Heard:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: float


@dataclass(frozen=True)
class Error:
    """An answer with this status, in the provider's shape."""

    status: int
    word: str = "internal_error"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drip:
    """The audio in small chunks with ``pause_s`` between them."""

    pause_s: float


class Break:
    """The connection ends in the middle of the audio."""


class Noise:
    """200, and no audio."""


class Hold:
    """No answer until the test lets go."""

    def __init__(self) -> None:
        self.began, self.let_go = threading.Event(), threading.Event()


class SpeechDouble:
    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.script: deque[Any] = deque()
        self.by_text: dict[str, Any] = {}
        """A step for the next request whose text contains the word."""
        self.most_at_once = 0
        self._now = 0
        self.url = ""

    @property
    def texts(self) -> list[str]:
        """What was asked to be spoken, in order, whatever became of it."""
        return [
            one.body.get("text", one.body.get("input", ""))
            for one in self.heard
            if isinstance(one.body, dict)
        ]

    def forget(self) -> None:
        self.heard.clear()
        self.script.clear()
        self.by_text.clear()
        self.most_at_once = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/text-to-speech/{voice}", self._elevenlabs, methods=["POST"]),
                Route("/v1/voices", self._voices),
                Route("/v1/models", self._models),
                Route("/openai/v1/audio/speech", self._openai, methods=["POST"]),
            ]
        )

    # --- ElevenLabs ---

    async def _elevenlabs(self, request: Request) -> Response:
        body = await self._hear(request)
        if (refused := self._refused(request)) is not None:
            return refused
        if not isinstance(body, dict) or not isinstance(body.get("text"), str):
            detail = [{"type": "missing", "loc": ["body", "text"], "msg": "Field required", "input": body}]
            return JSONResponse({"detail": detail}, 422)
        if request.path_params["voice"] not in (GEORGE, ROGER):
            message = f"A voice with the voice_id {request.path_params['voice']} was not found."
            return _detail(404, "voice_not_found", message)
        if body.get("model_id") not in ("eleven_multilingual_v2", "eleven_v3"):
            return _detail(
                400, "model_not_found", f"A model with model_id {body['model_id']} does not exist."
            )
        kind, rate, *_ = request.query_params.get("output_format", "mp3_44100_128").split("_")
        audio = _tone_mp3(_pitch(body["text"])) if kind == "mp3" else _tone(_pitch(body["text"]), int(rate))
        step = self._step(body["text"])
        if isinstance(step, Error):
            # As careless as a real one may be: the message repeats key and text.
            return _detail(
                step.status, step.word, f"{request.headers['xi-api-key']} {body['text']}", step.headers
            )
        return await self._answer(step, audio, "audio/mpeg")

    async def _voices(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"voices": _ELEVENLABS_VOICES})

    async def _models(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(_ELEVENLABS_MODELS)

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("xi-api-key") == ELEVENLABS_KEY:
            return None
        return _detail(401, "invalid_api_key", "Invalid API key")

    # --- OpenAI ---

    async def _openai(self, request: Request) -> Response:
        body = await self._hear(request)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != OPENAI_KEY:
            return _error(401, f"Incorrect API key provided: {given[:12]}***.", None, "invalid_api_key")
        if body["model"] not in _OPENAI_MODELS:
            return _error(404, f"The model `{body['model']}` does not exist.", None, "model_not_found")
        if body["voice"] not in _OPENAI_VOICES:
            return _error(400, f"Invalid value: '{body['voice']}'.", "voice", "invalid_value")
        step = self._step(body["input"])
        if isinstance(step, Error):
            return _error(step.status, f"{given} {body['input']}", None, step.word, step.headers)
        assert body["response_format"] == "wav"
        return await self._answer(step, _endless_wav(_tone(_pitch(body["input"]), 24_000)), "audio/wav")

    # --- both ---

    async def _hear(self, request: Request) -> Any:
        raw = await request.body()
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            body = raw
        query = dict(request.query_params)
        self.heard.append(Heard(request.url.path, query, dict(request.headers), body, time.monotonic()))
        return body

    def _step(self, text: str) -> Any:
        for word in list(self.by_text):
            if word in text:
                return self.by_text.pop(word)
        return self.script.popleft() if self.script else None

    async def _answer(self, step: Any, audio: bytes, media_type: str) -> Response:
        if isinstance(step, Noise):
            return Response(b"<html>welcome to the captive portal</html>", media_type="text/html")
        return StreamingResponse(self._chunks(step, audio), media_type=media_type)

    async def _chunks(self, step: Any, audio: bytes) -> AsyncIterator[bytes]:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if isinstance(step, Hold):
                step.began.set()
                await asyncio.to_thread(step.let_go.wait, 60)
            size = 256 if isinstance(step, Drip) else 4096
            for at in range(0, len(audio), size):
                if isinstance(step, Break) and at >= len(audio) // 2:
                    raise ConnectionResetError("the double breaks the stream, as it was told")
                yield audio[at : at + size]
                await asyncio.sleep(step.pause_s if isinstance(step, Drip) else 0.01)
        finally:
            self._now -= 1


@contextmanager
def serving() -> Iterator[SpeechDouble]:
    """The double on a free port of the loopback."""
    double = SpeechDouble()
    config = uvicorn.Config(
        double.app(), port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the double did not start"
        thread.join(0.01)
    double.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield double
    finally:
        server.should_exit = True
        thread.join(10)


def _detail(status: int, word: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": {"status": word, "message": message}}, status, headers)


def _error(
    status: int, message: str, param: str | None, code: str, headers: dict[str, str] | None = None
) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers)


def pitch_of(number: int) -> int:
    return 300 + 100 * number


def _pitch(text: str) -> int:
    found = re.search(r"\d+", text)
    return pitch_of(int(found[0]) if found else 0)


def _tone(pitch: int, rate: int) -> bytes:
    """16-bit mono samples that begin and end abruptly, as those of a provider may."""
    count = int(TONE_S * rate)
    return struct.pack(
        f"<{count}h", *(int(12_000 * math.cos(math.tau * pitch * i / rate)) for i in range(count))
    )


@cache
def _tone_mp3(pitch: int) -> bytes:
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "s16le", "-ar", "44100", "-ac", "1", "-i", "-",
        "-b:a", "128k", "-f", "mp3", "-",
    ]  # fmt: skip
    return subprocess.run(command, input=_tone(pitch, 44_100), capture_output=True, check=True).stdout


def _endless_wav(samples: bytes) -> bytes:
    """A WAV as it is streamed: its header does not know the length yet."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(samples)
    data = bytearray(buffer.getvalue())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    return bytes(data)
