"""``POST /v1/conversations/{id}/messages``: a message, and the job that answers it. Submitted as any other job."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model
from starlette.types import Receive, Scope, Send

from callboard_gateway.routes.submit import SubmitRoute
from callboard_shared.documents import validate
from callboard_shared.errors import Invalid, NotFound
from callboard_shared.ids import is_id
from callboard_shared.jobs import CHAT, Input
from callboard_shared.jobs.llm.parts import NewContent
from callboard_shared.ledger import NewJob

GONE = "There is no such conversation. GET /v1/conversations lists those there are."
_OPTIONS = (
    "model",
    "provider",
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "response_format",
    "system",
)
_FIELDS: dict[str, Any] = {
    name: (CHAT.input.model_fields[name].annotation, CHAT.input.model_fields[name]) for name in _OPTIONS
}

NewMessage: type[Input] = create_model(
    "NewMessage",
    __base__=Input,
    __doc__="The user's next message. What else it says holds for this answer only, as in the input of llm.chat.",
    content=(NewContent, Field(description="A text, or a list of parts: texts and pictures.")),
    **_FIELDS,
)


class SayRoute(SubmitRoute):
    """202 with the chat job; 200 if the caller waited and it has ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Invalid as error:
            if error.problem_code == "unknown-conversation":
                raise NotFound(GONE) from None
            raise

    def _job(self, scope: Scope, owner: str, document: Any) -> NewJob:
        conversation_id = scope["path_params"]["conversation_id"]
        validate(NewMessage, document)
        if not is_id(conversation_id, "conv"):
            raise NotFound(GONE)
        options = {name: value for name, value in document.items() if name != "content"}
        message = {"conversation_id": conversation_id, "message": document["content"], **options}
        return super()._job(scope, owner, {"type": CHAT.name, "input": message})

    def _identity(self, scope: Scope, body: bytes) -> bytes:
        conversation_id: str = scope["path_params"]["conversation_id"]
        return conversation_id.encode() + b" " + body
