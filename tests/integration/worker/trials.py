"""A trial: a ledger, a worker made on disk and run by Celery as in production, and a way to await what happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
import redis
from pydantic import SecretStr

from callboard_courier.sweep import Sweep
from callboard_shared import redis_address
from callboard_shared.bell import Bell, celery_app
from callboard_shared.files import Files, FileSettings, configured_store
from callboard_shared.ids import new_id
from callboard_shared.ledger import JobRecord, Ledger, NewJob, QueueStats, Submitted, verbs
from callboard_shared.settings import BrokerSettings, LedgerSettings

T = TypeVar("T")
QUEUE = "nlp"
LEASE_S = 2.0
QUICK = {
    "CALLBOARD_LEASE_S": str(LEASE_S),
    "CALLBOARD_HEARTBEAT_S": "0.5",
    "CALLBOARD_CANCEL_GRACE_S": "1",
    "CALLBOARD_SHUTDOWN_GRACE_S": "4",
}


def until(condition: Callable[[], T], within_s: float, what: str, every_s: float = 0.01) -> T:
    """The first true value of ``condition``; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(every_s)


class Running:
    """A worker's process tree, in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal_main(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def signal_tree(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL for every process of the tree."""
        if self.process.poll() is None:
            self.signal_tree(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, within_s: float) -> int:
        """SIGTERM, as a supervisor or container runtime sends it; gives the exit status."""
        self.signal_main(signal.SIGTERM)
        return self.process.wait(within_s)

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")


