"""``callboard pipelines …``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callboard_client.cli.session import FAILED, INTERRUPTED, MISUSED, Session, fail, session

if TYPE_CHECKING:
    from callboard_client import Pipeline

app = typer.Typer(help="Run jobs that take what others gave, and look at them.", no_args_is_help=True)

PipelineId = Annotated[str, typer.Argument(metavar="ID", help="The pipeline's id, pipe_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("run")
def run_pipeline(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help='JSON: {"steps": {…}}; - reads standard input.')
    ],
    follow: Annotated[bool, typer.Option(help="Wait for its end and print its output.")] = True,
    save: Annotated[Path | None, typer.Option(help="Put the files of the output into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a pipeline, and print what its last steps gave."""
    here = session(context)
    body = _read(file)
    made = here.callboard.pipelines.create(
        body.pop("steps"), webhook=body.pop("webhook", None), metadata=body.pop("metadata", None)
    )
    if not follow:
        here.print_json(made) if as_json else typer.echo(made.id)
        return
    _finish(here, _await(here, made, quiet=as_json), as_json, save)


@app.command("list")
def list_pipelines(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Your pipelines, newest first."""
    here = session(context)
    found = list(here.callboard.pipelines.list(limit=limit))
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import ago, table

    rows = ((one.id, one.status, " ".join(one.steps), ago(one.created_at)) for one in found)
    here.out.print(table(("id", "status", "steps", "created"), rows))


@app.command("get")
def get_pipeline(
    context: typer.Context,
    pipeline: PipelineId,
    wait: Annotated[float, typer.Option(help="Wait for its end, at most so many seconds.")] = 0,
    as_json: AsJson = False,
) -> None:
    """One pipeline, with its steps, and its output or its error."""
    here = session(context)
    pipelines = here.callboard.pipelines
    found = pipelines.wait(pipeline, wait) if wait else pipelines.get(pipeline)
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import print_output, table

    here.out.print(f"{found.id} {found.status}", markup=False)
    rows = ((name, one.type, one.status, one.job_id) for name, one in found.steps.items())
    here.out.print(table(("step", "type", "status", "job"), rows))
    if found.error:
        print_output(here.out, {"error": str(found.error)})
    if found.output is not None:
        print_output(here.out, found.output)


@app.command("cancel")
def cancel_pipeline(context: typer.Context, pipeline: PipelineId, as_json: AsJson = False) -> None:
    """Cancel what of a pipeline has not ended."""
    here = session(context)
    found = here.callboard.pipelines.cancel(pipeline)
    here.print_json(found) if as_json else typer.echo(f"{found.id} {found.status}")


def _read(file: str) -> dict[str, Any]:
    import json

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.", MISUSED)
    try:
        body = json.loads(text)
    except ValueError as error:
        fail(f"{file} is not JSON: {error}.", MISUSED)
    known = {"steps", "webhook", "metadata"}
    if not isinstance(body, dict) or not isinstance(body.get("steps"), dict) or body.keys() - known:
        fail(f'{file} must be {{"steps": {{…}}}}, with webhook and metadata if you like.', MISUSED)
    return body


def _await(here: Session, pipeline: Pipeline, *, quiet: bool) -> Pipeline:
    """Says what runs until it has ended."""
    from callboard_client import WaitTimeout

    said = ""
    try:
        while not pipeline.has_ended:
            progress = pipeline.progress
            now = f"{pipeline.status}: {progress.step or 0} of {progress.steps} steps" if progress else ""
            if not quiet and now != said:
                here.err.print(now, style="dim")
                said = now
            try:
                pipeline = here.callboard.pipelines.wait(pipeline, 1)
            except WaitTimeout:
                pipeline = here.callboard.pipelines.get(pipeline)
    except KeyboardInterrupt:
        how = f"callboard pipelines get {pipeline.id}, callboard pipelines cancel {pipeline.id}"
        fail(f"\nThe pipeline goes on ({how}).", INTERRUPTED)
    return pipeline


def _finish(here: Session, pipeline: Pipeline, as_json: bool, save: Path | None) -> None:
    from callboard_client import PipelineFailed
    from callboard_client.cli.render import print_output
    from callboard_client.cli.run import download_files

    if not pipeline.has_succeeded:
        fail(str(PipelineFailed(pipeline)), FAILED)
    if as_json:
        here.print_json(pipeline.output)
    else:
        print_output(here.out, pipeline.output)
    if save is not None:
        for path in download_files(here.callboard, pipeline.output, save):
            here.err.print(f"saved {path}", style="dim", markup=False)
