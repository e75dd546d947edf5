"""A step's input, made whole once all that the step waits for has succeeded: the references are replaced by what they
name, and the result is held to the job type's model as any submission is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from callboard_shared.errors import FinalError, Invalid, LedgerError, NotFound, field_errors
from callboard_shared.files import Files
from callboard_shared.jobs import CATALOGUE, UNION_TAGS, Input, JobType
from callboard_shared.ledger import Call, Filled, JobRecord, Ledger, filing, modelling, verbs
from callboard_shared.ledger.saying import saying_of
from callboard_shared.pipelines.references import Location, Reference, fill, look_up

MOST_INPUT_BYTES = 8_000_000
"""Of what references bring into one input."""
MOST_OUTPUT_BYTES = 32 * 1024 * 1024
"""Of an output stored as a file, into which a reference may lead."""

_STORED = frozenset({"file_id", "media_type", "bytes", "sha256", "url"})


def fill_in(ledger: Ledger, files: Files, record: JobRecord) -> Filled:
    """What a blocked step starts with. Raises FinalError or Invalid, with which the step ends, and LedgerError."""
    spec: dict[str, Any] = orjson.loads(record.spec)
    about: dict[str, Any] = spec["pipeline"]
    job_type = CATALOGUE.get(record.type)
    if job_type is None:
        raise FinalError(f"There is no job type '{record.type}' any more.", code="unknown-type")
    if taken := about.pop("takes", None):
        outputs = _Outputs(ledger, files, taken)
        spec["input"] = fill(spec["input"], outputs.resolve, most_bytes=MOST_INPUT_BYTES, location=("input",))
    value = _valid(job_type, spec["input"])
    _check_files(ledger, job_type, value, record.owner)
    batch_key = job_type.batch_key(value)
    if _names_own_model(ledger, job_type, value, record.owner):
        batch_key = f"{batch_key}|{record.owner}"  # two keys may have models of one name: they share no batch
    turns, size = about.pop("room", (0, 0))
    expires_in_ms, says = about.pop("expires_in_ms", None), saying_of(job_type, value)
    return Filled(orjson.dumps(spec), batch_key, job_type.weight(value), expires_in_ms, says, (turns, size))


class _Outputs:
    """Outputs of steps by name, as far as references ask for them. ``taken``: step -> [queue, job id]."""

    def __init__(self, ledger: Ledger, files: Files, taken: Mapping[str, tuple[str, str]]) -> None:
        self._ledger, self._files, self._taken = ledger, files, taken
        self._read: dict[str, Any] = {}
        self._whole: dict[str, Any] = {}

    def resolve(self, reference: Reference, at: Location) -> Any:
        step = reference.step
        if step not in self._read:
            self._read[step] = self._output(step)
        if not (reference.path and self._is_stored(step)):
            return look_up(self._read, reference, at)
        if step not in self._whole:
            self._whole[step] = self._content(step)
        return look_up(self._whole, reference, at)

    def _output(self, step: str) -> Any:
        queue, job_id = self._taken[step]
        (job,) = self._ledger.run(verbs.read(queue, [job_id]))
        if job is None or job.output is None:
            raise FinalError(
                f"The output of step '{step}' ({job_id}) is no longer there. Submit the pipeline again.",
                code="reference-not-found",
            )
        return orjson.loads(job.output)

    def _is_stored(self, step: str) -> bool:
        """Whether the output was too large to stand in the job, and is a file (see worker/outcome.py)."""
        output = self._read[step]
        return isinstance(output, dict) and output.keys() == _STORED

    def _content(self, step: str) -> Any:
        output = self._read[step]
        if output["bytes"] > MOST_OUTPUT_BYTES:
            raise FinalError(
                f"The output of step '{step}' has {output['bytes']:,} bytes; references lead into outputs of at most "
                f"{MOST_OUTPUT_BYTES:,}. Take the whole, as a file: ${{{step}.output}}.",
                code="too-large",
            )
        try:
            return orjson.loads(self._files.get_bytes(output["file_id"]))
        except NotFound:
            raise FinalError(
                f"The output of step '{step}' is a file ({output['file_id']}) that is no longer there.",
                code="reference-not-found",
            ) from None


def _valid(job_type: JobType[Any, Any], document: Any) -> Input:
    try:
        text = orjson.dumps(document)
    except TypeError:
        raise FinalError(
            "With what its references give the input is nested too deeply.", code="validation"
        ) from None
    try:
        value: Input = job_type.input.model_validate_json(text)
        return value
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        found = field_errors(
            [{**fault, "loc": ("input", *fault["loc"])} for fault in faults], hide=UNION_TAGS
        )
        detail = f"With what its references give the input is not valid: {found[0]['field']}: {found[0]['message']}."
        raise Invalid(detail, errors=found) from None


def _check_files(ledger: Ledger, job_type: JobType[Any, Any], value: Input, owner: str) -> None:
    named = job_type.files_of(value) if job_type.takes_files else {}
    for field, file_id in named.items():
        record = ledger.run(filing.get_file(file_id))
        if record is None or record.owner != owner:
            message = f"There is no file '{file_id[:64]}'."
            fault = {"field": f"input.{field}", "message": message, "code": "unknown-file"}
            raise Invalid(message, code="unknown-file", errors=[fault])


def _names_own_model(ledger: Ledger, job_type: JobType[Any, Any], value: Input, owner: str) -> bool:
    """Whether it names a model that its owner trained. Whether there is one at all, its worker judges."""
    names = job_type.models_of(value).values() if job_type.models else ()
    calls: list[Call[Any]] = [modelling.find_model(owner, name) for name in names]
    found = ledger.run_many(calls) if calls else []
    for answer in found:
        if isinstance(answer, LedgerError):
            raise answer
    return any(found)
