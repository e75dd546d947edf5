"""``callboard models …``"""

from __future__ import annotations

from typing import Annotated

import typer

from callboard_client.cli.session import session

app = typer.Typer(help="List the models that jobs can name, and delete trained ones.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_models(
    context: typer.Context,
    task: Annotated[str | None, typer.Option(help="Only for this: embed, classify, word2vec, …")] = None,
    as_json: AsJson = False,
) -> None:
    """The installation's models, and those that your jobs have trained."""
    here = session(context)
    models = [model for model in here.callboard.models.list() if task in (None, model.task)]
    if as_json:
        here.print_json(models)
        return
    from callboard_client.cli.render import ago, size, table

    rows = (
        (m.name, m.task, m.source, size(m.bytes), "yes" if m.loaded else None, ago(m.created_at))
        for m in models
    )
    here.out.print(table(("model", "task", "source", "size", "loaded", "made"), rows))


@app.command("show")
def show_model(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME", help="name@version, or a name: the newest.")],
    as_json: AsJson = False,
) -> None:
    """One model, with its metrics and files."""
    here = session(context)
    found = here.callboard.models.get(model)
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import print_output, size, table

    known = found.model_dump(mode="json", exclude={"files"}, exclude_none=True)
    print_output(here.out, {name: value for name, value in known.items() if value not in ({}, [])})
    if found.files:
        rows = ((one.get("path"), size(one.get("bytes")), one.get("file_id")) for one in found.files)
        here.out.print()
        here.out.print(table(("file", "size", "id"), rows))


@app.command("delete")
def delete_model(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME", help="name@version")],
) -> None:
    """Remove a model that was trained here, and its files."""
    session(context).callboard.models.delete(model)
    typer.echo(f"{model} deleted")
