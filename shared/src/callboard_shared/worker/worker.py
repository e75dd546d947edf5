"""A worker: which queues it serves, which handlers it has, and its Celery application.

    worker = Worker("nlp", queues=("nlp",))

    @worker.handles(EMBED)
    def embed(jobs: Sequence[Job[EmbedInput]]) -> Sequence[EmbedOutput | JobError]: ...

Celery runs the processes, routes the bells and shuts down; the runners here do the work of a bell.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import structlog
from celery import Celery, signals

from callboard_shared import tracing
from callboard_shared.bell import TASK, AsyncBell, Bell, celery_app
from callboard_shared.errors import LedgerNewer
from callboard_shared.files import Files, configured_store
from callboard_shared.jobs.base import JobType
from callboard_shared.ledger import Ledger, schema
from callboard_shared.settings import FileSettings, WorkerSettings
from callboard_shared.telemetry import configure_logging
from callboard_shared.worker import surroundings
from callboard_shared.worker.batches import BatchRunner
from callboard_shared.worker.concurrent import ConcurrentRunner
from callboard_shared.worker.handlers import Handlers
from callboard_shared.worker.listening import BellConsumer
from callboard_shared.worker.presence import Presence
from callboard_shared.worker.respawn import QuickRespawn
from callboard_shared.worker.surroundings import Surroundings

log = structlog.get_logger(__name__)

_STOPPING, _READY = 0, 1
"""Bytes of the memory that a worker's processes share."""


