"""Chats as jobs: submitted, awaited, listened to."""

from __future__ import annotations

from typing import Any

import orjson
from openai_server import KEY, OpenAIDouble
from trials import Running, Trial, until

from callboard_shared.ids import new_id
from callboard_shared.ledger import JobRecord, NewJob, verbs

QUEUE = "llm"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class Chats:
    def __init__(self, trial: Trial, double: OpenAIDouble) -> None:
        self.trial, self.double = trial, double
        self.worker: Running

    def start_worker(self, **env: str) -> Running:
        own = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": self.double.url, **env}
        self.worker = self.trial.start("callboard_llm", own)
        until(lambda: self.trial.online(self.worker, QUEUE), 30, "the worker is online")
        return self.worker

    def submit(self, *inputs: dict[str, Any], **fields: Any) -> list[str]:
        """Each input with the usual question, unless it has messages of its own."""
        jobs = [self._job({"messages": QUESTION, **value}, **fields) for value in inputs]
        return self.trial.submit(*jobs)

    def _job(self, value: dict[str, Any], **fields: Any) -> NewJob:
        spec = orjson.dumps({"input": value, "metadata": {}})
        return NewJob(new_id("job"), "llm.chat", QUEUE, fields.pop("owner", "key_a"), spec, **fields)

    def ended(self, job_id: str, within_s: float = 15) -> JobRecord:
        return self.trial.ended([job_id], within_s, QUEUE)[0]

    def run(self, **value: Any) -> dict[str, Any]:
        """The output."""
        record = self.ended(self.submit(value)[0])
        assert record.status == "succeeded", record.error
        output: dict[str, Any] = orjson.loads(record.output or b"")
        return output

    def error(self, record: JobRecord) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(record.error or b"{}")
        return found

    def cancel(self, job_id: str) -> None:
        self.trial.ledger.run(verbs.cancel(job_id, QUEUE))

    def events(self, job_id: str) -> list[tuple[str, dict[str, Any]]]:
        return self.trial.events(job_id, QUEUE)

    def said(self, job_id: str) -> str:
        """What the deltas since the last start of the job come to: how a client is to read them."""
        text = ""
        for kind, data in self.events(job_id):
            if kind == "status" and data["status"] == "running":
                text = ""
            elif kind == "delta":
                text += data["text"]
        return text

    def await_delta(self, job_id: str, within_s: float = 10) -> None:
        until(lambda: any(kind == "delta" for kind, _ in self.events(job_id)), within_s, "something was said")
