"""The ``callboard`` command. Only typer is loaded to show help; the client, when a command needs it."""

from callboard_client.cli.app import app, main

__all__ = ["app", "main"]
