"""What messages are made of: texts, pictures, and the calls of tools, in the shapes of OpenAI's chat completions
(https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from callboard_shared.jobs.base import FileInput, Input

MAX_MESSAGE_CHARS = 1_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_IMAGE_DATA = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}", re.ASCII)

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _readable(text: str) -> str:
    found = _CONTROL.search(text)
    if found:
        raise ValueError(
            f"holds the control character U+{ord(found[0]):04X} at {found.start()}; leave it out"
        )
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write something")
    return _readable(text)


Text = Annotated[str, StringConstraints(max_length=MAX_MESSAGE_CHARS), AfterValidator(_readable)]
"""A text that may be empty: of control characters it holds none but tab and line ends."""
FilledText = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_MESSAGE_CHARS), AfterValidator(_filled)
]


class TextPart(Input):
    type: Literal["text"]
    text: FilledText


class ImageSource(FileInput):
    """A picture: at an address that the worker fetches, as a data URL, as a file that was uploaded, or its bytes."""

    url: str | None = Field(
        default=None,
        description="`https://…` at a public address, which the worker fetches when the job runs, or "
        "`data:image/png;base64,…` (also jpeg, gif, webp).",
    )
    detail: Literal["auto", "low", "high"] = Field(default="auto", description="How closely to look.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.url, self.file_id, self.base64)) != 1:
            raise ValueError("give one of 'url', 'file_id' and 'base64'")
        if self.url is not None and self.address is None and not _IMAGE_DATA.fullmatch(self.url):
            raise ValueError("a data URL must be of a png, jpeg, gif or webp picture, in base64")
        return self

    @property
    def enclosed(self) -> tuple[str, str | None]:
        if self.url is None or self.address is not None:
            return super().enclosed
        return "url", self.url.partition(",")[2]

    @property
    def address(self) -> str | None:
        return None if self.url is None or self.url.startswith("data:") else self.url


class ImagePart(Input):
    type: Literal["image_url"]
    image_url: ImageSource


def _type(value: Any) -> str | None:
    given = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return {"text": "part:text", "image_url": "part:image"}.get(str(given))


Part = Annotated[
    Annotated[TextPart, Tag("part:text")] | Annotated[ImagePart, Tag("part:image")],
    Discriminator(
        _type,
        custom_error_type="part-type",
        custom_error_message="a part is {'type': 'text', 'text': …} or {'type': 'image_url', 'image_url': …}",
    ),
]


Parts = Annotated[list[Part], Field(min_length=1, max_length=256)]


def by_form(value: Any) -> str:
    """The tag of a union of a text and a list."""
    return "parts:list" if isinstance(value, list) else "text:string"


Content = Annotated[
    Annotated[Text, Tag("text:string")] | Annotated[Parts, Tag("parts:list")],
    Discriminator(by_form),
]


class FunctionCall(Input):
    name: ToolName
    arguments: Text = Field(description="JSON, as the model wrote it.")


class ToolCall(Input):
    """A tool that the model wants to be called."""

    id: str = Field(min_length=1, max_length=128)
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Input):
    """One turn. ``tool_calls`` belongs to an assistant's, ``tool_call_id`` to a tool's."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Content | None = Field(
        default=None, description="A text, or a list of parts: texts and pictures."
    )
    name: ToolName | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, min_length=1, max_length=128)
    tool_call_id: str | None = Field(default=None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _as_its_role_demands(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("'tool_calls' belongs into a message of the assistant")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError(
                "a message of a tool, and no other, says in 'tool_call_id' which call it answers"
            )
        if self.role != "user" and any(isinstance(part, ImagePart) for part in self.parts):
            raise ValueError("pictures belong into messages of the user")
        may_be_empty = self.role == "tool" or bool(self.tool_calls)
        empty = self.content is None or (isinstance(self.content, str) and not self.content.strip())
        if empty and not may_be_empty:
            raise ValueError("'content' is empty; write something")
        if self.content is None and self.role == "tool":
            raise ValueError("'content' is missing: what did the tool answer?")
        return self

    @property
    def parts(self) -> list[TextPart | ImagePart]:
        return self.content if isinstance(self.content, list) else []

    @property
    def characters(self) -> int:
        """Of its texts."""
        if isinstance(self.content, str):
            return len(self.content)
        return sum(len(part.text) for part in self.parts if isinstance(part, TextPart))


def _of_the_user(message: Message) -> Message:
    if message.role != "user":
        raise ValueError("'role' must be user: who writes into a conversation is its user")
    return message


def _new(value: Any) -> str:
    return "message:object" if isinstance(value, dict | Message) else by_form(value)


NewContent = Annotated[
    Annotated[FilledText, Tag("text:string")] | Annotated[Parts, Tag("parts:list")], Discriminator(by_form)
]
NewMessage = Annotated[
    Annotated[FilledText, Tag("text:string")]
    | Annotated[Parts, Tag("parts:list")]
    | Annotated[Message, AfterValidator(_of_the_user), Tag("message:object")],
    Discriminator(_new),
]
"""A message of the user, or only its content."""


def as_message(value: str | list[TextPart | ImagePart] | Message) -> Message:
    return value if isinstance(value, Message) else Message(role="user", content=value)


class FunctionDeclaration(Input):
    name: ToolName
    description: Text | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="JSON Schema of the arguments.")
    strict: bool | None = None


class Tool(Input):
    """A function that the model may ask to be called; it is passed on as it stands."""

    type: Literal["function"]
    function: FunctionDeclaration


class FunctionName(Input):
    name: ToolName


class ChosenTool(Input):
    type: Literal["function"]
    function: FunctionName


def _chosen(value: Any) -> str:
    return "text:string" if isinstance(value, str) else "tool:object"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("text:string")]
    | Annotated[ChosenTool, Tag("tool:object")],
    Discriminator(_chosen),
]


class JsonSchema(Input):
    name: ToolName
    description: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Input):
    """``json_object``: any JSON; ``json_schema``: JSON as the schema says."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _with_its_schema(self) -> Self:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("'json_schema' goes with type json_schema, and with no other")
        return self
