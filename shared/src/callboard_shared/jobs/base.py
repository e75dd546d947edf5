"""What a job type is: declared once, used for validation, routing, dispatch, docs, forms and the CLI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator


class Input(BaseModel):
    """Base of inputs: unknown fields, NaN and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True, protected_namespaces=())


class Output(BaseModel):
    """Base of outputs; dumped without the fields that are ``None``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


Task = Literal[
    "embed", "classify", "word2vec", "seq2seq", "chat",
    "detect", "segment", "pose", "classify-image", "obb", "architecture",
]  # fmt: skip
"""What a model can be used for: turn texts into vectors, label them, answer about words, write texts from texts,
converse; find things in pictures with boxes, outlines, key points or turned boxes, label whole pictures; or be trained
from nothing."""

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

ModelReference = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A model by name, as ``GET /v1/models`` lists them; of what was trained, ``name`` alone is the newest version."""

NewModelName = Annotated[str, StringConstraints(pattern=rf"^{MODEL_NAME}$")]
"""What a trained model is to be called; its versions count from 1: ``name@1``."""


UNION_TAGS = frozenset(
    {
        "rows:list", "file:object", "text:string", "parts:list", "tool:object", "part:text", "part:image",
        "message:object",
    }
)  # fmt: skip
"""What pydantic puts into the path of an error where an input is a list or an object: no part of the document."""


FileKind = Literal["file", "picture", "video"]


class FileInput(Input):
    """Binary data: a file that was uploaded, one that is fetched, or its bytes within the request."""

    kind: ClassVar[FileKind] = "file"

    file_id: str | None = Field(default=None, max_length=64, description="Of `POST /v1/files`.")
    url: str | None = Field(
        default=None,
        max_length=2048,
        description="`https://…` at a public address, port 443 or 8443, without user name or password; fetched when "
        "the job runs, through at most 3 redirects. An operator may allow this machine's own addresses, also by http.",
    )
    base64: str | None = Field(default=None, description="The bytes, for small files.")

    @model_validator(mode="before")
    @classmethod
    def _as_an_output_names_it(cls, value: Any) -> Any:
        """What a job's output says of a file names it in an input, as it stands."""
        said = isinstance(value, dict) and value.keys() == FileReference.model_fields.keys()
        return {"file_id": value["file_id"]} if said else value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.file_id, self.url, self.base64)) != 1:
            raise ValueError("give one of 'file_id', 'url' and 'base64'")
        return self

    @property
    def enclosed(self) -> tuple[str, str | None]:
        """The field that has the bytes within the request, and their base64 if it does."""
        return "base64", self.base64

    @property
    def address(self) -> str | None:
        """The URL at which the bytes are, if they are elsewhere."""
        return self.url


class PictureInput(FileInput):
    """A picture: JPEG, PNG, WebP or BMP. Who submits another content is told at once, where it is there already."""

    kind = "picture"


class VideoInput(FileInput):
    """A video: mp4, webm or mov. Who submits another content is told at once as well."""

    kind = "video"


class FileReference(Output):
    """A file that a job made; its content is at ``url``."""

    file_id: str
    media_type: str
    bytes: int
    sha256: str
    url: str


