"""``/v1/conversations``: made, listed, read, changed, exported, deleted. How one speaks in them is in ``say.py``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from callboard_gateway.auth import Authenticated, require
from callboard_gateway.bodies import read_model
from callboard_gateway.conversation_schemas import ConversationList, ConversationObject, MessageList
from callboard_gateway.conversation_views import as_markdown, conversation_view, turn_view
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.routes.files import content_disposition
from callboard_gateway.routes.parameters import Cursor, Limit
from callboard_gateway.routes.say import GONE
from callboard_gateway.schemas import problems
from callboard_shared.errors import Conflict, LedgerError, NotFound
from callboard_shared.ids import is_id, new_id
from callboard_shared.jobs.llm.parts import FilledText
from callboard_shared.ledger import AsyncLedger, Call, conversing
from callboard_shared.ledger.conversing import Conversation, Turn

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])
Reader = Annotated[Authenticated, Depends(require("jobs:read"))]
Writer = Annotated[Authenticated, Depends(require("jobs:write"))]
WithSystem = Annotated[bool, Query(description="With the system message.")]

_TITLE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
"""One line that is not blank."""
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_TITLE)]
Model = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ConversationBody(BaseModel):
    """What a conversation is told; null, or left out when it is made: nothing."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {"title": "Trains", "system": "You answer briefly.", "model": "gpt-4o"}
        },
    )

    title: Title | None = Field(default=None, description="Else made from the first message.")
    system: FilledText | None = Field(
        default=None, description="What the model is told before every answer; kept apart from the history."
    )
    model: Model | None = Field(default=None, description="Who answers unless a message says otherwise.")


_BODY = {
    "requestBody": {
        "required": True, "content": {"application/json": {"schema": ConversationBody.model_json_schema()}}
    }
}  # fmt: skip


@router.post(
    "", status_code=201, response_model=ConversationObject, openapi_extra=_BODY,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
    operation_id="create_conversation", summary="Begin a conversation",
)  # fmt: skip
async def create(request: Request, caller: Writer) -> Response:
    """It lives until it is deleted (or idle for `CALLBOARD_CONVERSATION_IDLE_S`, if that is set). A key may have
    `CALLBOARD_MAX_CONVERSATIONS` of them (409 `too-many-conversations`)."""
    asked = await _body(request)
    conversation_id = await begin(request, caller.owner, asked)
    found = await find(request, caller.owner, conversation_id)
    view = conversation_view(found, with_system=True)
    return _json(view, 201, {"Location": f"/v1/conversations/{conversation_id}"})


async def begin(request: Request, owner: str, asked: ConversationBody) -> str:
    """The id of a new conversation, within the owner's limit. Raises Conflict."""
    conversation_id, settings = new_id("conv"), request.app.state.settings
    made = conversing.create(
        owner,
        conversation_id,
        title=asked.title or "",
        model=asked.model or "",
        system=asked.system or "",
        most=settings.max_conversations,
        keep_ms=None if settings.conversation_idle_s is None else int(settings.conversation_idle_s * 1000),
    )
    if not await _ledger(request).run(made):
        raise Conflict(
            f"This key has {settings.max_conversations:,} conversations, which is its limit. Delete some first.",
            code="too-many-conversations",
        )
    return conversation_id


@router.get(
    "", response_model=ConversationList, responses=problems(401, 403, 422, 429, 503),
    operation_id="list_conversations", summary="List conversations, newest first",
)  # fmt: skip
async def list_(
    request: Request,
    caller: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Only those whose title holds this, in any case.")
    ] = None,
) -> Response:
    """The key's, without their messages."""
    before = position_of(cursor, "conv")
    found, following = await conversing.list_conversations(
        _ledger(request), caller.owner, limit=limit, before=before, titled=q or ""
    )
    return _json({"data": [conversation_view(one) for one in found], "next_cursor": cursor_of(following)})


@router.get(
    "/{conversation_id}", response_model=ConversationObject, responses=problems(401, 403, 404, 422, 429, 503),
    operation_id="get_conversation", summary="A conversation with its messages",
)  # fmt: skip
async def get(
    request: Request, conversation_id: str, caller: Reader, include_system: WithSystem = False
) -> Response:
    """`messages` are all of them, oldest first."""
    found, turns = await _history(request, caller, conversation_id)
    return _json(_whole(found, turns, include_system))


@router.patch(
    "/{conversation_id}", response_model=ConversationObject, openapi_extra=_BODY,
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    operation_id="change_conversation", summary="Change a conversation's title, system message or model",
)  # fmt: skip
async def change(request: Request, conversation_id: str, caller: Writer) -> Response:
    """What is left out stays as it is; null takes it away. A job that is answering goes on with what it was told."""
    asked = await _body(request)
    fields = {name: getattr(asked, name) or "" for name in asked.model_fields_set}
    call = conversing.change(caller.owner, conversation_id, fields)
    found = await _ledger(request).run(call) if is_id(conversation_id, "conv") else None
    if found is None:
        raise NotFound(GONE)
    return _json(conversation_view(found, with_system=True))