class Trial:
    def __init__(self, url: str, folder: Path, broker: str | None = None) -> None:
        self.url, self.folder = url, folder
        self.redis = redis.Redis(connection_pool=redis_address.pool(url))
        self.ledger = Ledger(LedgerSettings(redis_url=SecretStr(url)))
        # CALLBOARD_BROKER_URL: the same trials with another broker, such as RabbitMQ
        self.broker = broker or os.environ.get("CALLBOARD_BROKER_URL") or url
        self.bell = Bell(celery_app("trial-bell", BrokerSettings(broker_url=SecretStr(self.broker))))
        self.files = Files(configured_store(FileSettings(files_dir=folder / "files")))
        self._sweep = Sweep(self.ledger, self.bell, self.files)
        self.workers: list[Running] = []
        package = folder / "callboard_trial"
        package.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("trial_worker.py"), package / "main.py")
        (package / "__main__.py").write_text("from callboard_trial.main import worker\n\nworker.main()\n")

    # --- processes ---

    def sweep(self) -> None:
        self._sweep.start()

    def worker(self, pool: str = "prefork", slots: int = 1, *, ready: bool = True, **env: Any) -> Running:
        """Start the trial's worker and wait until it is online and has loaded."""
        loaded = self.redis.llen("trial:loaded")
        extra = {
            "TRIAL_POOL": pool,
            "TRIAL_SLOTS": str(slots),
            **{key: str(value) for key, value in env.items()},
        }
        running = self.start("callboard_trial", extra)
        if ready:
            expected = loaded + (slots if pool == "prefork" else 1)
            until(lambda: self.redis.llen("trial:loaded") >= expected, 30, "the worker has loaded")
            until(lambda: self.online(running), 30, f"the worker is online\n{running.output()[-2000:]}")
        return running

    def start(self, package: str, env: dict[str, str]) -> Running:
        log = self.folder / f"{package}-{len(self.workers)}.log"
        environment = {
            **os.environ, **QUICK, **env, "CALLBOARD_REDIS_URL": self.url, "CALLBOARD_BROKER_URL": self.broker,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH")))),
            "CALLBOARD_HOME": str(self.folder), "CALLBOARD_FILES_DIR": str(self.folder / "files"),
            "CALLBOARD_LOG_FORMAT": "text",
        }  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", package], cwd=self.folder, env=environment, start_new_session=True,
                stdout=output, stderr=output,
            )  # fmt: skip
        running = Running(process, log)
        self.workers.append(running)
        return running

    def online(self, running: Running, queue: str = QUEUE) -> bool:
        return any(worker.pid == running.pid for worker in self.ledger.run(verbs.workers(queue)))

    def close(self) -> None:
        self._sweep.stop()
        for running in self.workers:
            running.kill()
        self.ledger.close()
        self.redis.close()

    # --- jobs ---

    def job(
        self, do: str, value: Any = None, s: float = 0, *, type: str = "trial.one", **fields: Any
    ) -> NewJob:
        spec = orjson.dumps({"input": {"do": do, "value": value, "s": s}, "metadata": {}})
        return NewJob(
            new_id("job"), type, fields.pop("queue", QUEUE), fields.pop("owner", "key_a"), spec, **fields
        )

    def submit(self, *jobs: NewJob, ring: bool = True) -> list[str]:
        """Submit jobs of one queue as the gateway does; ``ring=False`` loses the bell on its way."""
        queue = jobs[0].queue
        reply = self.ledger.run(verbs.submit(queue, jobs))
        assert all(isinstance(result, Submitted) for result in reply.results)
        if reply.ring and ring:
            self.bell.ring(queue)
        return [job.id for job in jobs]

    def read(self, job_id: str, queue: str = QUEUE) -> JobRecord:
        return self.read_all([job_id], queue)[0]

    def read_all(self, ids: list[str], queue: str = QUEUE) -> list[JobRecord]:
        return [record for record in self.ledger.run(verbs.read(queue, ids)) if record is not None]

    def ended(self, ids: list[str], within_s: float, queue: str = QUEUE) -> list[JobRecord]:
        """The records once all have ended."""
        seen: list[JobRecord] = []

        def all_ended() -> bool:
            seen[:] = self.read_all(ids, queue)
            return all(record.status.is_terminal for record in seen)

        try:
            until(all_ended, within_s, "all jobs have ended")
        except AssertionError as error:
            open_jobs = [record for record in seen if not record.status.is_terminal]
            logs = "\n".join(running.output()[-3000:] for running in self.workers[-2:])
            raise AssertionError(f"{error}; open: {open_jobs[:3]} ({len(open_jobs)})\n{logs}") from None
        return seen

    def result(self, job_id: str, within_s: float = 10) -> JobRecord:
        return self.ended([job_id], within_s)[0]

    def running(self, job_id: str, within_s: float = 10, attempt: int = 1) -> list[str]:
        """Await the handler's start of this attempt; gives [job, attempt, pid]."""
        return until(lambda: self.start_of(job_id, attempt), within_s, f"{job_id} runs, attempt {attempt}")

    def start_of(self, job_id: str, attempt: int) -> list[str] | None:
        return next((row for row in self.starts(job_id) if row[1] == str(attempt)), None)

    def starts(self, job_id: str) -> list[list[str]]:
        """Every start of the job's handler: [job, attempt, pid]."""
        rows = [row.decode().split() for row in self.redis.lrange("trial:started", 0, -1)]
        return [row for row in rows if row[0] == job_id]

    def notes(self, name: str) -> list[str]:
        return [row.decode() for row in self.redis.lrange(f"trial:{name}", 0, -1)]

    def events(self, job_id: str, queue: str = QUEUE) -> list[tuple[str, dict[str, Any]]]:
        found = self.ledger.run(verbs.events(job_id, queue, limit=100_000))
        return [(event.kind, orjson.loads(event.data)) for event in found]

    def statuses(self, job_id: str, queue: str = QUEUE) -> list[str]:
        return [data["status"] for kind, data in self.events(job_id, queue) if kind == "status"]

    def stats(self, queue: str = QUEUE) -> QueueStats:
        return self.ledger.run(verbs.queue_stats(queue))

    def everything(self) -> bytes:
        """All that the ledger and the object store hold."""
        read: dict[bytes, Callable[[bytes], Any]] = {
            b"string": self.redis.get, b"hash": self.redis.hgetall, b"stream": self.redis.xrange,
            b"list": lambda name: self.redis.lrange(name, 0, -1), b"set": self.redis.smembers,
            b"zset": lambda name: self.redis.zrange(name, 0, -1),
        }  # fmt: skip
        names = self.redis.scan_iter(count=1000)
        kept = [repr((name, read[self.redis.type(name)](name))).encode() for name in names]
        files = [path for path in (self.folder / "files").rglob("*") if path.is_file()]
        return b"".join([*kept, *(path.read_bytes() for path in files)])

    def nothing_is_held(self, queue: str = QUEUE) -> bool:
        return self.stats(queue).running == 0


@contextmanager
def trial_at(url: str, folder: Path, *, sweep: bool = True, broker: str | None = None) -> Iterator[Trial]:
    with redis.Redis.from_pool(redis_address.pool(url)) as client:
        client.flushdb()
    trial = Trial(url, folder, broker)
    trial.sweep() if sweep else None
    try:
        yield trial
    finally:
        trial.close()


def code_of(record: JobRecord) -> str | None:
    return orjson.loads(record.error)["code"] if record.error else None


def value_of(record: JobRecord) -> Any:
    return orjson.loads(record.output or b"{}").get("value")