I = TypeVar("I", bound=Input)  # noqa: E741
O = TypeVar("O", bound=Output)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Batch:
    """Which waiting jobs may run together in one call of the handler.

    max_jobs: at most so many; by: input fields that must be equal; weigh: the cost of one input in
    units of one's choice (texts, tokens, pixels); max_weight: at most so much cost together (a single
    job may exceed it).
    """

    max_jobs: int
    by: tuple[str, ...] = ()
    weigh: Callable[[Any], int] | None = None
    max_weight: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults of a submitted job: seconds for one attempt, attempts, and seconds an ended job is kept."""

    timeout_s: float = 300
    max_attempts: int = 3
    retention_s: int = 604_800


@dataclass(frozen=True, slots=True)
class Utterance:
    """What an input says in a conversation that is kept: the content of a message, and a title made from it."""

    conversation: str
    content: Any
    title: str


def _says_nothing(value: Any) -> Utterance | None:
    return None


@dataclass(frozen=True)
class JobType(Generic[I, O]):
    """``models``: the input fields that name a model, each with what that model must be able to do (one of).
    ``says``: of an input that answers in a conversation, what it is to answer."""

    name: str
    queue: str
    input: type[I]
    output: type[O]
    summary: str
    example: Mapping[str, Any]
    batch: Batch | None = None
    limits: Limits = field(default_factory=Limits)
    models: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    says: Callable[[I], Utterance | None] = _says_nothing

    @cached_property
    def takes_files(self) -> bool:
        """Whether an input of this type can name a file."""
        return "file_id" in json.dumps(self.input.model_json_schema())

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of the output, as it is written."""
        return self.output.model_json_schema(mode="serialization")

    def __post_init__(self) -> None:
        self.input.model_validate_json(json.dumps(self.example))  # an example that does not run is a defect
        for name in (*(self.batch.by if self.batch else ()), *self.models):
            if name not in self.input.model_fields:
                raise TypeError(
                    f"{self.name}: batch.by or models names {name!r}, which the input does not have"
                )

    def batch_key(self, value: I) -> str:
        """Jobs of a queue with the same key may share a batch."""
        if self.batch is None or not self.batch.by:
            return self.name
        return "|".join([self.name, *(str(getattr(value, name)) for name in self.batch.by)])

    def weight(self, value: I) -> int:
        return self.batch.weigh(value) if self.batch and self.batch.weigh else 1

    def models_of(self, value: I) -> dict[str, str]:
        """The models that an input names, by field."""
        named = {name: getattr(value, name) for name in self.models}
        return {name: model for name, model in named.items() if isinstance(model, str)}

    def files_of(self, value: I) -> dict[str, str]:
        """The ids of uploaded files that an input names, by field."""
        return {f"{at}file_id": one.file_id for at, one in _files_in("", value) if one.file_id is not None}

    def urls_of(self, value: I) -> dict[str, str]:
        """The URLs of files that an input names, by field."""
        return {f"{at}url": one.address for at, one in _files_in("", value) if one.address is not None}

    def distant_of(self, value: I) -> list[FileInput]:
        """What an input names by URL, each URL once."""
        if not self.takes_files:
            return []
        return list({one.address: one for _, one in _files_in("", value) if one.address is not None}.values())

    def within_of(self, value: I) -> dict[str, tuple[str, FileKind]]:
        """The base64 of files within an input, each with what it is to be, by field."""
        files = ((at, one, one.enclosed) for at, one in _files_in("", value))
        return {f"{at}{name}": (text, one.kind) for at, one, (name, text) in files if text is not None}

    def judged_of(self, value: I) -> dict[str, FileInput]:
        """The pictures and videos that an input gives, by field."""
        return {at[:-1]: one for at, one in _files_in("", value) if one.kind != "file"}

    def describe(self) -> dict[str, Any]:
        """The entry of ``GET /v1/job-types``."""
        batch = self.batch
        return {
            "name": self.name,
            "queue": self.queue,
            "summary": self.summary,
            "input_schema": self.input.model_json_schema(),
            "output_schema": self.output_schema,
            "example": dict(self.example),
            "batch": {"max_jobs": batch.max_jobs, "by": list(batch.by), "max_weight": batch.max_weight}
            if batch
            else None,
            "limits": {
                "timeout_s": self.limits.timeout_s,
                "max_attempts": self.limits.max_attempts,
                "retention_s": self.limits.retention_s,
            },
        }


@cache
def _may_hold_files(model: type[BaseModel]) -> bool:
    return "file_id" in json.dumps(model.model_json_schema())


def _files_in(path: str, value: Any) -> Iterator[tuple[str, FileInput]]:
    """The files that a part of an input gives, each with its path. Rows of a data set, of which there may be a great
    many, are not looked into: their model has no place for a file."""
    if isinstance(value, FileInput):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _files_in(f"{path}{name}.", getattr(value, name))
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
        for index, one in enumerate(value):
            if _may_hold_files(one.__class__):
                yield from _files_in(f"{path}{index}.", one)


class Catalogue:
    """The job types by name, in order of declaration."""

    def __init__(self, *types: JobType[Any, Any]) -> None:
        self._types: dict[str, JobType[Any, Any]] = {}
        for job_type in types:
            if job_type.name in self._types:
                raise TypeError(f"job type {job_type.name} is declared twice")
            self._types[job_type.name] = job_type

    def __iter__(self) -> Iterator[JobType[Any, Any]]:
        return iter(self._types.values())

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def get(self, name: str) -> JobType[Any, Any] | None:
        return self._types.get(name)

    @property
    def names(self) -> list[str]:
        return list(self._types)