@router.delete(
    "/{conversation_id}", status_code=204, responses=problems(401, 403, 404, 429, 503),
    operation_id="delete_conversation", summary="Delete a conversation with its messages",
)  # fmt: skip
async def delete(request: Request, conversation_id: str, caller: Writer) -> Response:
    """The job that is answering in it is canceled. Jobs that have answered stay until their retention is over."""
    call = conversing.remove(caller.owner, conversation_id)
    if not is_id(conversation_id, "conv") or not await _ledger(request).run(call):
        raise NotFound(GONE)
    return Response(status_code=204)


@router.get(
    "/{conversation_id}/messages", response_model=MessageList, responses=problems(401, 403, 404, 422, 429, 503),
    operation_id="list_messages", summary="A conversation's messages, oldest first",
)  # fmt: skip
async def messages(
    request: Request,
    conversation_id: str,
    caller: Reader,
    limit: Limit = 20,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^\d{1,9}$", description="`next_cursor` of the page before."),
    ] = None,
    include_system: WithSystem = False,
) -> Response:
    """Of each message of the user `status` says whether it was answered; of each reply, whether it is whole. The
    system message comes first, besides the `limit`."""
    first = int(cursor or 0)
    found, turns = await _history(request, caller, conversation_id, first, first + limit - 1)
    data = [turn_view(turn) for turn in turns]
    if first == 0 and include_system and found.system:
        data.insert(0, _system(found))
    following = first + len(turns)
    return _json({"data": data, "next_cursor": str(following) if turns and following < found.turns else None})


@router.get(
    "/{conversation_id}/export",
    responses={
        200: {
            "description": "The conversation, to be saved as a file.",
            "content": {
                "text/markdown": {"schema": {"type": "string"}, "example": "# Trains\n\n## User\n\nWhen does…"},
                "application/json": {"schema": {"$ref": "#/components/schemas/ConversationObject"}},
            },
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
    operation_id="export_conversation", summary="A conversation as a file",
)  # fmt: skip
async def export(
    request: Request,
    conversation_id: str,
    caller: Reader,
    format: Literal["md", "json"] = "md",
    include_system: WithSystem = False,
) -> Response:
    found, turns = await _history(request, caller, conversation_id)
    name = re.sub(r'[\\/:*?"<>|]+', " ", found.title).strip(" .") or conversation_id
    headers = {"Content-Disposition": content_disposition(f"{name}.{format}")}
    if format == "json":
        return _json(_whole(found, turns, include_system), headers=headers)
    text = as_markdown(found, turns, with_system=include_system)
    return Response(text, headers=headers, media_type="text/markdown")


def _whole(found: Conversation, turns: list[Turn], with_system: bool) -> dict[str, Any]:
    said = [_system(found)] if with_system and found.system else []
    return conversation_view(found, with_system=with_system) | {
        "messages": [*said, *(turn_view(turn) for turn in turns)]
    }


def _system(found: Conversation) -> dict[str, Any]:
    return turn_view(
        Turn("system", "", found.created_ms, "complete", orjson.dumps({"content": found.system}))
    )


async def _body(request: Request) -> ConversationBody:
    limit: int = request.app.state.settings.max_json_bytes
    return await read_model(request.scope, request.receive, limit, ConversationBody)


async def find(request: Request, owner: str, conversation_id: str) -> Conversation:
    """The owner's conversation. Raises NotFound."""
    call = conversing.find(owner, conversation_id)
    found = await _ledger(request).run(call) if is_id(conversation_id, "conv") else None
    if found is None:
        raise NotFound(GONE)
    return found


async def _history(
    request: Request, caller: Authenticated, conversation_id: str, first: int = 0, last: int = -1
) -> tuple[Conversation, list[Turn]]:
    """The caller's conversation and these turns of it, in one round trip."""
    if not is_id(conversation_id, "conv"):
        raise NotFound(GONE)
    calls: list[Call[Any]] = [
        conversing.find(caller.owner, conversation_id),
        conversing.turns(caller.owner, conversation_id, first, last),
    ]
    found, turns = await _ledger(request).run_many(calls)
    for answer in (found, turns):
        if isinstance(answer, LedgerError):
            raise answer
    if found is None or turns is None:
        raise NotFound(GONE)
    return found, turns[1]


def _ledger(request: Request) -> AsyncLedger:
    ledger: AsyncLedger = request.app.state.ledger
    return ledger


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
