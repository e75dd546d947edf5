"""``callboard job-types``, ``queues`` and ``workers``: what there is, and how it does."""

from __future__ import annotations

from typing import Annotated

import typer

from callboard_client.cli.session import session

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="A queue; `callboard queues` lists them.")]


def register(app: typer.Typer) -> None:
    app.command("job-types")(job_types)
    app.command("queues")(queues)
    app.command("workers")(workers)
    app.command("pause")(pause)
    app.command("resume")(resume)


def job_types(context: typer.Context, as_json: AsJson = False) -> None:
    """The job types this gateway takes."""
    here = session(context)
    found = here.callboard.job_types()
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import table

    here.out.print(table(("type", "queue", "what it does"), ((t.name, t.queue, t.summary) for t in found)))
    here.err.print("\nOptions of one: callboard run TYPE --help", style="dim")


def queues(context: typer.Context, as_json: AsJson = False) -> None:
    """How much waits and runs, and who is there to do it."""
    here = session(context)
    found = here.callboard.queues()
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import table

    columns = ("queue", "ready", "running", "scheduled", "workers", "slots", "oldest wait", "jobs/s", "")
    rows = (
        (q.name, q.ready, q.running, q.scheduled, q.workers, q.slots,
         f"{q.oldest_wait_s or 0:.1f} s", f"{q.rate_per_s or 0:.1f}", "paused" if q.paused else "")
        for q in found
    )  # fmt: skip
    here.out.print(table(columns, rows))


def workers(context: typer.Context, as_json: AsJson = False) -> None:
    """The worker processes that are online."""
    here = session(context)
    found = here.callboard.workers()
    if as_json:
        here.print_json(found)
        return
    from callboard_client.cli.render import ago, table

    columns = ("id", "queue", "pid", "started", "running", "models", "note")
    rows = (
        (w.id, w.queue, w.pid, ago(w.started_at), len(w.running), ", ".join(map(str, w.models)), w.note or "")
        for w in found
    )
    here.out.print(table(columns, rows))


def pause(context: typer.Context, queue: QueueName) -> None:
    """Let nothing of a queue start; what runs goes on (with an admin key)."""
    session(context).callboard.pause_queue(queue)
    typer.echo(f"{queue} paused; callboard resume {queue} lets it go on")


def resume(context: typer.Context, queue: QueueName) -> None:
    """Let a paused queue go on (with an admin key)."""
    session(context).callboard.resume_queue(queue)
    typer.echo(f"{queue} goes on")
