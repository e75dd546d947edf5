"""What every command shares: the connection, where text goes, and how errors end the command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from callboard_client import Callboard

FAILED = 1
MISUSED = 2
INTERRUPTED = 130
UNFOLDED = 1000  # columns: what is read by a program or kept in a file is not folded


class Session:
    """The gateway as the options of the command line name it; connected when first used."""

    def __init__(self, url: str | None, key: str | None) -> None:
        self._url = url
        self._key = key

    @cached_property
    def callboard(self) -> Callboard:
        from callboard_client import Callboard, Retries

        return Callboard(self._url, self._key, retries=Retries(times=2))

    @cached_property
    def out(self) -> Console:
        """Results: standard output."""
        from rich.console import Console

        return Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)

    @cached_property
    def err(self) -> Console:
        """What is said about them, and progress: standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else UNFOLDED)

    def print_json(self, value: Any) -> None:
        """Models and plain values as JSON, for programs: nothing is shortened or coloured."""
        import json

        typer.echo(json.dumps(_plain(value), ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def session(context: typer.Context) -> Session:
    found = context.obj
    assert isinstance(found, Session)
    return found


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command with one plain sentence on standard error."""
    typer.secho(message, err=True, fg="red" if sys.stderr.isatty() else None)
    raise typer.Exit(code)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turns the client's errors into a sentence and an exit code; bugs keep their traceback."""
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(FAILED)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        typer.secho(str(error), err=True, fg="red" if sys.stderr.isatty() else None)
        sys.exit(code)


def exit_code(error: Exception) -> int | None:
    """``None`` for what is not the client's own error."""
    from callboard_client import CallboardError, ConfigError, Invalid

    if isinstance(error, Invalid | ConfigError):
        return MISUSED
    return FAILED if isinstance(error, CallboardError) else None


def _plain(value: Any) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
