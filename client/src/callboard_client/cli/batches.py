"""``callboard batch …``"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callboard_client.cli.session import FAILED, INTERRUPTED, MISUSED, Session, fail, session

if TYPE_CHECKING:
    from callboard_client import Batch

app = typer.Typer(help="Run the jobs in the lines of a file, and look at them.", no_args_is_help=True)

BatchId = Annotated[str, typer.Argument(metavar="ID", help="The batch's id, batch_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("run")
def run_batch(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSONL: a job a line, with a custom_id if you like.")
    ],
    follow: Annotated[bool, typer.Option(help="Wait for its end and print what became of each line.")] = True,
    output: Annotated[
        Path | None, typer.Option(help="Put what became of each line here, not on the screen.")
    ] = None,
) -> None:
    """Upload a file of jobs, run them, and print what became of each line. 1 if a line did not succeed."""
    here = session(context)
    try:
        made = here.callboard.batches.create(file)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.", MISUSED)
    if not follow:
        typer.echo(made.id)
        return
    ended = _await(here, made)
    _print_results(here, ended, output)
    if ended.status != "completed" or ended.counts.succeeded < ended.counts.total:
        why = f": {ended.error}" if ended.error else f": {_counts(ended)}"
        fail(f"batch {ended.id} ended {ended.status}{why}", FAILED)


@app.command("list")
def list_batches(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Your batches, newest first."""
    here = session(context)
    found = list(here.callboard.batches.list(limit=limit))
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import ago, table

    rows = ((one.id, one.status, _counts(one), ago(one.created_at)) for one in found)
    here.out.print(table(("id", "status", "lines", "created"), rows))


@app.command("get")
def get_batch(
    context: typer.Context,
    batch: BatchId,
    wait: Annotated[float, typer.Option(help="Wait for its end, at most so many seconds.")] = 0,
    as_json: AsJson = False,
) -> None:
    """One batch, with its counts."""
    here = session(context)
    batches = here.callboard.batches
    _show(here, batches.wait(batch, wait) if wait else batches.get(batch), as_json)


@app.command("results")
def results(
    context: typer.Context,
    batch: BatchId,
    output: Annotated[Path | None, typer.Option(help="Put them here, not on the screen.")] = None,
) -> None:
    """What became of each line of a batch that has ended, as JSONL."""
    here = session(context)
    found = here.callboard.batches.get(batch)
    if not found.has_ended:
        fail(f"batch {found.id} is {found.status}: {_counts(found)}", FAILED)
    _print_results(here, found, output)


@app.command("cancel")
def cancel_batch(context: typer.Context, batch: BatchId, as_json: AsJson = False) -> None:
    """Cancel what of a batch has not ended."""
    here = session(context)
    _show(here, here.callboard.batches.cancel(batch), as_json)


@app.command("retry")
def retry_batch(context: typer.Context, batch: BatchId, as_json: AsJson = False) -> None:
    """Run those lines of an ended batch again that failed, expired or were canceled; prints the new batch."""
    here = session(context)
    _show(here, here.callboard.batches.retry(batch), as_json)


def _show(here: Session, batch: Batch, as_json: bool) -> None:
    if as_json:
        here.print_json(batch)
        return
    typer.echo(f"{batch.id} {batch.status}: {_counts(batch)}")
    if batch.error or batch.waiting_for:
        typer.echo(str(batch.error or batch.waiting_for))


def _counts(batch: Batch) -> str:
    counts = batch.counts.model_dump()
    parts = [f"{number:,} {name}" for name, number in counts.items() if number and name != "total"]
    return f"{', '.join(parts) or 'none ended'} of {batch.counts.total:,}"


def _await(here: Session, batch: Batch) -> Batch:
    """Says how many have ended until all have."""
    from callboard_client import WaitTimeout

    said = ""
    try:
        while not batch.has_ended:
            now = f"{batch.status}: {batch.waiting_for or _counts(batch)}"
            if now != said:
                here.err.print(now, style="dim", markup=False, highlight=False)
                said = now
            try:
                batch = here.callboard.batches.wait(batch, 1)
            except WaitTimeout:
                batch = here.callboard.batches.get(batch)
    except KeyboardInterrupt:
        how = f"callboard batch get {batch.id}, callboard batch cancel {batch.id}"
        fail(f"\nThe batch goes on ({how}).", INTERRUPTED)
    return batch


def _print_results(here: Session, batch: Batch, output: Path | None) -> None:
    import tempfile

    if batch.output_file is None:
        return
    files = here.callboard.files
    if output is not None:
        here.err.print(
            f"saved {files.download(batch.output_file.file_id, output)}", style="dim", markup=False
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        where = files.download(batch.output_file.file_id, Path(folder, "output.jsonl"))
        with where.open("r", encoding="utf-8") as lines:
            shutil.copyfileobj(lines, sys.stdout)
