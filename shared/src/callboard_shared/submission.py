"""From a parsed ``POST /v1/jobs`` body to a job for the ledger, or to a problem that names every fault."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from callboard_shared.contents import judge
from callboard_shared.documents import check_depth, compact
from callboard_shared.errors import Invalid, RequestError, field_errors
from callboard_shared.ids import new_id
from callboard_shared.jobs import CATALOGUE, UNION_TAGS, Input, JobType
from callboard_shared.ledger import NewJob
from callboard_shared.ledger.records import Named
from callboard_shared.ledger.saying import saying_of
from callboard_shared.moments import read_time
from callboard_shared.pictures import Base64Content, PictureSettings, about, check_size
from callboard_shared.urls import MAX_URL, Policy, check_url
from callboard_shared.webhooks import JOB_EVENTS, hook

DAY_S = 86_400

KnowsModel = Callable[[JobType[Any, Any], str, str], bool]
"""Given a job type, a field and a model's name: whether everybody may name that model there."""


def _time(value: Any) -> Any:
    """RFC 3339 with an offset; pydantic alone would also take numbers."""
    if not isinstance(value, str):
        raise ValueError("give a time such as 2026-11-22T09:30:00Z")
    return read_time(value)


Time = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
JobId = Annotated[str, StringConstraints(pattern=r"^job_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
MetadataName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class Webhook(BaseModel):
    """Where to post what becomes of this job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        max_length=MAX_URL, description="https, on a public address.", examples=["https://example.com/hook"]
    )
    events: list[Literal[*JOB_EVENTS]] = Field(  # type: ignore[valid-type]
        default=list(JOB_EVENTS[1:]), min_length=1, description="Which events; every ending if not said."
    )


class Options(BaseModel):
    """What a submission may say besides ``type`` and ``input``."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    priority: int = Field(default=0, ge=-10, le=10, description="−10…10; higher goes first.")
    run_at: Time | None = Field(default=None, description="Not before this time (RFC 3339).")
    expires_in_s: float | None = Field(
        default=DAY_S,
        gt=0,
        le=366 * DAY_S,
        description="If it has not started by then it ends `expired`; null: never.",
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=7 * DAY_S,
        description="Seconds that one run may take; the type's own limit if null.",
    )
    max_attempts: int | None = Field(default=None, ge=1, le=20, description="The type's own number if null.")
    after: list[JobId] = Field(default=[], max_length=100, description="Starts when these have succeeded.")
    webhook: Webhook | None = None
    metadata: dict[MetadataName, MetadataValue] = Field(
        default={},
        max_length=50,
        description="Your own notes: up to 50 names with texts.",
        examples=[{"order": "17"}],
    )
    retention_s: int | None = Field(
        default=None,
        ge=1,
        le=366 * DAY_S,
        description="Seconds that the ended job is kept; the type's own if null.",
    )


_PLAIN = Options()
_PUBLIC_ONLY = Policy()


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads submissions. ``expires_s``: for those that do not say; ``urls``, ``pictures``: which may be given; what
    ``knows_model`` does not know is left to be looked up, in the job's ``names``."""

    expires_s: float | None = DAY_S
    urls: Policy = _PUBLIC_ONLY
    knows_model: KnowsModel = lambda job_type, field, name: True
    pictures: PictureSettings = field(default_factory=PictureSettings)

    def read(
        self, document: Any, owner: str, traceparent: str | None = None, *, members: bytes = b"", **facts: Any
    ) -> NewJob:
        """The job to submit, with a new id unless its ``facts`` say otherwise; ``members``: of its spec, as JSON with a
        comma behind each. Raises Invalid naming every fault, Malformed (nested too deeply), or what is wrong with the
        first picture or video that is none."""
        if type(document) is not dict:
            raise Invalid("A job is a JSON object with 'type' and 'input'.")
        check_depth(document)
        job_type = type_of(document)
        errors: list[dict[str, str]] = []
        options = options_of(document, errors)
        text, value = input_of(job_type, document, errors)
        if options is None or value is None or errors:
            raise Invalid(f"The submission is not valid: {in_short(errors)}", errors=errors)
        if options.webhook is not None:
            check_url(options.webhook.url, self.urls, "webhook.url")
        for at, url in job_type.urls_of(value).items() if job_type.takes_files else ():
            check_url(url, self.urls, f"input.{at}")
        if job_type.takes_files:
            self.check_contents(job_type, value)
        return self.job(
            job_type, value, owner, options, spec_of(text, options, traceparent, members), **facts
        )

    def check_contents(self, job_type: JobType[Any, Any], value: Input) -> None:
        """What is within the request: that it is base64, and of pictures and videos that they are some. Uploaded ones
        are judged where they are looked up."""
        for place, (text, kind) in job_type.within_of(value).items():
            content = Base64Content(text)
            try:
                if kind == "picture":
                    check_size(content, self.pictures)
                content.check()
                if kind != "file":
                    judge(kind, content, self.pictures)
            except RequestError as error:
                raise about(error, f"input.{place}") from None

    def again(self, document: Mapping[str, Any], job: NewJob) -> NewJob:
        """The same job once more: ``document`` is the spec of an ended one, ``job`` brings its other facts."""
        job_type = CATALOGUE.get(job.type)
        if job_type is None:
            raise Invalid(f"There is no job type '{job.type}' any more.")
        value = job_type.input.model_validate_json(orjson.dumps(document["input"]))
        return replace(
            job,
            batch_key=job_type.batch_key(value),
            weight=job_type.weight(value),
            names=self._names(job_type, value),
            says=saying_of(job_type, value, replaces=str(document.get("retried_from", ""))),
        )

    def _names(self, job_type: JobType[Any, Any], value: Input) -> tuple[Named, ...]:
        """What the input names that is to be looked up: no model that everybody may name."""
        models = job_type.models_of(value).items() if job_type.models else ()
        files = job_type.files_of(value).items() if job_type.takes_files else ()
        judged = job_type.judged_of(value).items() if files else ()
        kinds = {f"{place}.file_id": given.kind for place, given in judged}
        return (
            *(
                Named("model", f"input.{field}", name, job_type.models[field])
                for field, name in models
                if not self.knows_model(job_type, field, name)
            ),
            *(Named(kinds.get(field, "file"), f"input.{field}", file_id) for field, file_id in files),
        )

    def job(
        self,
        job_type: JobType[Any, Any],
        value: Input | None,
        owner: str,
        options: Options,
        spec: bytes,
        *,
        id: str = "",
        **facts: Any,
    ) -> NewJob:
        """A job with a new id, if none is given. ``value``: None where its input is still to be made."""
        limits = job_type.limits
        expires_s = options.expires_in_s if "expires_in_s" in options.model_fields_set else self.expires_s
        timeout_s = limits.timeout_s if options.timeout_s is None else options.timeout_s
        retention_s = limits.retention_s if options.retention_s is None else options.retention_s
        return NewJob(
            id=id or new_id("job"),
            type=job_type.name,
            queue=job_type.queue,
            owner=owner,
            spec=spec,
            priority=options.priority,
            run_at_ms=None if options.run_at is None else int(options.run_at.timestamp() * 1000),
            expires_in_ms=None if expires_s is None else max(1, int(expires_s * 1000)),
            timeout_ms=max(1, int(timeout_s * 1000)),
            max_attempts=options.max_attempts or limits.max_attempts,
            retention_ms=retention_s * 1000,
            batch_key="" if value is None else job_type.batch_key(value),
            weight=1 if value is None else job_type.weight(value),
            hook=hook(options.webhook.events, options.webhook.url) if options.webhook else "",
            after=tuple(dict.fromkeys(options.after)),
            names=() if value is None else self._names(job_type, value),
            says=None if value is None else saying_of(job_type, value),
            **facts,
        )


def type_of(document: dict[str, Any]) -> JobType[Any, Any]:
    """The type that it names. Raises Invalid, with those that there are."""
    name = document.get("type")
    job_type = CATALOGUE.get(name) if isinstance(name, str) else None
    if job_type is not None:
        return job_type
    if name is None:
        code, message = "missing", f"say which type of job; {_there_are('', CATALOGUE.names)}"
    else:
        shown = name[:100].encode(errors="replace").decode() if isinstance(name, str) else "of this kind"
        code, message = (
            "unknown-type",
            f"there is no job type '{shown}'; {_there_are(shown, CATALOGUE.names)}",
        )
    raise Invalid(
        message[0].upper() + message[1:] + ".", errors=[{"field": "type", "message": message, "code": code}]
    )


def _there_are(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    return f"{guess}there are: {', '.join(known) or 'none'}"


def options_of(
    document: dict[str, Any], errors: list[dict[str, str]], kind: type[Options] = Options
) -> Options | None:
    """What it says besides type and input; None where that is not valid, which joins ``errors``."""
    if document.keys() <= {"type", "input"} and kind is Options:
        return _PLAIN
    rest = {name: value for name, value in document.items() if name not in ("type", "input")}
    try:
        return kind.model_validate(rest)
    except ValidationError as error:
        errors += field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        return None


def input_of(
    job_type: JobType[Any, Any], document: dict[str, Any], errors: list[dict[str, str]]
) -> tuple[bytes, Input | None]:
    """The input as JSON and as the type's model; None where it is not valid, which joins ``errors``."""
    if "input" not in document:
        errors.append({"field": "input", "message": "is required", "code": "missing"})
        return b"", None
    text = compact(document["input"], "input")
    try:
        return text, job_type.input.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        for fault in field_errors(faults, hide=UNION_TAGS):
            fault["field"] = "input" if fault["field"] == "body" else f"input.{fault['field']}"
            errors.append(fault)
        return text, None


def spec_of(text: bytes, options: Options, traceparent: str | None, about: bytes = b"") -> bytes:
    """The document that the ledger keeps; ``text`` is the input as JSON and goes in as it is, ``about`` before it."""
    parts = [b"{", about, b'"input":', text]
    if options.metadata:
        parts += (b',"metadata":', compact(options.metadata, "metadata"))
    if options.webhook is not None:
        parts += (b',"webhook":', orjson.dumps(options.webhook.model_dump()))
    if options.after:
        parts += (b',"after":', orjson.dumps(options.after))
    if traceparent is not None:
        parts += (b',"traceparent":', orjson.dumps(traceparent))
    parts.append(b"}")
    return b"".join(parts)


def in_short(errors: list[dict[str, str]]) -> str:
    first = errors[0] if errors else {"field": "body", "message": "unreadable"}
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{first['field']}: {first['message']}{more}."
