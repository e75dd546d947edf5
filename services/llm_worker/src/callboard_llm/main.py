"""The LLM and speech worker: wires providers and handlers to the queues."""

from __future__ import annotations

import logging
from functools import cache

from callboard_llm.handlers.chat import ChatHandlers
from callboard_llm.handlers.speech import SpeechHandlers
from callboard_llm.pictures import Pictures
from callboard_llm.prices import Prices
from callboard_llm.providers.local import Local, local_model
from callboard_llm.providers.openai import OpenAI
from callboard_llm.settings import LlmSettings, LocalChatSettings, OpenAISettings, SpeechSettings
from callboard_llm.speech import ffmpeg
from callboard_llm.speech.announcing import Announcer
from callboard_llm.speech.elevenlabs import ElevenLabsSpeaker
from callboard_llm.speech.interface import Speaker
from callboard_llm.speech.kept import KeptPieces
from callboard_llm.speech.local import LocalSpeaker
from callboard_llm.speech.openai import OpenAISpeaker
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs import CHAT, SPEECH
from callboard_shared.ledger import Ledger
from callboard_shared.models import Shelf
from callboard_shared.settings import OutboundSettings
from callboard_shared.worker import Worker

# Told to be talkative, they write down what is said, and with what key.
for name in ("openai", "httpx", "httpcore", "httpx2", "httpcore2", "piper"):
    logging.getLogger(name).setLevel(logging.WARNING)

settings, openai_settings = LlmSettings(), OpenAISettings()
local_settings, speech_settings = LocalChatSettings(), SpeechSettings()

local = Local(local_model(local_settings, Shelf()), local_settings)
chat = ChatHandlers(OpenAI(openai_settings), local, Prices(settings.llm_prices), Pictures(OutboundSettings()))

speakers: list[Speaker] = [
    ElevenLabsSpeaker(speech_settings),
    OpenAISpeaker(openai_settings, speech_settings),
    LocalSpeaker(speech_settings.local_voice_threads),
]
announcer = Announcer([speaker for speaker in speakers if speaker.ready])


@cache
def kept_pieces() -> KeptPieces:
    """Made when the first text is spoken: importing this module connects to nothing."""
    return KeptPieces(Ledger(), Files(configured_store()))


worker = Worker("llm", queues=("llm", "tts"), pool="threads", slots=settings.llm_slots)
worker.models = [local.model] if local.model else []
worker.handles(CHAT)(chat.chat)
worker.handles(SPEECH)(SpeechHandlers(speakers, kept_pieces).speech)
worker.on_start(announcer.start)
worker.looks["providers"] = lambda: {
    "openai": openai_settings.openai_api_key is not None,
    "elevenlabs": speech_settings.elevenlabs_api_key is not None,
}
worker.looks["ffmpeg"] = ffmpeg.is_there
app = worker.celery
