"""``callboard chat``: a conversation at the terminal, kept by the gateway."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callboard_client.cli.session import FAILED, Session, session

if TYPE_CHECKING:
    from callboard_client import Conversation, Event, Job

PROMPT = "you> "
_CONTROL = {number: None for number in (*range(0x20), *range(0x7F, 0xA0)) if chr(number) not in "\n\t"}
"""What a terminal would obey rather than show; a model must not speak to it."""


def register(app: typer.Typer) -> None:
    app.command("chat")(chat)


def chat(
    context: typer.Context,
    conversation: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with this one, conv_…; else a new one begins.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Who answers; else as the gateway is set.")] = None,
    provider: Annotated[str | None, typer.Option(help="auto, openai or local.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before it answers.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0: always the likeliest word.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
) -> None:
    """Talk with a model. It remembers what was said; `exit` (or the end of the input) ends it.

    Ctrl-C stops an answer, which is kept as far as it came. What is piped in is answered line by line.
    """
    here = session(context)
    options = {"provider": provider, "temperature": temperature, "max_tokens": max_tokens}
    talk = _Talk(here, model, system, options)
    if conversation is not None:
        talk.resume(conversation)
    for line in _lines(here):
        talk.say(line)
    talk.part()
    raise typer.Exit(FAILED if talk.failed and not sys.stdin.isatty() else 0)


def _lines(here: Session) -> Iterator[str]:
    """What the user says, until `exit` or the end of the input."""
    for stream in (sys.stdin, sys.stdout):
        with contextlib.suppress(AttributeError):  # a test's own
            stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    asks = sys.stdin.isatty()
    if asks:
        with contextlib.suppress(ImportError):  # where there is none, lines have no history
            import readline  # noqa: F401
        here.err.print("`exit` ends the conversation, Ctrl-C stops an answer.", style="dim", markup=False)
    while True:
        try:
            line = (input(PROMPT) if asks else input()).strip()
        except EOFError:
            if asks:
                typer.echo()
            return
        except KeyboardInterrupt:
            if not asks:
                raise
            typer.echo()  # as a shell does: the line is given up
            continue
        if line.casefold() == "exit":
            return
        if line:
            yield line


class _Talk:
    """One conversation, begun with its first message."""

    def __init__(self, here: Session, model: str | None, system: str | None, options: dict[str, Any]) -> None:
        self._here, self._model, self._system, self._options = here, model, system, options
        self._conversation: Conversation | None = None
        self.failed = False

    def resume(self, conversation_id: str) -> None:
        conversations = self._here.callboard.conversations
        changes = {"model": self._model, "system": self._system}
        given = {name: text for name, text in changes.items() if text is not None}
        if given:
            conversations.update(conversation_id, **given)
        self._conversation = conversations.get(conversation_id)
        title, count = self._conversation.title or "no title", self._conversation.message_count
        self._here.err.print(f"{title} ({count} messages)", style="dim", markup=False)

    def part(self) -> None:
        if self._conversation is not None:
            how = f"callboard chat --conversation {self._conversation.id}"
            self._here.err.print(f"Kept; go on with: {how}", style="dim", markup=False)

    def say(self, line: str) -> None:
        """Sends it and shows the answer; what goes wrong is told, and the conversation goes on."""
        from callboard_client import ApiError, ConnectionFailed

        try:
            self._answer(line)
        except (ApiError, ConnectionFailed) as error:
            self._complain(str(error))

    def _answer(self, line: str) -> None:
        callboard = self._here.callboard
        if self._conversation is None:
            self._conversation = callboard.conversations.create(model=self._model, system=self._system)
        with _stoppable(self._here) as stop:
            key = uuid.uuid4().hex
            job = callboard.conversations.send(self._conversation, line, idempotency_key=key, **self._options)
            stop.knows(job)
            self._show(_Reply(self._here, job).follow())

    def _show(self, job: Job) -> None:
        for note in (job.output or {}).get("warnings") or ():
            self._here.err.print(note, style="yellow", markup=False)
        if job.status == "canceled":
            self._here.err.print("(stopped)", style="dim", markup=False)
        elif not job.has_succeeded:
            self._complain(str(job.error) if job.error else f"The job ended {job.status}.")

    def _complain(self, what: str) -> None:
        self.failed = True
        self._here.err.print(what, style="red", markup=False)


class _Reply:
    """An answer, shown as it is made."""

    def __init__(self, here: Session, job: Job) -> None:
        self._here, self._job = here, job
        self._line_is_open = False
        self._waiting = here.err.status("…")

    def follow(self) -> Job:
        """The job when it has ended."""
        if self._here.err.is_terminal:
            self._waiting.start()
        try:
            for event in self._here.callboard.jobs.events(self._job):
                self._take(event)
                if event.job is not None:
                    return event.job
        finally:
            self._waiting.stop()
            self._close_line()
        return self._here.callboard.jobs.get(self._job)

    def _take(self, event: Event) -> None:
        data = event.data
        if event.kind == "delta":
            self._write(str(data.get("text", "")))
        elif event.kind == "progress" and data.get("message"):
            self._waiting.update(str(data["message"]).replace("[", r"\["))
        elif event.kind == "status" and data.get("status") == "running" and self._line_is_open:
            self._close_line()
            self._here.err.print("(it broke off, and begins anew)", style="dim", markup=False)

    def _write(self, text: str) -> None:
        shown = text.translate(_CONTROL)
        if shown:
            self._waiting.stop()
            sys.stdout.write(shown)
            sys.stdout.flush()
            self._line_is_open = True

    def _close_line(self) -> None:
        if self._line_is_open:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._line_is_open = False


class _Stop:
    """What Ctrl-C does while an answer is made: at first it cancels the job, then it ends the program."""

    def __init__(self, here: Session) -> None:
        self._here = here
        self._job: Job | None = None
        self._asked = False

    def knows(self, job: Job) -> None:
        self._job = job
        if self._asked:
            self._cancel()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self._job is not None:
            self._cancel()

    def _cancel(self) -> None:
        # Not here: this may have interrupted a request in the middle of it.
        threading.Thread(target=self._send, name="cancel", daemon=True).start()

    def _send(self) -> None:
        from callboard_client import CallboardError

        assert self._job is not None
        with contextlib.suppress(CallboardError):  # it has ended by itself, which the stream tells
            self._here.callboard.jobs.cancel(self._job)


@contextmanager
def _stoppable(here: Session) -> Iterator[_Stop]:
    """Within, Ctrl-C stops the answer and not the program."""
    stop = _Stop(here)
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
