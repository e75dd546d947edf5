"""``callboard run TYPE``: the type's own options, live progress, and the output for people or programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callboard_client.cli.session import FAILED, INTERRUPTED, MISUSED, Session, fail, session

if TYPE_CHECKING:
    from callboard_client import Callboard, Job, JobType
    from callboard_client.cli.fields import Field


def register(app: typer.Typer) -> None:
    app.command(
        "run",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
        short_help="Run a job and print its output: callboard run nlp.embed --text hello",
    )(run)


def run(
    context: typer.Context,
    type_name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="A job type; `callboard job-types` lists them.")
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="JSON", help="The whole input; @FILE reads a file, - standard input."
        ),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="[FIELD=]PATH", help="Upload a file and put it into the input."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the output, as JSON.")] = False,
    detach: Annotated[bool, typer.Option(help="Do not wait: print the job's id and end.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Download the files of the output.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="−10 to 10; higher runs first.")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="Limit of one attempt, in seconds.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often the job may be started.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A note on the job.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Same key, same job, for 24 hours.")] = None,
    help_: Annotated[
        bool, typer.Option("--help", help="Show this, or with TYPE the options of that type.")
    ] = False,
) -> None:
    """Run a job of TYPE, follow it, and print its output.

    The fields of the type's input are options: callboard run nlp.embed --text one --text two.
    """
    if type_name is None:
        typer.echo(context.get_help())
        raise typer.Exit(0 if help_ else MISUSED)
    here = session(context)
    job_type = find_type(here.callboard, type_name)
    if help_:
        from callboard_client.cli.render import show_type

        show_type(here.out, job_type)
        return
    given = build_input(job_type, input_, list(context.args), file or [])
    job = here.callboard.submit(
        type_name,
        upload_locals(here.callboard, given),
        priority=priority,
        timeout_s=timeout_s,
        max_attempts=max_attempts,
        metadata=pairs(metadata or []),
        idempotency_key=idempotency_key,
    )
    if detach:
        here.print_json(job) if as_json else typer.echo(job.id)
        return
    finish(here, follow(here, job, quiet=as_json), as_json, save)


def find_type(callboard: Callboard, name: str) -> JobType:
    """The type; an unknown one ends the command with the list of those there are."""
    import difflib

    types = {one.name: one for one in callboard.job_types()}
    if name not in types:
        near = difflib.get_close_matches(name, types, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        fail(f"There is no job type {name!r}.{meant} There are: {', '.join(types)}.", MISUSED)
    return types[name]


def build_input(
    job_type: JobType, whole: str | None, arguments: list[str], files: list[str]
) -> dict[str, Any]:
    """``--input`` first, then the fields' own options over it."""
    from callboard_client.cli.fields import Local, Misuse, fields_of, parse

    fields = fields_of(job_type.input_schema)
    try:
        given = {**_whole_input(whole), **parse(arguments, fields, job_type.name)}
        for text in files:
            name, equals, path = text.partition("=")
            if not equals:
                name, path = _place_of_files(fields, text), text
            takes_many = any(one.name == name and one.kind == "array" for one in fields)
            given[name] = [*given.get(name, []), Local(path)] if takes_many else Local(path)
    except Misuse as error:
        fail(str(error), MISUSED)
    missing = [one.options[0] for one in fields if one.required and one.name not in given]
    if missing:
        hint = f"see `callboard run {job_type.name} --help`"
        fail(f"{job_type.name} needs {' and '.join(missing)} ({hint}).", MISUSED)
    return given


def _place_of_files(fields: Sequence[Field], path: str) -> str:
    """The one field that takes a file; of several, the one that is required."""
    from callboard_client.cli.fields import Misuse

    places = [one for one in fields if "file" in (one.kind, one.items)]
    if len(places) != 1:
        places = [one for one in places if one.required]
    if len(places) != 1:
        raise Misuse(f"Say which field takes the file: --file FIELD={path}.")
    return places[0].name


def _whole_input(whole: str | None) -> dict[str, Any]:
    from callboard_client.cli.fields import Misuse

    if whole is None:
        return {}
    try:
        if whole == "-":
            whole = sys.stdin.read()
        elif whole.startswith("@"):
            whole = Path(whole[1:]).read_text("utf-8")
        value = json.loads(whole)
    except OSError as error:
        raise Misuse(f"--input: {error.filename} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Misuse(f"--input is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Misuse('--input takes a JSON object, such as {"texts": ["hello"]}.')
    return value


def upload_locals(callboard: Callboard, value: Any) -> Any:
    """The input with every local file uploaded, and its id in its place."""
    from callboard_client.cli.fields import Local

    if isinstance(value, dict):
        return {name: upload_locals(callboard, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [upload_locals(callboard, inner) for inner in value]
    if not isinstance(value, Local):
        return value
    try:
        return {"file_id": callboard.files.upload(value.path).id}
    except OSError as error:
        fail(f"{value.path} cannot be read: {error.strerror}.", MISUSED)


def pairs(texts: list[str]) -> dict[str, str] | None:
    """NAME=VALUE options as a mapping."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            fail(f"--metadata takes NAME=VALUE, not {text!r}.", MISUSED)
        found[name] = value
    return found or None


def follow(here: Session, job: Job, *, quiet: bool) -> Job:
    """Shows what happens until the job has ended: a moving line on a terminal, log lines, and model text."""
    from callboard_client.cli.render import Ticker

    try:
        with Ticker(here, job, quiet=quiet) as ticker:
            for event in here.callboard.jobs.events(job):
                ticker.show(event)
                if event.job is not None:
                    return event.job
    except KeyboardInterrupt:
        how = f"callboard jobs get {job.id}, callboard jobs cancel {job.id}"
        fail(f"\nThe job goes on ({how}).", INTERRUPTED)
    return here.callboard.jobs.get(job)


def finish(here: Session, job: Job, as_json: bool, save: Path | None = None) -> None:
    """Prints an ended job's output, or why it has none (exit code 1)."""
    from callboard_client.cli.render import print_output, summary

    if not job.has_succeeded:
        why = f": {job.error}" if job.error else ""
        fail(f"Job {job.id} ended {job.status}{why}", FAILED)
    output = here.callboard.jobs.output(job)
    if as_json:
        here.print_json(output)
    else:
        print_output(here.out, output)
        here.err.print(summary(job), style="dim")
    if save is not None:
        for path in download_files(here.callboard, output, save):
            here.err.print(f"saved {path}", style="dim", markup=False)


def download_files(callboard: Callboard, output: Any, folder: Path) -> list[Path]:
    """Every file that the output refers to, under its own name in ``folder``."""
    if isinstance(output, dict) and isinstance(output.get("file_id"), str):
        folder.mkdir(parents=True, exist_ok=True)
        name = Path(callboard.files.get(output["file_id"]).name).name or output["file_id"]
        return [callboard.files.download(output["file_id"], folder / name)]
    inner = output.values() if isinstance(output, dict) else output if isinstance(output, list) else ()
    return [path for value in inner for path in download_files(callboard, value, folder)]
