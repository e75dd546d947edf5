"""``POST /openai/v1/audio/speech`` as ``tts.speech``: the answer is the audio."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_model
from callboard_gateway.facade.running import finished, output_of, read_job
from callboard_gateway.schemas import body_of
from callboard_shared.jobs import SPEECH
from callboard_shared.ledger.voicing import list_voices
from callboard_shared.openai.parameters import Parameters, only_default

router = APIRouter(prefix="/openai/v1", tags=["OpenAI"])
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
_NAMES = {"text": "input", "format": "response_format", "voice_settings": "speed"}
_OPENAI_MODELS = ("tts-", "gpt-")
_OPENAI_VOICES = frozenset(
    {
        "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
        "verse",
    }
)  # fmt: skip


class VoiceId(BaseModel):
    id: str


class SpeechRequest(Parameters):
    input: str
    model: str = Field(
        description="`tts-1` and the like: OpenAI where a worker has its key, else whoever can speak; `eleven_…`: "
        "ElevenLabs; `local`: the voice of this installation."
    )
    voice: str | VoiceId = Field(
        description="One of GET /v1/voices; OpenAI's names are taken for the default elsewhere."
    )
    response_format: Literal["mp3", "opus", "flac", "wav", "aac", "pcm"] = "mp3"
    speed: float | None = None
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None


@router.post(
    "/audio/speech", operation_id="openai_create_speech", summary="Speech, as a job of type tts.speech",
    responses={200: {"content": {"audio/mpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra=body_of(SpeechRequest, {"model": "tts-1", "voice": "alloy", "input": "Hello."}),
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    limit = request.app.state.settings.max_json_bytes
    asked = await read_model(request.scope, request.receive, limit, SpeechRequest)
    only_default(asked, instructions="", stream_format="audio")
    value = await _input(request, asked)
    record = await finished(request, read_job(request, caller, SPEECH, value, _NAMES), _NAMES)
    file = (await output_of(request, record))["file"]
    headers = {"callboard-job-id": record.id, "Content-Length": str(file["bytes"])}
    body = request.app.state.files.read(file["file_id"])
    return StreamingResponse(body, headers=headers, media_type=file["media_type"])


async def _input(request: Request, asked: SpeechRequest) -> dict[str, Any]:
    voice = asked.voice if isinstance(asked.voice, str) else asked.voice.id
    value: dict[str, Any] = {"text": asked.input, "voice": voice, "format": asked.response_format}
    if asked.speed is not None:
        value["voice_settings"] = {"speed": asked.speed}
    if asked.model == "local":
        value["provider"] = "local"
    elif asked.model.startswith("eleven_"):
        value |= {"provider": "elevenlabs", "model_id": asked.model}
    elif asked.model.startswith(_OPENAI_MODELS):
        voices = await request.app.state.ledger.run(list_voices())
        if any(one.provider == "openai" for one in voices):
            value |= {"provider": "openai", "model_id": asked.model}
    else:
        value["model_id"] = asked.model
    if value.get("provider", "auto") in ("auto", "local") and voice in _OPENAI_VOICES:
        del value["voice"]
    return value
