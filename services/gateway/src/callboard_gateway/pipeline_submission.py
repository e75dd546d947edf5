"""From a parsed ``POST /v1/pipelines`` body to a pipeline for the ledger, or to a problem that names every fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from callboard_shared.documents import check_depth, compact, validate
from callboard_shared.errors import Invalid, RequestError, field_errors
from callboard_shared.ids import new_id
from callboard_shared.jobs import UNION_TAGS, Input, JobType
from callboard_shared.ledger import NewJob
from callboard_shared.ledger.pipelining import NewPipeline, Step
from callboard_shared.pipelines.references import (
    STEP_NAME,
    BadReference,
    Location,
    Reference,
    fill,
    parse,
    texts_in,
)
from callboard_shared.pipelines.schemas import missing_part
from callboard_shared.submission import (
    MetadataName,
    MetadataValue,
    Options,
    Reader,
    Webhook,
    in_short,
    input_of,
    options_of,
    spec_of,
    type_of,
)
from callboard_shared.urls import check_url
from callboard_shared.webhooks import PIPELINE_EVENTS

MOST_STEPS = 64
MOST_REFERENCES = 1000
"""In the input of one step."""

StepName = Annotated[str, StringConstraints(pattern=rf"^{STEP_NAME}$")]
Faults = list[dict[str, str]]

_OF_THE_WHOLE = frozenset({"value_error", "assertion_error", "union_tag_invalid", "union_tag_not_found"})
"""Errors that pydantic reports of an object although a field of it, such as a reference, may be what decides."""


class StepOptions(Options):
    """What a step may say besides ``type`` and ``input``: as a job, but of others by the names of their steps."""

    after: list[StepName] = Field(
        default=[],
        max_length=MOST_STEPS,
        description="Steps that must have succeeded, besides those it refers to.",
    )


class PipelineWebhook(Webhook):
    """Where to post what becomes of this pipeline."""

    events: list[Literal[*PIPELINE_EVENTS]] = Field(  # type: ignore[valid-type]
        default=list(PIPELINE_EVENTS), min_length=1, description="Which events; every ending if not said."
    )


class PipelineBody(BaseModel):
    """Jobs that take what others gave, as one."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    steps: dict[StepName, dict[str, Any]] = Field(
        min_length=1, max_length=MOST_STEPS, description="Jobs by name."
    )
    webhook: PipelineWebhook | None = None
    metadata: dict[MetadataName, MetadataValue] = Field(
        default={}, max_length=50, description="Your own notes: up to 50 names with texts."
    )


@dataclass(slots=True)
class _Draft:
    """A step as far as it has been read. taken: the steps that its input refers to."""

    name: str
    job_type: JobType[Any, Any]
    options: StepOptions
    text: bytes
    value: Input | None
    taken: list[str] = field(default_factory=list)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.taken, *self.options.after]))


@dataclass(frozen=True, slots=True)
class PipelineReader:
    """Reads pipelines. ``room``: turns and bytes that a conversation may hold."""

    reader: Reader
    room: tuple[int, int] = (0, 0)

    def read(
        self, document: Any, owner: str, traceparent: str | None = None, pipeline_id: str | None = None
    ) -> NewPipeline:
        """The pipeline to accept, with a new id if none is given. Raises Invalid naming every fault, or Malformed."""
        check_depth(document)
        body = validate(PipelineBody, document)
        if body.webhook is not None:
            check_url(body.webhook.url, self.reader.urls, "webhook.url")
        drafts = self._drafts(body.steps)
        ids = {name: new_id("job") for name in drafts}
        pipeline_id = pipeline_id or new_id("pipe")
        steps = tuple(
            Step(one.name, one.job_type.name, one.job_type.queue, ids[one.name], one.needs)
            for one in drafts.values()
        )
        jobs = tuple(
            self._job(one, pipeline_id, {step.name: step for step in steps}, owner, traceparent)
            for one in drafts.values()
        )
        return NewPipeline(
            pipeline_id, owner, steps, jobs, body.metadata,
            None if body.webhook is None else body.webhook.model_dump(),
            _hook(body.webhook),
            max(job.retention_ms for job in jobs),
        )  # fmt: skip

    def _drafts(self, documents: Mapping[str, dict[str, Any]]) -> dict[str, _Draft]:
        """The steps, in an order that there can be. Raises Invalid."""
        faults: Faults = []
        types = dict(_types(documents, faults))
        drafts: dict[str, _Draft] = {}
        for name, job_type in types.items():
            found: Faults = []
            draft = self._draft(name, job_type, documents, types, found)
            faults += [{**fault, "field": f"steps.{name}.{fault['field']}"} for fault in found]
            if draft is not None:
                drafts[name] = draft
        if not faults:
            _check_order(drafts, faults)
        if faults:
            raise Invalid(f"The pipeline is not valid: {in_short(faults)}", errors=faults[:100])
        return drafts

    def _draft(
        self,
        name: str,
        job_type: JobType[Any, Any],
        documents: Mapping[str, Any],
        types: Mapping[str, JobType[Any, Any]],
        faults: Faults,
    ) -> _Draft | None:
        document = documents[name]
        options = options_of(document, faults, StepOptions)
        if options is not None:
            for index, other in enumerate(options.after):
                _check_step(other, name, documents, f"after.{index}", faults)
            if options.webhook is not None:
                self._check_url(options.webhook.url, "webhook.url", faults)
        unread: Faults = []
        references = list(_references(document.get("input"), unread))
        faults += unread
        for at, reference in references:
            _check_reference(reference, name, documents, types, _path(at), faults)
        if references:
            text, value = compact(document["input"], "input"), None
            faults += _faults_apart_from([at for at, _ in references], text, job_type)
        else:
            if "input" in document and not unread:  # there may be a "$${" in it
                document = document | {"input": fill(document["input"], _nothing, most_bytes=0)}
            text, value = input_of(job_type, document, faults)
            if value is not None and job_type.takes_files:
                for field_, url in job_type.urls_of(value).items():
                    self._check_url(url, f"input.{field_}", faults)
                try:
                    self.reader.check_contents(job_type, value)
                except RequestError as error:
                    faults += error.errors or []
        if not isinstance(options, StepOptions):
            return None
        taken = list(dict.fromkeys(reference.step for _, reference in references))
        return _Draft(name, job_type, options, text, value, taken)

    def _check_url(self, url: str, field: str, faults: Faults) -> None:
        try:
            check_url(url, self.reader.urls, field)
        except Invalid as error:
            faults += error.errors or []

    def _job(
        self,
        draft: _Draft,
        pipeline_id: str,
        steps: Mapping[str, Step],
        owner: str,
        traceparent: str | None,
    ) -> NewJob:
        after = [steps[need].job_id for need in draft.needs]
        options = draft.options.model_copy(update={"after": after})
        about: dict[str, Any] = {"id": pipeline_id, "step": draft.name, "room": self.room}
        if draft.taken:
            about["takes"] = {one: (steps[one].queue, steps[one].job_id) for one in draft.taken}
        job = self.reader.job(draft.job_type, draft.value, owner, options, b"")
        about["expires_in_ms"] = job.expires_in_ms
        spec = spec_of(draft.text, options, traceparent)[:-1] + b',"pipeline":' + orjson.dumps(about) + b"}"
        return replace(job, id=steps[draft.name].job_id, pipeline=pipeline_id, spec=spec)


