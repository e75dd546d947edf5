"""``/v1/keys``: an admin makes, lists and deletes API keys."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from callboard_gateway.auth import KeyRing, require
from callboard_gateway.bodies import read_model
from callboard_gateway.schemas import KeyList, KeyObject, NewKeyObject, problems
from callboard_gateway.submission import Time
from callboard_shared.access import KeyRecord, delete_key, get_key, list_keys, new_key, put_key
from callboard_shared.errors import Conflict, Invalid, NotFound
from callboard_shared.ids import is_id
from callboard_shared.ledger import AsyncLedger
from callboard_shared.view import timestamp

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(require("admin"))])


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: list[Literal["jobs:read", "jobs:write", "admin"]] = Field(
        default=["jobs:read", "jobs:write"], min_length=1
    )
    expires_at: Time | None = Field(default=None, description="RFC 3339; from then on the key is refused.")


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": NewKey.model_json_schema(),
                "example": {"name": "web shop", "scopes": ["jobs:read", "jobs:write"]},
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    response_model=NewKeyObject,
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503),
    operation_id="create_key",
    summary="Make an API key",
    openapi_extra=_BODY,
)
async def create(request: Request) -> Response:
    """`key` is shown this once; only its SHA-256 is kept."""
    asked = await read_model(request.scope, request.receive, 64 * 1024, NewKey)
    now_ms = int(time.time() * 1000)
    expires_ms = None if asked.expires_at is None else int(asked.expires_at.timestamp() * 1000)
    if expires_ms is not None and expires_ms <= now_ms:
        raise Invalid(
            "The key would have expired already.",
            errors=[{"field": "expires_at", "message": "give a time in the future", "code": "past"}],
        )
    record, secret = new_key(asked.name, tuple(dict.fromkeys(asked.scopes)), now_ms, expires_ms)
    await ledger_of(request).run(put_key(record, secret))
    return JSONResponse(view(record) | {"key": secret}, 201, {"Location": f"/v1/keys/{record.id}"})


@router.get(
    "", response_model=KeyList, responses=problems(401, 403, 422, 429, 503), operation_id="list_keys",
    summary="List keys, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    if cursor is not None and not is_id(cursor, "key"):
        raise Invalid(
            "The cursor is none of this list's.", errors=[_field("cursor", "take 'next_cursor' as it is")]
        )
    records = await ledger_of(request).run(list_keys())
    rest = [record for record in records if cursor is None or record.id < cursor]
    following = rest[limit - 1].id if len(rest) > limit else None
    return JSONResponse({"data": [view(record) for record in rest[:limit]], "next_cursor": following})


@router.get(
    "/{key_id}", response_model=KeyObject, responses=problems(401, 403, 404, 429, 503), operation_id="get_key",
    summary="Read a key's record",
)  # fmt: skip
async def get(request: Request, key_id: str) -> Response:
    return JSONResponse(view(await _existing(request, key_id)))


@router.delete(
    "/{key_id}", status_code=204, responses=problems(401, 403, 404, 409, 429, 503), operation_id="delete_key",
    summary="Delete a key",
)  # fmt: skip
async def delete(request: Request, key_id: str) -> Response:
    """It is refused from this moment by this gateway, within two seconds by others. Its jobs run on."""
    record = await _existing(request, key_id)
    keyring: KeyRing = request.app.state.keyring
    admin = await keyring.admin()
    if admin is not None and admin.id == record.id:
        raise Conflict("This key is set by CALLBOARD_ADMIN_KEY; change that setting to replace it.")
    await ledger_of(request).run(delete_key(key_id))
    keyring.forget(key_id)
    return Response(status_code=204)


def view(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "prefix": record.prefix,
        "scopes": list(record.scopes),
        "created_at": timestamp(record.created_ms),
        "expires_at": timestamp(record.expires_ms),
    }


def ledger_of(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


async def _existing(request: Request, key_id: str) -> KeyRecord:
    record = await ledger_of(request).run(get_key(key_id)) if is_id(key_id, "key") else None
    if record is None:
        raise NotFound("There is no such key.")
    return record


def _field(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message, "code": "parameter"}
