"""``callboard doctor``: is everything there that a job needs, and if not, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callboard_client.cli.session import FAILED, Session, session

if TYPE_CHECKING:
    from callboard_client import Callboard, Readiness, Worker


LOW_DISK_BYTES = 2_000_000_000
MOST_SKEW_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``good`` is None for what is only worth knowing; ``advice`` says what to do."""

    name: str
    good: bool | None
    found: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Check address, key, ledger and workers, and say what to do about what is wrong."""
    here = session(context)
    checks = []
    for check in examine(here.callboard):
        checks.append(check)
        if not as_json:
            _show(here, check)
    if as_json:
        members = ("name", "good", "found", "advice")
        here.print_json([{name: getattr(check, name) for name in members} for check in checks])
    if any(check.good is False for check in checks):
        raise typer.Exit(FAILED)


def _show(here: Session, check: Check) -> None:
    from rich.markup import escape

    mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]·[/]"}[check.good]
    here.out.print(f"{mark} [bold]{check.name}[/]  {escape(check.found)}")
    if check.advice:
        here.out.print(f"  → {check.advice}", markup=False)


def examine(callboard: Callboard) -> Iterator[Check]:
    """Checks in the order in which things depend on each other; ends where going on makes no sense."""
    from callboard_client import ApiError, CallboardError, Unauthorized, Unavailable

    yield _client()
    try:
        ready = callboard.ready()
    except Unavailable as error:
        yield Check("address", True, f"{callboard.url} answers")
        advice = "Start it again (make run), or see that CALLBOARD_REDIS_URL of the gateway is right."
        yield Check("ledger", False, error.detail, advice)
        return
    except CallboardError as error:
        advice = "Start a stack with `make run`, or name the right address with --url or CALLBOARD_URL."
        yield Check("address", False, str(error), advice)
        return
    yield Check("address", True, f"{callboard.url} answers")
    yield Check("ledger", True, "ready" if ready.status == "ready" else ready.status)
    yield from _releases(ready)
    try:
        types = callboard.job_types()
    except Unauthorized as error:
        advice = f"The key came from {callboard.key_source}. Pass --key, or set CALLBOARD_API_KEY."
        yield Check("key", False, error.detail, advice)
        return
    except ApiError as error:
        yield Check("key", False, error.detail, "Make a key with scope jobs:read: callboard keys create NAME")
        return
    yield Check("key", True, f"accepted (from {callboard.key_source})")
    yield Check("job types", bool(types), f"{len(types)}: {', '.join(one.name for one in types)}")
    yield from _queues(callboard, {one.queue for one in types}, ready.version)


def _client() -> Check:
    import platform

    from callboard_client import __version__

    return Check("client", None, f"callboard-client {__version__}, Python {platform.python_version()}")


def _releases(ready: Readiness) -> Iterator[Check]:
    """The gateway's release beside this client's, and the layout of the ledger's data beside what the gateway knows."""
    from callboard_client import __version__

    if not ready.version:
        yield Check("release", None, "the gateway does not say its release: it is older than this client")
        return
    advice = ""
    if ready.version != __version__:
        advice = f"They may not know all of each other: pip install callboard-client=={ready.version}"
    yield Check("release", None if advice else True, f"gateway {ready.version}, client {__version__}", advice)
    layout, newest = ready.ledger_layout, ready.newest_layout
    if layout is None or newest is None:
        advice = "Restart the gateway: it writes the layout's number when it starts."
        yield Check("ledger's layout", False, "no number is written in the ledger", advice)
    elif layout > newest:
        advice = "A newer release has migrated the ledger. Bring this gateway to that release, and the workers with it."
        yield Check("ledger's layout", False, f"{layout}, and the gateway knows up to {newest}", advice)
    elif layout < newest:
        advice = "Restart the gateway: it migrates the ledger when it starts (a backup before is wise)."
        yield Check("ledger's layout", False, f"{layout}, and the gateway's is {newest}", advice)
    else:
        yield Check("ledger's layout", True, f"{layout}, the newest that the gateway knows")


