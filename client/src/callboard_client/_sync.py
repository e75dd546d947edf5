"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx

from callboard_client import _calls as calls
from callboard_client import _events, _flows, _uploads
from callboard_client._batches import Batches
from callboard_client._calls import NewJob, When
from callboard_client._conversations import Conversations
from callboard_client._downloads import Landing
from callboard_client._drivers import SyncWire
from callboard_client._models import (
    Event,
    File,
    Job,
    JobType,
    Key,
    Model,
    Page,
    Problem,
    Queue,
    Readiness,
    Usage,
    Worker,
)
from callboard_client._paging import Pages
from callboard_client._pipelines import Pipelines
from callboard_client._retries import Retries
from callboard_client._settings import connection
from callboard_client._webhooks import Webhooks
from callboard_client._wire import Call


class Callboard:
    """A gateway, spoken to with blocking calls; safe to share between threads.

    url, key: by default from ``CALLBOARD_URL`` and ``CALLBOARD_API_KEY``, else the embedded stack's own.
    timeout_s: seconds for one answer that is not held on purpose.
    retries: for 429, 503 and broken connections.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = 30,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._wire = SyncWire(connection(url, key), timeout_s, retries or Retries(), transport)
        self.jobs = Jobs(self._wire)
        self.files = Files(self._wire)
        self.models = Models(self._wire)
        self.conversations = Conversations(self._wire)
        self.pipelines = Pipelines(self._wire)
        self.webhooks = Webhooks(self._wire)
        self.batches = Batches(self._wire, self.files)
        self.keys = Keys(self._wire)

    @property
    def url(self) -> str:
        return self._wire.connection.url

    @property
    def key_source(self) -> str:
        """Where the key came from: the argument, ``CALLBOARD_API_KEY``, the path of a file, or nowhere."""
        return self._wire.connection.key_source

    def close(self) -> None:
        self._wire.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def submit(
        self,
        type: str,
        input: Mapping[str, Any],
        *,
        priority: int | None = None,
        run_at: When | None = None,
        expires_in_s: float | None = None,
        timeout_s: float | None = None,
        max_attempts: int | None = None,
        after: Sequence[Job | str] | None = None,
        webhook: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        retention_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Hand in a job and come back at once; see `NewJob` for the options. Retrying is safe: the same
        ``Idempotency-Key`` (made up if not given) goes with every try."""
        job = NewJob(
            type=type, input=input, priority=priority, run_at=run_at, expires_in_s=expires_in_s,
            timeout_s=timeout_s, max_attempts=max_attempts, after=after, webhook=webhook, metadata=metadata,
            retention_s=retention_s,
        )  # fmt: skip
        return self._wire.send(calls.submit(job, idempotency_key=idempotency_key))

    def run(
        self,
        type: str,
        input: Mapping[str, Any],
        *,
        wait_s: float | None = None,
        priority: int | None = None,
        timeout_s: float | None = None,
        max_attempts: int | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Submit a job, wait until it has ended and return its output, also when that is a large one.

        ``JobFailed`` if it ended in any other way; ``WaitTimeout`` after ``wait_s`` seconds (by default it
        waits as long as it takes). ``timeout_s`` limits one attempt of the job itself.
        """
        job = NewJob(
            type=type, input=input, priority=priority, timeout_s=timeout_s, max_attempts=max_attempts,
            metadata=metadata,
        )  # fmt: skip
        return self._wire.drive(
            _flows.run(calls.submission(job, idempotency_key), wait_s, self._wire.retries)
        )

    def submit_batch(self, jobs: Iterable[NewJob | Mapping[str, Any]]) -> list[Job | Problem]:
        """Hand in many jobs; the answer has a job or a problem for each, in order.

        More than the gateway takes at once are sent in several requests. An answer that got lost is not asked
        for again, since that could double jobs.
        """
        answers: list[Job | Problem] = []
        for call in calls.submit_batches(jobs):
            answered: list[Job | Problem] = self._wire.send(call)
            answers += answered
        return answers

    def events(
        self,
        *,
        kind: str | None = None,
        type: str | None = None,
        queue: str | None = None,
        status: str | None = None,
        after: str | None = None,
    ) -> Iterator[Event]:
        """What happens to all jobs of this key, from now on (or behind the event with id ``after``), without end.

        ``status``, ``progress`` and ``done`` name their job in ``data["id"]``; ``reset`` says that some were missed,
        after more than five minutes away. The filters take one value or several, separated by commas. A broken
        stream is taken up again where it broke.
        """
        return self._wire.follow(_events.of_all(kind, type, queue, status, after, self._wire.retries))

    def job_types(self) -> list[JobType]:
        return self._wire.send(calls.job_types())

    def job_type(self, name: str) -> JobType:
        return self._wire.send(calls.job_type(name))

    def queues(self) -> list[Queue]:
        return self._wire.send(calls.queues())

    def pause_queue(self, name: str) -> None:
        """Nothing of this queue starts until it is resumed; what runs goes on. Needs an admin key."""
        self._wire.send(calls.pause_queue(name))

    def resume_queue(self, name: str) -> None:
        self._wire.send(calls.resume_queue(name))

    def workers(self) -> list[Worker]:
        return self._wire.send(calls.workers())

    def usage(self, by: str = "day") -> list[Usage]:
        """Jobs, tokens, characters and seconds of this key, ``by`` day or type."""
        return self._wire.send(calls.usage(by))

    def ready(self) -> Readiness:
        return self._wire.send(calls.ready())


class Jobs:
    """``callboard.jobs``"""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def get(self, job: Job | str) -> Job:
        return self._wire.send(calls.get_job(job))

    def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        queue: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: When | None = None,
        created_before: When | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs of this key, newest first, page after page as they are asked for; at most ``limit``."""

        def ask(page: int, cursor: str | None) -> Call[Page[Job]]:
            return calls.list_jobs(
                status=status, type=type, queue=queue, metadata=metadata, created_after=created_after,
                created_before=created_before, limit=page, cursor=cursor,
            )  # fmt: skip

        return self._wire.walk(Pages(ask, limit))

    def wait(self, job: Job | str, wait_s: float | None = None) -> Job:
        """The job once it has ended, however it ended; ``WaitTimeout`` after ``wait_s`` seconds."""
        return self._wire.drive(_flows.wait(job, wait_s, self._wire.retries))

    def output(self, job: Job) -> Any:
        """The output of an ended job, also when it is kept as a file; ``JobFailed`` if it has none."""
        return self._wire.drive(_flows.output(job, self._wire.retries))

    def cancel(self, job: Job | str) -> Job:
        """``Conflict`` if it has already ended."""
        return self._wire.send(calls.cancel_job(job))

    def retry(self, job: Job | str, *, idempotency_key: str | None = None) -> Job:
        """A new job with the same input; its ``retried_from`` names the old one.

        ``Idempotency-Key`` (made up if not given) goes with every try."""
        return self._wire.send(calls.retry_job(job, idempotency_key))

    def delete(self, job: Job | str) -> None:
        """Removes an ended job and its files; ``Conflict`` if it has not ended."""
        self._wire.send(calls.delete_job(job))

    def events(self, job: Job | str, *, after: str | None = None) -> Iterator[Event]:
        """Events from the job's beginning (or behind the event with id ``after``) to ``done``.

        A broken stream is taken up again where it broke.
        """
        return self._wire.follow(_events.of_job(job, after, self._wire.retries))


class Files:
    """``callboard.files``"""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def upload(
        self,
        file: str | PathLike[str] | BinaryIO,
        *,
        name: str | None = None,
        media_type: str | None = None,
        purpose: str | None = None,
    ) -> File:
        """Store a file, by path or opened for reading in binary; read as it is sent, not into memory.

        One of 64 MB or more goes in pieces: a connection that breaks costs no more than a piece.
        """
        if isinstance(file, str | PathLike):
            path = Path(file)
            with path.open("rb") as opened:
                return self._store(opened, name or path.name, media_type, purpose)
        return self._store(file, name or "file", media_type, purpose)

    def _store(self, file: BinaryIO, name: str, media_type: str | None, purpose: str | None) -> File:
        return self._wire.drive(_uploads.upload(file, name, media_type, purpose, self._wire.retries))

    def get(self, file: File | str) -> File:
        return self._wire.send(calls.get_file(file))

    def read(self, file: File | str) -> bytes:
        """The whole content, in memory."""
        return self._wire.send(calls.read_content(file))

    def download(self, file: File | str, to: str | PathLike[str]) -> Path:
        """The content into the file ``to``, which appears there only when it is whole.

        Goes on where a broken connection left it.
        """
        with Landing(file, Path(to), self._wire.retries) as landing:
            while not landing.done:
                try:
                    with self._wire.stream(landing.request()) as response:
                        if not response.is_success:
                            response.read()
                        if landing.begin(response):
                            for chunk in response.iter_bytes():
                                landing.write(chunk)
                            landing.finish()
                except httpx.TransportError as error:
                    landing.broke(error)
                if landing.pause_s:
                    time.sleep(landing.pause_s)
            return landing.path

    def list(self, *, limit: int | None = None) -> Iterator[File]:
        """Files of this key, newest first, page after page."""
        return self._wire.walk(Pages(calls.list_files, limit))

    def delete(self, file: File | str) -> None:
        self._wire.send(calls.delete_file(file))


class Models:
    """``callboard.models``"""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def list(self) -> Iterator[Model]:
        """What jobs may name: the installation's models, and those that this key's jobs have trained."""
        return self._wire.walk(Pages(calls.list_models, None))

    def get(self, model: Model | str) -> Model:
        """By its name or an alias; of what was trained here, a name without a version is the newest."""
        return self._wire.send(calls.get_model(model))

    def delete(self, model: Model | str) -> None:
        """Removes a trained model (`name@version`) and its files; ``Conflict`` if it was not trained here."""
        self._wire.send(calls.delete_model(model))


class Keys:
    """``callboard.keys``: needs a key with scope ``admin``."""

    def __init__(self, wire: SyncWire) -> None:
        self._wire = wire

    def create(
        self,
        name: str,
        scopes: Sequence[str] = ("jobs:write", "jobs:read"),
        *,
        expires_at: When | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> Key:
        """A new key; its secret is in ``key`` of this answer and shown never again. ``limits``: ``requests_per_s``,
        ``burst``, ``running``, ``waiting``, ``storage_bytes``, ``daily``."""
        return self._wire.send(calls.create_key(name, scopes, expires_at, limits))

    def change(self, key: Key | str, **changes: Any) -> Key:
        """Changes ``name``, ``scopes``, ``expires_at`` or ``limits`` (as a whole); what is not named stays."""
        return self._wire.send(calls.change_key(key, changes))

    def rotate(self, key: Key | str, *, grace_s: int = 86_400) -> Key:
        """Another secret for the key, in ``key`` of this answer; the old one is taken for ``grace_s`` more."""
        return self._wire.send(calls.rotate_key(key, grace_s))

    def list(self) -> Iterator[Key]:
        return self._wire.walk(Pages(calls.list_keys, None))

    def delete(self, key: Key | str) -> None:
        self._wire.send(calls.delete_key(key))
