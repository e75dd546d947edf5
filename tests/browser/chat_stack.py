"""A gateway and an LLM worker as in production, over a real ledger, with a double of OpenAI behind them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
from openai_server import KEY, OpenAIDouble
from trials import Running, Trial, until

ADMIN_KEY = "cb_chattest_" + "k" * 43


class ChatStack:
    """``url`` and ``key`` as of every stack of the browser tests; ``double`` says what the model answers."""

    def __init__(self, trial: Trial, double: OpenAIDouble, **worker_env: str) -> None:
        self.trial, self.double, self.key = trial, double, ADMIN_KEY
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.home: Path = trial.folder
        self._gateway = self._start_gateway()
        own = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": double.url, **worker_env}
        worker = trial.start("callboard_llm", own)
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )
        until(self._answers, 30, "the gateway answers")
        until(lambda: trial.online(worker, "llm"), 30, f"the worker is online\n{worker.output()[-2000:]}")

    def _start_gateway(self) -> Running:
        env = {"CALLBOARD_PORT": str(self.port), "CALLBOARD_ADMIN_KEY": ADMIN_KEY}
        return self.trial.start("callboard_gateway", env)

    def replace_gateway(self) -> None:
        """Kill the gateway, and start another in its place."""
        self._gateway.kill()
        self._gateway = self._start_gateway()
        until(self._answers, 30, "the gateway answers again")

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def api(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    def conversation(self, *messages: str, **fields: Any) -> str:
        """A conversation in which these were said and answered."""
        made = self.api("POST", "/v1/conversations", json=fields)
        for message in messages:
            path = f"/v1/conversations/{made['id']}/messages"
            job = self.api("POST", path, json={"content": message}, headers={"Prefer": "wait=30"})
            assert job["status"] == "succeeded", job
        return str(made["id"])

    def messages(self, conversation_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", f"/v1/conversations/{conversation_id}")["messages"]
        return found
