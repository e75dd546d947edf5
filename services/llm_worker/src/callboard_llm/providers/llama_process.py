"""The process that serves the local model, as the worker sees it: started when the first chat wants it, and again if it
has died; one for all chats."""

from __future__ import annotations

import asyncio
import secrets
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from callboard_llm.providers.llama_server import Order
from callboard_shared.errors import RetryableError

log = structlog.get_logger(__name__)

_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Address:
    url: str
    key: str


class LlamaProcess:
    """``window``: tokens of one chat; ``at_once``: chats beside each other."""

    def __init__(self, model: Path, name: str, *, window: int, at_once: int, threads: int) -> None:
        self.model, self._name = model, name
        self._window, self._at_once, self._threads = window, at_once, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._address = Address("", "")
        self._starting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def address(self) -> Address:
        """Where it is, once it answers. Raises RetryableError ``provider-unavailable``."""
        starting = (
            self._starting is not None and not self._starting.done()
        )  # it may run, and not say where yet
        if not starting and not self.runs:
            self._starting = asyncio.create_task(asyncio.to_thread(self._start), name="start llama.cpp")
            starting = True
        if starting and self._starting is not None:
            await asyncio.shield(self._starting)  # who is canceled here takes it from none of the others
        return self._address

    def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(10)

    def _start(self) -> None:
        began = time.monotonic()
        order = Order(
            str(self.model), self._name, self._window, self._at_once, self._threads,
            secrets.token_urlsafe(24),
        )  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "callboard_llm.providers.llama_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(order.line())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died already, which is told below
        readable, _, _ = select.select([self._process.stdout], [], [], _START_S)
        url = self._process.stdout.readline().decode().strip() if readable else ""
        if not url:
            self._process.kill()
            code = self._process.wait()
            raise RetryableError(
                f"The local model {self.model.name} could not be started (exit code {code}). Its reason stands in the "
                "worker's log; a file that is no GGUF, or too little memory, looks like this.",
                code="provider-unavailable",
            )
        self._address = Address(f"{url}/v1", order.key)
        log.info(
            "model.loaded", model=self._name, pid=self._process.pid, s=round(time.monotonic() - began, 1)
        )
