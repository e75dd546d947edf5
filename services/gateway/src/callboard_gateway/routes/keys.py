"""``/v1/keys``: an admin makes, lists, changes, rotates and deletes API keys."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from callboard_gateway.auth import KeyRing, require
from callboard_gateway.bodies import read_model
from callboard_gateway.routes.audit import audit
from callboard_gateway.routes.parameters import Cursor, Limit
from callboard_gateway.schemas import KeyList, KeyObject, NewKeyObject, body_of, problems
from callboard_shared.access import (
    NO_LIMITS,
    KeyLimits,
    KeyRecord,
    change_key,
    delete_key,
    get_key,
    last_use,
    list_keys,
    new_key,
    put_key,
    renewed,
    rotate_key,
)
from callboard_shared.errors import Conflict, Invalid, LedgerError, NotFound
from callboard_shared.ids import is_id
from callboard_shared.jobs import CATALOGUE, QUEUES
from callboard_shared.ledger import AsyncLedger, Call, verbs
from callboard_shared.submission import Time
from callboard_shared.view import timestamp

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[Depends(require("admin"))])


Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Scopes = Annotated[list[Literal["jobs:read", "jobs:write", "admin"]], Field(min_length=1)]
Some = Annotated[int, Field(ge=1, le=2**53)]
_BUDGETS = ("jobs", "tokens", "characters")


class Limits(BaseModel):
    """What the key may do where that differs from the gateway's settings; null: as the settings say."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    requests_per_s: float | None = Field(default=None, gt=0, le=1e6)
    burst: Some | None = Field(default=None, description="Requests at once.")
    running: Some | None = Field(
        default=None, description="Jobs that run at once in each queue; more wait, and are not refused."
    )
    waiting: Some | None = Field(default=None, description="Jobs not started; more are refused with 429.")
    storage_bytes: Some | None = Field(default=None, description="Files kept at once.")
    daily: dict[str, Some] = Field(
        default={},
        max_length=50,
        description="How much a day (UTC), by figure (`jobs`, `tokens`, `characters`) or by job type (jobs of it).",
        examples=[{"tokens": 1_000_000, "tts.speech": 200}],
    )

    @field_validator("daily")
    @classmethod
    def _known(cls, value: dict[str, int]) -> dict[str, int]:
        for name in value:
            if name not in _BUDGETS and name not in CATALOGUE:
                raise ValueError(f"{name!r} is no job type and none of {', '.join(_BUDGETS)}")
        return value


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    scopes: Scopes = ["jobs:read", "jobs:write"]
    expires_at: Time | None = Field(default=None, description="RFC 3339; from then on the key is refused.")
    limits: Limits = Limits()


