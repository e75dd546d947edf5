"""``/v1/voices``: who can speak."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.schemas import VoiceList, problems
from callboard_shared.jobs.tts import SpeechProvider
from callboard_shared.ledger import AsyncLedger
from callboard_shared.ledger.voicing import list_voices

router = APIRouter(prefix="/v1/voices", tags=["models"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Provider = Annotated[SpeechProvider | None, Query(description="Only this provider's.")]


@router.get(
    "", response_model=VoiceList, responses=problems(401, 403, 422, 429, 503), operation_id="list_voices",
    summary="List the voices that can be named",
)  # fmt: skip
async def list_(request: Request, caller: Reader, provider: Provider = None) -> Response:
    """By provider, as the online workers announce them: those of a provider whose key a worker has, and the local
    voice where it is installed. `tts.speech` takes a voice's `id` or `name`."""
    ledger: AsyncLedger = request.app.state.ledger
    voices = await ledger.run(list_voices())
    shown = [voice.model_dump() for voice in voices if provider in (None, voice.provider)]
    return JSONResponse({"data": shown, "next_cursor": None})
