"""``GET /openai/v1/models``: the models that can be named."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.known_models import KnownModels
from callboard_shared.errors import NotFound
from callboard_shared.models import ModelInfo, canonical

router = APIRouter(prefix="/openai/v1/models", tags=["OpenAI"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]


@router.get("", operation_id="openai_list_models", summary="The models that can be named")
async def list_(request: Request, caller: Reader) -> Response:
    infos = await _infos(request, caller)
    return JSONResponse({"object": "list", "data": [_view(info) for info in infos]})


@router.get("/{name:path}", operation_id="openai_get_model", summary="A model")
async def get(request: Request, name: Annotated[str, Path(max_length=256)], caller: Reader) -> Response:
    infos = {info.name: info for info in await _infos(request, caller)}
    info = infos.get(canonical(name, infos))
    if info is None:
        raise NotFound(f"The model '{name}' does not exist.", code="unknown-model")
    return JSONResponse(_view(info))


async def _infos(request: Request, caller: Authenticated) -> list[ModelInfo]:
    models: KnownModels = request.app.state.models
    await models.look()
    return await models.list(caller.owner)


def _view(info: ModelInfo) -> dict[str, Any]:
    made = datetime.fromisoformat(info.created_at).timestamp() if info.created_at else 0
    return {"id": info.name, "object": "model", "created": int(made), "owned_by": info.source}
