"""What the demo shows: every job type by its example, and a few jobs told as a person would want to hear them."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from callboard_client import Callboard, Job, NewJob, Problem
from callboard_embedded.settings import EmbeddedSettings

Problems = list[str]

QUERY = "How do I get my money back?"
CANDIDATES = [
    "Refunds arrive on your card within five working days.",
    "Our head office is in Busan, near the harbour.",
    "You can return the shoes for a full refund within a month.",
    "The new album comes out in spring.",
    "Parcels are sent by rail twice a day.",
]
TEXTS = ["A crew takes the next train out.", "The staff board the departing train.", "Soup needs more salt."]
BURST = 200
JOB_S = 120.0  # a job of the demo that takes longer has failed it


def every_type(callboard: Callboard, console: Console, problems: Problems) -> None:
    """One job of each type in `GET /v1/job-types`, by the example that stands there."""
    table = Table(title="One job of every type", title_justify="left", title_style="bold", box=None)
    for name in ("job type", "what came back", "queued", "ran", "round trip"):
        table.add_column(
            name, justify="right" if name in ("queued", "ran", "round trip") else "left", no_wrap=True
        )
    for job_type in callboard.job_types():
        began = time.monotonic()
        job = callboard.jobs.wait(callboard.submit(job_type.name, job_type.example), JOB_S)
        took = time.monotonic() - began
        said = brief(job.output, console.width - 58) if job.has_succeeded else _failure(job, problems)
        usage = job.usage
        table.add_row(job.type, said, _ms(usage.get("queue_ms")), _ms(usage.get("run_ms")), _ms(took * 1000))
    console.print(table)


def search(callboard: Callboard, console: Console, problems: Problems) -> None:
    """A question against answers that share few words with it."""
    job = _run(callboard, "nlp.similarity", {"query": QUERY, "candidates": CANDIDATES}, problems)
    if job is None:
        return
    table = Table(
        title=f"nlp.similarity: which answers “{QUERY}”?", title_justify="left", title_style="bold", box=None
    )
    table.add_column("cosine", justify="right")
    table.add_column("")
    table.add_column("candidate")
    for index in job.output["ranking"]:
        score = job.output["scores"][index]
        table.add_row(f"{score:.3f}", "█" * round(max(0.0, score) * 20), CANDIDATES[index])
    console.print(table)
    console.print(f"  {job.output['model']}, {job.output['tokens']} tokens, {_ms(job.usage.get('run_ms'))}")
    if job.output["ranking"][0] not in (0, 2):
        problems.append("nlp.similarity ranked an unrelated candidate first")


def vectors(callboard: Callboard, console: Console, problems: Problems) -> None:
    """Three sentences as vectors, two of which mean the same."""
    job = _run(callboard, "nlp.embed", {"texts": TEXTS}, problems)
    if job is None:
        return
    first, second, third = job.output["embeddings"]
    near, far = cosine(first, second), cosine(first, third)
    console.print("[bold]nlp.embed: three sentences as vectors[/]")
    for text, vector in zip(TEXTS, job.output["embeddings"], strict=True):
        start = ", ".join(f"{value:+.3f}" for value in vector[:4])
        console.print(f"  \\[{start}, … {len(vector)} numbers]  {text}")
    console.print(f"  cosine of the two that mean the same {near:.3f}, of the unrelated two {far:.3f}")
    if near <= far:
        problems.append("nlp.embed put unrelated sentences closer together than related ones")


def burst(callboard: Callboard, console: Console, problems: Problems) -> None:
    """Many small jobs in one request."""
    jobs = [NewJob(type="system.echo", input={"value": number}) for number in range(BURST)]
    began = time.monotonic()
    answers = callboard.submit_batch(jobs)
    accepted = time.monotonic()
    problems += [str(answer) for answer in answers if isinstance(answer, Problem)]
    ended = [callboard.jobs.wait(answer, JOB_S) for answer in answers if isinstance(answer, Job)]
    finished = max((job.finished_at for job in ended if job.finished_at), default=None)
    created = min((job.created_at for job in ended if job.created_at), default=None)
    right = sum(job.has_succeeded and job.output == {"value": number} for number, job in enumerate(ended))
    console.print(f"[bold]system.echo: {BURST} jobs in one request[/]")
    rate = ""
    if finished and created and finished > created:
        seconds = (finished - created).total_seconds()
        rate = f", all done {seconds * 1000:.0f} ms after the first ({BURST / seconds:,.0f} jobs a second)"
    console.print(
        f"  accepted in {_ms((accepted - began) * 1000)}{rate}; {right} of {BURST} answers are right"
    )
    if right != BURST:
        problems.append(f"{BURST - right} of {BURST} echo jobs did not bring back their value")


def detection(callboard: Callboard, console: Console, problems: Problems) -> None:
    """A photo, what was found in it, and where the copy with the findings drawn in lies."""
    photo = _photo()
    given = (
        {"image": {"file_id": callboard.files.upload(photo).id}}
        if photo is not None
        else next(dict(one.example) for one in callboard.job_types() if one.name == "vision.detect")
    )
    job = _run(callboard, "vision.detect", {**given, "annotate": True}, problems)
    if job is None:
        return
    console.print("[bold]vision.detect: what is in a picture[/]")
    console.print(f"  {job.output['summary']}", markup=False)
    for one in job.output["detections"][:5]:
        box = " ".join(f"{value:6.0f}" for value in one["box"])
        console.print(f"  {one['confidence']:.2f}  {one['label']:<12} {box}", markup=False)
    drawn = callboard.files.download(job.output["annotated"]["file_id"], _kept() / "detection.jpg")
    console.print(
        f"  {job.output['model']}, {_ms(job.usage.get('run_ms'))}; drawn into {drawn}", markup=False
    )
    if not job.output["detections"]:
        problems.append("vision.detect found nothing in its picture")


def _photo() -> Path | None:
    """A street that the vision worker's library brings, if it is installed here; it is found, and not imported."""
    spec = importlib.util.find_spec("ultralytics")
    paths = (
        [Path(one) / "assets" / "bus.jpg" for one in (spec.submodule_search_locations or ())] if spec else []
    )
    return next((path for path in paths if path.is_file()), None)


def _kept() -> Path:
    """What is to outlive the demo's own stack lies where a stack keeps its data."""
    folder = EmbeddedSettings().home_path / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


STORIES = (search, vectors, detection, burst)


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def brief(output: Any, width: int = 60) -> str:
    """An output in one line: long lists by their length, long texts by their beginning."""
    text = json.dumps(_shortened(output), ensure_ascii=False).replace('"⟨', "⟨").replace('⟩"', "⟩")
    text = text[1:-1] if text.startswith("{") else text
    return (text if len(text) <= width else text[: max(width, 20) - 1] + "…").replace("[", "\\[")


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list) and len(value) > 6:
        return f"⟨{len(value)} values⟩"
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 3)
    return value


def _run(callboard: Callboard, name: str, given: dict[str, Any], problems: Problems) -> Job | None:
    job = callboard.jobs.wait(callboard.submit(name, given), JOB_S)
    if job.has_succeeded:
        return job
    _failure(job, problems)
    return None


def _failure(job: Job, problems: Problems) -> str:
    reason = f"{job.type} ended {job.status}: {job.error or 'no reason given'}"
    problems.append(reason)
    return f"[red]{brief(reason)}[/]"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"
