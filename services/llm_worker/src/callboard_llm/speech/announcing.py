"""Tells the ledger which voices this worker's providers have, for ``GET /v1/voices``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import structlog

from callboard_llm.speech.interface import Speaker
from callboard_shared.errors import JobError, LedgerError
from callboard_shared.jobs.tts import SpeechProvider
from callboard_shared.ledger import Ledger
from callboard_shared.ledger.voicing import announce_voices
from callboard_shared.voices import VoiceInfo

log = structlog.get_logger(__name__)

_AGAIN_S = 20.0
_LASTS_MS = 60_000
_LOOK_AGAIN_S = 600.0
"""How often a provider is asked again; voices are seldom added."""
_AFTER_TROUBLE_S = 120.0


class Announcer:
    """A thread beside the handlers. A provider that does not tell now is asked again in two minutes; what it told
    before stands."""

    def __init__(self, speakers: Sequence[Speaker]) -> None:
        self._speakers = speakers
        self._known: dict[SpeechProvider, tuple[float, list[VoiceInfo]]] = {}
        self._thread = threading.Thread(target=self._run, name="voices", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        ledger = Ledger()
        while True:
            try:
                asyncio.run(self._look())
                voices = [(name, listed) for name, (_, listed) in self._known.items()]
                ledger.run_many([announce_voices(name, listed, _LASTS_MS) for name, listed in voices])
            except LedgerError:
                pass  # said by the ledger's users; again soon
            except Exception:
                log.exception("voices.failed")  # speech goes on without its list
            time.sleep(_AGAIN_S)

    async def _look(self) -> None:
        now = time.monotonic()
        for speaker in self._speakers:
            asked_at, _ = self._known.get(speaker.name, (float("-inf"), []))
            if now - asked_at < _LOOK_AGAIN_S:
                continue
            try:
                self._known[speaker.name] = (now, await speaker.voices())
            except JobError as error:
                log.warning("voices.not_listed", provider=speaker.name, reason=error.problem_code)
                _, before = self._known.get(speaker.name, (0.0, []))
                self._known[speaker.name] = (now - _LOOK_AGAIN_S + _AFTER_TROUBLE_S, before)