class Worker:
    """``pool``: ``prefork`` for handlers that compute (``slots`` processes, one batch each), ``threads`` for
    coroutines that wait (``slots`` jobs at once on one event loop per queue)."""

    def __init__(
        self,
        name: str,
        queues: Sequence[str],
        *,
        pool: Literal["prefork", "threads"] = "prefork",
        slots: int = 1,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.name, self.queues, self.pool, self.slots = name, tuple(queues), pool, slots
        self.settings = settings or WorkerSettings()
        self.handlers = Handlers()
        self.models: list[str] = []
        self.looks: dict[str, Callable[[], Any]] = {}
        """What this worker tells of itself besides what all do: fact -> what finds it."""
        self.id = f"{name}@{socket.gethostname()}-{os.getpid()}"
        self._start_hooks: list[Callable[[], None]] = []
        self._shared = mmap.mmap(-1, 2)  # anonymous, so children share it across the fork
        self._runners: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._presence: Presence | None = None
        self._leaving = False  # of a child
        self.celery = self._celery()

    # --- declaring ---

    def handles(self, job_type: JobType[Any, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare the handler of a job type. Sync handlers of types with a batch declaration take a sequence
        of jobs and give one output or exception each; others take one job; coroutines (pool ``threads``) too."""
        if job_type.queue not in self.queues:
            raise TypeError(
                f"{job_type.name} belongs to queue {job_type.queue}, which worker {self.name} does not serve"
            )

        def declare(handler: Callable[..., Any]) -> Callable[..., Any]:
            self.handlers.add(job_type, handler)
            return handler

        return declare

    def on_start(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Run once in each process that handles jobs, after the fork: the place to load models."""
        self._start_hooks.append(hook)
        return hook

    # --- running ---

    def main(self) -> NoReturn:
        """Become the worker: this process turns into Celery's, recognisable by its command line."""
        command = self.command()
        os.execv(command[0], command)

    def command(self) -> list[str]:
        concurrency = self.slots if self.pool == "prefork" else len(self.queues)
        return [
            sys.executable, "-m", "celery", "-A", f"{self._package()}.main:app", "worker",
            "-Q", ",".join(self.queues), "-P", self.pool, "-c", str(concurrency), "-n", self.id,
            "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO",
        ]  # fmt: skip

    def _package(self) -> str:
        return f"callboard_{self.name}"

    @property
    def stopping(self) -> bool:
        return self._leaving or self._shared[_STOPPING] == 1

    def _celery(self) -> Celery:
        app = celery_app(f"callboard_{self.name}")
        app.conf.worker_proc_alive_timeout = 900  # children load models before they say that they are up
        app.conf.worker_soft_shutdown_timeout = 0
        app.conf.worker_consumer = f"{BellConsumer.__module__}:{BellConsumer.__name__}"
        if self.pool == "prefork":
            app.steps["worker"].add(QuickRespawn)
        app.task(name=TASK, ignore_result=True)(self.answer)
        signals.setup_logging.connect(self._set_up_logging, weak=False)
        signals.celeryd_after_setup.connect(self._open_ledger, weak=False)
        signals.worker_ready.connect(self._ready, weak=False)
        signals.worker_process_init.connect(self._child_started, weak=False)
        signals.worker_process_shutdown.connect(self._child_ends, weak=False)
        signals.worker_shutting_down.connect(self._shutting_down, weak=False)
        signals.worker_shutdown.connect(self._shut_down, weak=False)
        return app

    def _set_up_logging(self, **_: Any) -> None:
        configure_logging(self.name)

    def _open_ledger(self, **_: Any) -> None:
        """Before the first connection and fork: the ledger is there, and of a version that this code knows."""
        ledger = Ledger()
        try:
            schema.ensure_patiently(ledger)
        except LedgerNewer as error:
            log.critical("worker.refused", reason=error.detail)
            raise SystemExit(1) from None
        finally:
            ledger.close()

    def _ready(self, **_: Any) -> None:
        self.id = f"{self.name}@{socket.gethostname()}-{os.getpid()}"
        if self.pool == "threads":
            tracing.start(self.name)
            self._run_start_hooks()
        around = self._surroundings()
        around.start()
        self._presence = Presence(
            self.id, self.queues, self.slots, models=lambda: self.models, note=self._note, facts=around.told,
            health=self.settings.health_file,
        )  # fmt: skip
        self._presence.start()
        log.info("worker.online", worker=self.id, queues=self.queues, note=self._note())

    def _surroundings(self) -> Surroundings:
        looks: dict[str, Callable[[], Any]] = {
            "disk_free_bytes": lambda: surroundings.disk_free(FileSettings().files_path),
            "gpus": surroundings.gpus,
            "broker": lambda: surroundings.broker(self.celery),
            "bells": lambda: surroundings.bells(self.id),
        }
        return Surroundings(looks | self.looks)

    def _note(self) -> str:
        if not len(self.handlers):
            return "no handlers yet: this worker's job types come with a later release"
        return "" if self._shared[_READY] else "loading models"

    def _child_started(self, **_: Any) -> None:
        tracing.start(self.name)
        self._run_start_hooks()

    def _child_ends(self, **_: Any) -> None:
        tracing.stop()

    def _run_start_hooks(self) -> None:
        for hook in self._start_hooks:
            try:
                hook()
            except Exception:
                # A child that dies here would be started again without end; its jobs say what is wrong instead.
                log.exception("worker.start_hook_failed", worker=self.id, hook=hook.__name__)
        self._shared[_READY] = 1

    def _shutting_down(self, **_: Any) -> None:
        self._shared[_STOPPING] = 1

    def _shut_down(self, **_: Any) -> None:
        if self._presence:
            self._presence.stop()
        tracing.stop()

    # --- answering ---

    def answer(self, queue: str) -> None:
        """The Celery task: there is work on ``queue``."""
        if queue in self.queues and not self.stopping:
            if self.pool == "prefork":
                self._answer_in_batches(queue)
            else:
                self._answer_concurrently(queue)

    def _answer_in_batches(self, queue: str) -> None:
        # SIGTERM often goes to a whole process group: a child that works then ends as gracefully as its parent.
        # (The pool's own handler raises SystemExit wherever the handler of the job happens to be.)
        before = signal.signal(signal.SIGTERM, self._told_to_leave)
        try:
            self._batch_runner().answer(queue)
        finally:
            signal.signal(signal.SIGTERM, before)
        if self._leaving:
            raise SystemExit(0)

    def _told_to_leave(self, *_: Any) -> None:
        self._leaving = True

    def _runner_name(self) -> str:
        return f"{self.id}#{os.getpid()}"

    def _batch_runner(self) -> BatchRunner:
        if "batches" not in self._runners:
            # A fork has its own connections: nothing of the parent's is used here.
            self._runners["batches"] = BatchRunner(
                self._runner_name(), self.queues, self.handlers, Ledger(), Bell(self.celery), Files(configured_store()),
                self.settings, lambda: self.stopping,
            )  # fmt: skip
        runner: BatchRunner = self._runners["batches"]
        return runner

    def _answer_concurrently(self, queue: str) -> None:
        with self._lock:
            if queue not in self._runners:
                runner = ConcurrentRunner(
                    self._runner_name(), queue, self.slots, self.handlers, Ledger(), AsyncBell(Bell(self.celery)),
                    Files(configured_store()), self.settings, lambda: self.stopping,
                )  # fmt: skip
                self._runners[queue] = (runner, threading.Lock(), threading.Event())
            runner, answering, rung = self._runners[queue]
        # One answers; whoever is at it answers this bell too, also if he was just about to leave.
        rung.set()
        while rung.is_set() and answering.acquire(blocking=False):
            try:
                rung.clear()
                runner.answer()
            finally:
                answering.release()
