"""``POST /openai/v1/embeddings`` as ``nlp.embed``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_model
from callboard_gateway.facade.running import finished, output_of, read_job
from callboard_gateway.schemas import body_of
from callboard_shared.jobs import EMBED
from callboard_shared.openai.embeddings import NAMES, EmbeddingsRequest, answer_of, check_dimensions, input_of

router = APIRouter(prefix="/openai/v1", tags=["OpenAI"])
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]


@router.post(
    "/embeddings", operation_id="openai_create_embeddings", summary="Embeddings, as a job of type nlp.embed",
    openapi_extra=body_of(EmbeddingsRequest, {"model": "all-MiniLM-L6-v2", "input": "Hello"}),
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    limit = request.app.state.settings.max_json_bytes
    asked = await read_model(request.scope, request.receive, limit, EmbeddingsRequest)
    job = read_job(request, caller, EMBED, input_of(asked), NAMES)
    record = await finished(request, job, NAMES)
    output = await output_of(request, record)
    check_dimensions(asked.dimensions, output["dimensions"])
    return JSONResponse(answer_of(output), headers={"callboard-job-id": record.id})
