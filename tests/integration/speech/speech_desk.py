"""Speech as jobs of the real LLM worker, with its providers' addresses pointing to a double."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from speech_server import ELEVENLABS_KEY, OPENAI_KEY, SpeechDouble
from trials import Running, Trial, until

from callboard_shared.ids import new_id
from callboard_shared.ledger import JobRecord, NewJob, keys, verbs
from callboard_shared.ledger.voicing import list_voices

QUEUE = "tts"


class Desk:
    """Submits jobs to the queue and tells what becomes of them."""

    def __init__(self, trial: Trial, double: SpeechDouble) -> None:
        self.trial, self.double = trial, double
        self.folder, self.ledger = trial.folder, trial.ledger

    def worker(self, **env: str) -> Running:
        """Start a worker and wait until it is online. A variable that is empty is one that is not set."""
        own = {
            "CALLBOARD_LOG_LEVEL": "DEBUG", "TMPDIR": str(self.folder),
            "ELEVENLABS_API_KEY": ELEVENLABS_KEY, "ELEVENLABS_BASE_URL": self.double.url,
            "OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": f"{self.double.url}/openai/v1", **env,
        }  # fmt: skip
        running = self.trial.start("callboard_llm", own)
        until(lambda: self.trial.online(running, QUEUE), 60, "the worker is online")
        return running

    def logs(self) -> str:
        return "".join(running.output() for running in self.trial.workers)

    def submit(
        self, text: str, *, attempts: int = 3, owner: str = "key_a", timeout_ms: int = 600_000, **value: Any
    ) -> str:
        spec = orjson.dumps({"input": {"text": text, **value}, "metadata": {}})
        job = NewJob(
            new_id("job"), "tts.speech", QUEUE, owner, spec, max_attempts=attempts, timeout_ms=timeout_ms
        )
        return self.trial.submit(job)[0]

    def record(self, job: str) -> JobRecord:
        return self.trial.read(job, QUEUE)

    def ended(self, job: str, within_s: float = 60) -> JobRecord:
        return self.trial.ended([job], within_s, QUEUE)[0]

    def output(self, job: str) -> dict[str, Any]:
        record = self.ended(job)
        assert record.status == "succeeded", record.error
        return orjson.loads(record.output or b"")  # type: ignore[no-any-return]

    def speak(self, text: str, **value: Any) -> dict[str, Any]:
        return self.output(self.submit(text, **value))

    def error(self, job: str) -> dict[str, Any]:
        record = self.ended(job)
        assert record.status == "failed", record
        return orjson.loads(record.error or b"")  # type: ignore[no-any-return]

    def content(self, output: dict[str, Any]) -> bytes:
        return self.trial.files.get_bytes(output["file"]["file_id"])

    def events(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        return self.trial.events(job, QUEUE)

    def voices(self) -> list[Any]:
        return self.ledger.run(list_voices())

    def kept(self) -> int:
        """How many pieces of speech are on record."""
        return len(self.trial.redis.keys(f"{keys.CHECKPOINTS}speech:*"))

    def stored(self) -> list[Path]:
        return [path for path in (self.folder / "files").rglob("*") if path.is_file()]

    def cancel(self, job: str) -> None:
        self.ledger.run(verbs.cancel(job, QUEUE))

    def end_workers(self) -> None:
        for running in self.trial.workers:
            running.kill()
