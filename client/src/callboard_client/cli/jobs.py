"""``callboard jobs …``"""

from __future__ import annotations

from typing import Annotated

import typer

from callboard_client.cli.session import session

app = typer.Typer(help="Look at jobs, and cancel, retry or delete them.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, job_…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, …")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only this job type.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only this queue.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this note.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Your jobs, newest first."""
    from callboard_client.cli.run import pairs

    here = session(context)
    found = list(
        here.callboard.jobs.list(
            status=status, type=type_, queue=queue, metadata=pairs(metadata or []), limit=limit
        )
    )
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import ago, table, took

    rows = ((job.id, job.type, job.status, ago(job.created_at), took(job)) for job in found)
    here.out.print(table(("id", "type", "status", "created", "took"), rows))


@app.command("get")
def get_job(
    context: typer.Context,
    job: JobId,
    wait: Annotated[float, typer.Option(help="Wait for its end, at most so many seconds.")] = 0,
    as_json: AsJson = False,
) -> None:
    """One job, with its output or its error."""
    here = session(context)
    found = here.callboard.jobs.wait(job, wait) if wait else here.callboard.jobs.get(job)
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import print_output

    known = found.model_dump(mode="json", exclude={"output", "input", "error"}, exclude_none=True)
    print_output(here.out, {name: value for name, value in known.items() if value not in ({}, [])})
    if found.error:
        print_output(here.out, {"error": str(found.error)})
    if found.output is not None:
        here.out.print("\noutput", style="bold")
        print_output(here.out, found.output)


@app.command("cancel")
def cancel_job(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job: at once if it waits, at its next check if it runs."""
    here = session(context)
    found = here.callboard.jobs.cancel(job)
    here.print_json(found) if as_json else typer.echo(f"{found.id} {found.status}")


@app.command("retry")
def retry_job(
    context: typer.Context,
    job: JobId,
    follow: Annotated[bool, typer.Option(help="Follow the new job and print its output.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit an ended job once more, as a new job."""
    from callboard_client.cli import run

    here = session(context)
    new = here.callboard.jobs.retry(job)
    if follow:
        run.finish(here, run.follow(here, new, quiet=as_json), as_json)
    elif as_json:
        here.print_json(new)
    else:
        typer.echo(new.id)


@app.command("delete")
def delete_job(context: typer.Context, job: JobId) -> None:
    """Remove an ended job and its files."""
    session(context).callboard.jobs.delete(job)
    typer.echo(f"{job} deleted")


@app.command("events")
def job_events(
    context: typer.Context,
    job: JobId,
    after: Annotated[str | None, typer.Option(help="Only what came behind the event with this id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Everything that happened to a job, and what still happens, until it ends."""
    import json

    here = session(context)
    for event in here.callboard.jobs.events(job, after=after):
        if as_json:
            typer.echo(event.model_dump_json())
        elif event.kind != "done":
            typer.echo(f"{event.kind:<9}{json.dumps(event.data, ensure_ascii=False)}")
        elif event.job:
            typer.echo(f"{event.kind:<9}{event.job.status}")
