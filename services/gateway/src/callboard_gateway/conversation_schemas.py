"""The shapes of conversations in answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from callboard_gateway.schemas import AT, JOB_ID

_CONVERSATION_ID = "conv_01kaq3v5ef7v8m2c4r6t8w0y2z"


class ConversationMessage(BaseModel):
    """One message of a conversation. `pending`: its job has not ended; `answered`: the reply is the next; `failed` and
    `canceled`: it has none, and the model does not hear it again. Of a reply, `partial`: it was broken off."""

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]] = Field(description="A text, or (of the user) a list of parts.")
    job_id: str | None = Field(description="The job that answers, or that gave the reply.")
    status: Literal["pending", "answered", "failed", "canceled", "complete", "partial"]
    created_at: str
    model: str | None = Field(default=None, description="Of a reply: the model that gave it.")
    provider: str | None = Field(default=None, description="Of a reply: openai or local.")
    finish_reason: str | None = Field(default=None, description="Of a reply: as in the job's output.")
    warnings: list[str] | None = Field(
        default=None, description="Of a reply: such as that a long history was cut."
    )


class MessageList(BaseModel):
    data: list[ConversationMessage]
    next_cursor: str | None


class ConversationLinks(BaseModel):
    self: str
    messages: str
    export: str


class ConversationObject(BaseModel):
    """A conversation. At most one job answers in it at a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _CONVERSATION_ID, "title": "What is the capital of France?", "model": None,
                    "message_count": 2, "running_job_id": None, "created_at": AT, "updated_at": AT,
                    "links": {
                        "self": f"/v1/conversations/{_CONVERSATION_ID}",
                        "messages": f"/v1/conversations/{_CONVERSATION_ID}/messages",
                        "export": f"/v1/conversations/{_CONVERSATION_ID}/export",
                    },
                    "messages": [
                        {
                            "role": "user", "content": "What is the capital of France?", "job_id": JOB_ID,
                            "status": "answered", "created_at": AT,
                        },
                        {
                            "role": "assistant", "content": "Paris.", "model": "gpt-4o", "provider": "openai",
                            "finish_reason": "stop", "job_id": JOB_ID, "status": "complete", "created_at": AT,
                        },
                    ],
                }
            ]
        }
    )  # fmt: skip

    id: str
    title: str | None = Field(description="As given, or the first words of the first message.")
    model: str | None
    message_count: int
    running_job_id: str | None = Field(description="The job that is answering.")
    created_at: str
    updated_at: str
    links: ConversationLinks
    system: str | None = Field(default=None, description="Only where it is asked for, or was just set.")
    messages: list[ConversationMessage] = Field(default=[], description="Only of one that is read by itself.")


class ConversationList(BaseModel):
    data: list[ConversationObject]
    next_cursor: str | None
