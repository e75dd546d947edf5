"""The LLM and speech worker. It serves its queues from now on; its job types come with their own release."""

from __future__ import annotations

from callboard_shared.worker import Worker

worker = Worker("llm", queues=("llm", "tts"), pool="threads", slots=64)
app = worker.celery