def _other_releases(gateway: str, workers: Iterable[Worker]) -> Iterator[Check]:
    """Workers of another release than the gateway's: well while an upgrade goes on, not for long."""
    for worker in workers:
        release = worker.facts.get("version", "")
        if gateway and release and release != gateway:
            advice = (
                "Bring both to one release: docker compose up -d --build, or make run again. No job is lost."
            )
            yield Check(f"release of {worker.id}", None, f"{release}, and the gateway's is {gateway}", advice)


def _surroundings(worker: str, facts: dict[str, Any]) -> Iterator[Check]:
    """What a worker sees around it; of what is well only what is worth knowing."""
    if facts.get("broker", "ok") != "ok":
        advice = "See that CALLBOARD_BROKER_URL (else CALLBOARD_REDIS_URL) of the worker is right and the broker runs."
        yield Check(f"broker of {worker}", False, facts["broker"], advice)
    elif facts.get("bells", "ok") != "ok":
        advice = "Restart it: its consumer has lost the broker and does not hear of work."
        yield Check(f"bells of {worker}", False, "are not heard", advice)
    if "store" in facts:
        good = facts["store"] == "ok"
        advice = (
            "See that CALLBOARD_FILES_DIR is writable for it, or CALLBOARD_FILES_URL and its key are right."
        )
        yield Check("object store", good, "answers" if good else facts["store"], "" if good else advice)
    if (free := facts.get("disk_free_bytes")) is not None and free < LOW_DISK_BYTES:
        advice = "Delete files or shorten their retention, or enlarge the disk."
        yield Check(f"disk of {worker}", False, f"{free / 1e9:.1f} GB free", advice)
    if abs(skew := facts.get("clock_skew_s", 0)) > MOST_SKEW_S:
        advice = "Let that machine keep its time by NTP; jobs go by the ledger's clock meanwhile."
        yield Check(f"clock of {worker}", False, f"{skew:+.0f} s from the ledger's", advice)
    if "ffmpeg" in facts:
        advice = (
            ""
            if facts["ffmpeg"]
            else "Install ffmpeg, or the package imageio-ffmpeg, where this worker runs."
        )
        yield Check("ffmpeg", facts["ffmpeg"], "is there" if facts["ffmpeg"] else "is missing", advice)
    for provider, has_key in facts.get("providers", {}).items():
        advice = "" if has_key else f"To use it, set {provider.upper()}_API_KEY where this worker runs."
        yield Check(
            f"key of {provider}", True if has_key else None, "present" if has_key else "not set", advice
        )
    for gpu in facts.get("gpus", ()):
        used, total = gpu["used_bytes"] / 1e9, gpu["total_bytes"] / 1e9
        yield Check(
            f"GPU {gpu['index']} of {worker}", None, f"{gpu['name']}, {used:.1f} of {total:.1f} GB in use"
        )


def _queues(callboard: Callboard, needed: set[str], release: str) -> Iterator[Check]:
    from callboard_client import CallboardError

    try:
        queues, online = callboard.queues(), callboard.workers()
    except CallboardError as error:
        yield Check("queues", False, str(error), "Ask with a key that may read them.")
        return
    notes = {worker.queue: worker.note for worker in online if worker.note}
    workers = {one.id: one for one in online}.values()
    yield from _other_releases(release, workers)
    for worker in workers:
        yield from _surroundings(worker.id, worker.facts)
    for queue in queues:
        name = f"queue {queue.name}"
        if queue.paused:
            yield Check(name, False, "is paused", f"Let it go on: callboard resume {queue.name}")
        elif queue.workers:
            slots = f", {queue.slots} slots" if queue.slots else ""
            note = f" ({notes[queue.name]})" if queue.name in notes else ""
            found = f"{queue.workers} online{slots}, {queue.ready} ready, {queue.running} running{note}"
            yield Check(name, True, found)
        elif queue.name in needed:
            advice = "Start a worker for it: `make run` starts all; with compose, docker compose up -d."
            yield Check(name, False, f"no worker is online, {queue.ready} jobs wait", advice)