class KeyChange(BaseModel):
    """What to change of a key; what is left out stays. ``limits`` are replaced as a whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name | None = None
    scopes: Scopes | None = None
    expires_at: Time | None = None
    limits: Limits | None = None


class Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    grace_s: int = Field(
        default=86_400,
        ge=0,
        le=30 * 86_400,
        description="So long the old secret is taken as well; 0: no more at all.",
    )


@router.post(
    "",
    status_code=201,
    response_model=NewKeyObject,
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503),
    operation_id="create_key",
    summary="Make an API key",
    openapi_extra=body_of(NewKey, {"name": "web shop", "scopes": ["jobs:read", "jobs:write"]}),
)
async def create(request: Request) -> Response:
    """`key` is shown this once; only its SHA-256 is kept."""
    asked = await read_model(request.scope, request.receive, 64 * 1024, NewKey)
    scopes = tuple(dict.fromkeys(asked.scopes))
    record, secret = new_key(asked.name, scopes, _now_ms(), _expiry(asked.expires_at), _limits(asked.limits))
    await _did(request, "key.created", record, put_key(record, secret), record.limits)
    return JSONResponse(view(record) | {"key": secret}, 201, {"Location": f"/v1/keys/{record.id}"})


@router.get(
    "", response_model=KeyList, responses=problems(401, 403, 422, 429, 503), operation_id="list_keys",
    summary="List keys, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    limit: Limit = 20,
    cursor: Cursor = None,
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


@router.patch(
    "/{key_id}", response_model=KeyObject, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    operation_id="change_key", summary="Change a key's name, scopes, expiry or limits",
    openapi_extra=body_of(KeyChange, {"limits": {"running": 4, "daily": {"tokens": 1_000_000}}}),
)  # fmt: skip
async def change(request: Request, key_id: str) -> Response:
    """Holds from this moment in this gateway, within two seconds in others."""
    asked = await read_model(request.scope, request.receive, 64 * 1024, KeyChange)
    record = await _changeable(request, key_id)
    given = asked.model_fields_set
    if "name" in given and asked.name is not None:
        record = replace(record, name=asked.name)
    if "scopes" in given and asked.scopes is not None:
        record = replace(record, scopes=tuple(dict.fromkeys(asked.scopes)))
    if "expires_at" in given:
        record = replace(record, expires_ms=_expiry(asked.expires_at))
    if "limits" in given:
        record = replace(record, limits=_limits(asked.limits or Limits()))
    await _did(request, "key.changed", record, change_key(record), record.limits, changed=sorted(given))
    return JSONResponse(view(record))


@router.post(
    "/{key_id}/rotate", response_model=NewKeyObject, operation_id="rotate_key", summary="Give a key another secret",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=body_of(Rotation, {"grace_s": 3600}, required=False),
)  # fmt: skip
async def rotate(request: Request, key_id: str) -> Response:
    """The key keeps its id, and with it jobs, files and limits; `key` is shown this once."""
    asked = await read_model(request.scope, request.receive, 64 * 1024, Rotation, optional=True)
    record, secret = renewed(await _changeable(request, key_id))
    rotated = rotate_key(record, secret, asked.grace_s * 1000)
    await _did(request, "key.rotated", record, rotated, record.limits, grace_s=asked.grace_s)
    return JSONResponse(view(record) | {"key": secret})


@router.delete(
    "/{key_id}", status_code=204, responses=problems(401, 403, 404, 409, 429, 503), operation_id="delete_key",
    summary="Delete a key",
)  # fmt: skip
async def delete(request: Request, key_id: str) -> Response:
    """It is refused from this moment by this gateway, within two seconds by others. Its jobs run on."""
    record = await _changeable(request, key_id)
    await _did(request, "key.deleted", record, delete_key(key_id), NO_LIMITS)
    return Response(status_code=204)


def view(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "prefix": record.prefix,
        "scopes": list(record.scopes),
        "limits": asdict(record.limits),
        "created_at": timestamp(record.created_ms),
        "expires_at": timestamp(record.expires_ms),
        "last_used_at": timestamp(record.used_ms),
    }


async def _did(
    request: Request, act: str, record: KeyRecord, call: Call[Any], limits: KeyLimits, **detail: Any
) -> None:
    """Do it, have the queues know the key's ``limits``, and the audit log say so. Raises NotFound if the key went
    meanwhile."""
    caps = [verbs.cap(queue, record.id, limits.running or 0, limits.waiting or 0) for queue in QUEUES]
    for answer in await ledger_of(request).run_many(caps):
        if isinstance(answer, LedgerError):
            raise answer
    if not await ledger_of(request).run(call):
        raise NotFound("There is no such key.")
    keyring: KeyRing = request.app.state.keyring
    keyring.forget(record.id)
    await audit(request, act, record.id, name=record.name, **detail)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _expiry(at: datetime | None) -> int | None:
    expires_ms = None if at is None else int(at.timestamp() * 1000)
    if expires_ms is not None and expires_ms <= _now_ms():
        raise Invalid(
            "The key would have expired already.",
            errors=[{"field": "expires_at", "message": "give a time in the future", "code": "past"}],
        )
    return expires_ms


def _limits(asked: Limits) -> KeyLimits:
    return KeyLimits(**asked.model_dump())


def ledger_of(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


async def _existing(request: Request, key_id: str) -> KeyRecord:
    record = await ledger_of(request).run(get_key(key_id)) if is_id(key_id, "key") else None
    if record is None:
        raise NotFound("There is no such key.")
    return replace(record, used_ms=await ledger_of(request).run(last_use(key_id)))


async def _changeable(request: Request, key_id: str) -> KeyRecord:
    record = await _existing(request, key_id)
    keyring: KeyRing = request.app.state.keyring
    admin = await keyring.admin()
    if admin is not None and admin.id == record.id:
        raise Conflict("This key is set by CALLBOARD_ADMIN_KEY; change that setting to replace it.")
    return record


def _field(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message, "code": "parameter"}
