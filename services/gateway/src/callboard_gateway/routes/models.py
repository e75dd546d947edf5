"""``/v1/models``: what a job may name as its model, and the removal of what was trained here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.known_models import KnownModels
from callboard_gateway.schemas import ModelList, problems
from callboard_shared.errors import Conflict, NotFound
from callboard_shared.ledger import AsyncLedger, modelling
from callboard_shared.models import ModelInfo, canonical

router = APIRouter(prefix="/v1/models", tags=["models"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
Name = Annotated[str, Path(max_length=256, examples=["classifier@1"])]


@router.get(
    "", response_model=ModelList, responses=problems(401, 403, 429, 503), operation_id="list_models",
    summary="List the models that can be named",
)  # fmt: skip
async def list_(request: Request, caller: Reader) -> Response:
    """The offline pack, the operator's folder, configured hub models, what workers announce, and what the key's own
    jobs have trained (`name@version`)."""
    infos = await _infos(request, caller)
    return JSONResponse({"data": [info.model_dump() for info in infos], "next_cursor": None})


@router.get(
    "/{name:path}", response_model=ModelInfo, responses=problems(401, 403, 404, 429, 503),
    operation_id="get_model", summary="A model",
)  # fmt: skip
async def get(request: Request, name: Name, caller: Reader) -> Response:
    """By its name or an alias of it; of what was trained here, a name without a version is the newest."""
    ledger: AsyncLedger = request.app.state.ledger
    trained = await ledger.run(modelling.find_model(caller.owner, name))
    infos = {info.name: info for info in await _infos(request, caller)}
    info = infos.get(canonical(name, infos)) or (trained and trained.info())
    if not info:
        raise NotFound(f"There is no model '{name}'. GET /v1/models lists those there are.")
    return JSONResponse(info.model_dump())


@router.delete(
    "/{name:path}", status_code=204, responses=problems(401, 403, 404, 409, 429, 503),
    operation_id="delete_model", summary="Delete a model that was trained here",
)  # fmt: skip
async def delete(request: Request, name: Name, caller: Writer) -> Response:
    """`name@version`, with its files. Jobs that still name it end with an error that says so."""
    ledger: AsyncLedger = request.app.state.ledger
    removed = await ledger.run(modelling.remove_model(caller.owner, name))
    if removed is None:
        raise await _not_removed(request, caller, name)
    for part in removed.files:
        await request.app.state.files.delete(part.id)
    return Response(status_code=204)


async def _not_removed(request: Request, caller: Authenticated, name: str) -> Conflict | NotFound:
    names = [info.name for info in await _infos(request, caller)]
    if canonical(name, names) in names:
        return Conflict(
            f"Model '{name}' was not trained here, so it cannot be deleted here; it belongs to the installation.",
            code="not-deletable",
        )
    versions = [one for one in names if one.partition("@")[0] == name and "@" in one]
    if versions:
        return NotFound(f"Say which version of '{name}' to delete. There are: {', '.join(versions)}.")
    return NotFound(f"There is no model '{name}'. GET /v1/models lists those there are.")


async def _infos(request: Request, caller: Authenticated) -> list[ModelInfo]:
    models: KnownModels = request.app.state.models
    await models.look()
    return await models.list(caller.owner)
