"""``GET /v1/models``: what a job may name as its ``model``."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import require
from callboard_gateway.known_models import KnownModels
from callboard_gateway.schemas import ModelList, problems

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(require("jobs:read"))])


@router.get(
    "", response_model=ModelList, responses=problems(401, 403, 429, 503), operation_id="list_models",
    summary="List the models that can be named",
)  # fmt: skip
async def list_(request: Request) -> Response:
    """The offline pack, the operator's folder, configured hub models, and what workers announce."""
    models: KnownModels = request.app.state.models
    await models.look()
    data = [info.model_dump() for info in await models.list()]
    return JSONResponse({"data": data, "next_cursor": None})
