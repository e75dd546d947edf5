"""The commands and their options.

Exit codes: 0 it worked · 1 the job, the request or a check failed · 2 the command line or the input is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from callboard_client.cli import batches, board, chat, doctor, jobs, keys, models, pipelines, run
from callboard_client.cli.session import Session, reporting_errors

app = typer.Typer(
    name="callboard",
    help="Submit AI jobs to a Callboard gateway and see what becomes of them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 it worked · 1 the job or the request failed · 2 the command line or the input is wrong.",
)


def _version(asked: bool) -> None:
    if asked:
        from callboard_client import __version__

        typer.echo(f"callboard {__version__}")
        raise typer.Exit()


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the gateway; else CALLBOARD_URL, else the embedded stack's."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="API key; else CALLBOARD_API_KEY, else .callboard/api-key.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Session(url, key)


run.register(app)
chat.register(app)
board.register(app)
doctor.register(app)
app.add_typer(jobs.app, name="jobs")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(pipelines.app, name="pipeline", hidden=True)
app.add_typer(batches.app, name="batch")
app.add_typer(batches.app, name="batches", hidden=True)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command line (that of the process, if not given) and exits with its code."""
    with reporting_errors():
        app(arguments)
