"""``POST /openai/v1/chat/completions`` as ``llm.chat``, whole or streamed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_model
from callboard_gateway.facade.running import finished, output_of, read_job
from callboard_gateway.facade.streaming import Chunks, answer_by_chunks
from callboard_gateway.schemas import body_of
from callboard_shared.jobs import CHAT
from callboard_shared.openai.chat import ChatRequest, answer_of, input_of
from callboard_shared.openai.errors import Names

router = APIRouter(prefix="/openai/v1", tags=["OpenAI"])
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
_NAMES: Names = {}


@router.post(
    "/chat/completions", operation_id="openai_create_chat_completion", summary="A chat, as a job of type llm.chat",
    openapi_extra=body_of(
        ChatRequest,
        {"model": "SmolLM2-135M-Instruct", "messages": [{"role": "user", "content": "Name a river in Spain."}]},
    ),
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    """With `stream` the tokens come as server-sent events, each as soon as the model has said it."""
    limit = request.app.state.settings.max_json_bytes
    asked = await read_model(request.scope, request.receive, limit, ChatRequest)
    value = input_of(asked)
    if asked.stream:
        # What was streamed cannot be taken back, so it is not tried again; the client's library does that.
        job = read_job(request, caller, CHAT, value, _NAMES, max_attempts=1)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return await answer_by_chunks(request, job, Chunks(job.id, asked.model, usage), _NAMES)
    record = await finished(request, read_job(request, caller, CHAT, value, _NAMES), _NAMES)
    answer = answer_of(record.id, record.created_ms, await output_of(request, record))
    return JSONResponse(answer, headers={"callboard-job-id": record.id})