def _hook(webhook: PipelineWebhook | None) -> str:
    if webhook is None:
        return ""
    statuses = (event.removeprefix("pipeline.") for event in dict.fromkeys(webhook.events))
    return f"{','.join(statuses)} {webhook.url}"


def _types(
    documents: Mapping[str, dict[str, Any]], faults: Faults
) -> Iterator[tuple[str, JobType[Any, Any]]]:
    for name, document in documents.items():
        try:
            yield name, type_of(document)
        except Invalid as error:
            faults += [{**fault, "field": f"steps.{name}.{fault['field']}"} for fault in error.errors or ()]


def _references(value: Any, faults: Faults) -> Iterator[tuple[Location, Reference]]:
    """The references of an input, each with where its text stands."""
    count = 0
    for at, text in texts_in(value):
        try:
            parts = parse(text)
        except BadReference as error:
            faults.append({"field": _path(at), "message": str(error), "code": "bad-reference"})
            continue
        for part in parts:
            if isinstance(part, Reference):
                count += 1
                yield at, part
    if count > MOST_REFERENCES:
        message = f"has {count:,} references; {MOST_REFERENCES:,} are allowed"
        faults.append({"field": "input", "message": message, "code": "too-many-references"})


def _nothing(reference: Reference, at: Location) -> Any:
    raise AssertionError(f"{reference} at {at} was not seen")


def _path(at: Location) -> str:
    return ".".join(map(str, ("input", *at)))


def _check_step(other: str, name: str, there_are: Mapping[str, Any], at: str, faults: Faults) -> bool:
    if other == name:
        faults.append({"field": at, "message": "a step cannot wait for itself", "code": "self-reference"})
    elif other not in there_are:
        message = f"there is no step '{other}'; there are: {', '.join(there_are)}"
        faults.append({"field": at, "message": message, "code": "unknown-step"})
    return other != name and other in there_are


def _check_reference(
    reference: Reference,
    name: str,
    documents: Mapping[str, Any],
    types: Mapping[str, JobType[Any, Any]],
    at: str,
    faults: Faults,
) -> None:
    if not _check_step(reference.step, name, documents, at, faults) or reference.step not in types:
        return
    missing = missing_part(types[reference.step], reference.path)
    if missing is not None:
        faults.append({"field": at, "message": f"{reference}: {missing}", "code": "unknown-output"})


def _faults_apart_from(at: Sequence[Location], text: bytes, job_type: JobType[Any, Any]) -> Faults:
    """What is wrong with an input whatever its references, which stand ``at`` these places, will give."""
    try:
        job_type.input.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        settled = [
            {**fault, "loc": ("input", *fault["loc"])}
            for fault in faults
            if not any(_may_be_cured(fault["type"], fault["loc"], one) for one in at)
        ]
        return field_errors(settled, hide=UNION_TAGS)
    return []


def _may_be_cured(kind: str, loc: tuple[int | str, ...], reference: Location) -> bool:
    """Whether the error lies on or below the reference, or is of something of which it is a part."""
    if kind == "extra_forbidden":
        return False
    place = tuple(part for part in loc if part not in UNION_TAGS)
    if place[: len(reference)] == reference:
        return True
    return kind in _OF_THE_WHOLE and reference[: len(place)] == place


def _check_order(drafts: Mapping[str, _Draft], faults: Faults) -> None:
    try:
        TopologicalSorter({name: draft.needs for name, draft in drafts.items()}).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        message = f"these steps wait for each other: {circle}"
        faults.append({"field": "steps", "message": message, "code": "cycle"})
