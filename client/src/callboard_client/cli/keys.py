"""``callboard keys …``"""

from __future__ import annotations

from typing import Annotated

import typer

from callboard_client.cli.session import session

app = typer.Typer(help="Make, list and delete API keys (with an admin key).", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="jobs:read, jobs:write or admin; by default the first two.")
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option(help="It stops working after so many days.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: it is shown this once."""
    from datetime import UTC, datetime, timedelta

    here = session(context)
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    key = here.callboard.keys.create(name, scope or ["jobs:write", "jobs:read"], expires_at=expires_at)
    if as_json:
        here.print_json(key)
        return
    typer.echo(key.key)
    here.err.print(
        f"{key.id}, scopes {', '.join(key.scopes)}. Keep it now: it is not shown again.", style="dim"
    )


@app.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """All keys, without their secrets."""
    here = session(context)
    keys = list(here.callboard.keys.list())
    if as_json:
        here.print_json(keys)
        return
    from callboard_client.cli.render import ago, table

    rows = (
        (k.id, k.name, k.prefix, ", ".join(k.scopes), ago(k.created_at), k.expires_at, ago(k.last_used_at))
        for k in keys
    )
    here.out.print(table(("id", "name", "begins with", "scopes", "created", "expires", "last used"), rows))


@app.command("rotate")
def rotate_key(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="ID", help="key_…")],
    grace_hours: Annotated[float, typer.Option(help="So long the old secret is taken too.")] = 24,
) -> None:
    """Give a key another secret and print it: it is shown this once."""
    typer.echo(session(context).callboard.keys.rotate(key, grace_s=round(grace_hours * 3600)).key)


@app.command("delete")
def delete_key(
    context: typer.Context, key: Annotated[str, typer.Argument(metavar="ID", help="key_…")]
) -> None:
    """Revoke a key: it stops working at once."""
    session(context).callboard.keys.delete(key)
    typer.echo(f"{key} deleted")
