"""A server that speaks OpenAI's chat completions as OpenAI does, and says what a test tells it to.

It stands in for OpenAI over a real socket: requests are checked, answers stream as server-sent events with the same
fields, faults have the same bodies. That OpenAI's own library works against it unchanged is what makes it fair
(`tests/unit/llm/test_openai_double.py`).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn

KEY = "sk-proj-" + "d0ub1e" * 7
MODEL = "gpt-4o-2024-08-06"
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True)
class Reply:
    """An answer. ``first_s``: until its first piece, ``pause_s``: between two. ``breaks_after``: pieces after which the
    connection is cut; ``ends_after``: after which the stream just ends; ``fault_after``: after which it holds an error."""

    text: str = "The capital of France is Paris."
    finish_reason: str = "stop"
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    refusal: str | None = None
    first_s: float = 0
    pause_s: float = 0
    breaks_after: int | None = None
    ends_after: int | None = None
    fault_after: tuple[int, str] | None = None
    usage: bool = True
    cached_tokens: int = 0
    raw: bytes | None = None
    """Sent instead of everything else."""


@dataclass(frozen=True)
class Fault:
    status: int
    code: str | None = None
    message: str = "Something is wrong."
    type: str = "invalid_request_error"
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Asked:
    headers: Mapping[str, str]
    body: dict[str, Any]
    at: float
    port: int
    """The caller's, by which a connection is known again."""


def bad_key(key: str) -> Fault:
    shown = key[:8] + "*" * 8 + key[-4:]
    return Fault(
        401, "invalid_api_key", f"Incorrect API key provided: {shown}. You can find your API key at …"
    )


class OpenAIDouble:
    """``plan``: what to say to the next requests, in turn; then ``usual`` for all others. ``asked``: what came."""

    def __init__(self) -> None:
        self.plan: deque[Reply | Fault] = deque()
        self.usual: Callable[[dict[str, Any]], Reply | Fault] = lambda body: Reply()
        self.asked: list[Asked] = []
        self.open = self.most_open = 0
        self.left_at: list[float] = []
        """When somebody went away in the middle of an answer (time.monotonic)."""
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=0,
            log_level="critical",
            lifespan="off",
            ws="none",
            backlog=4096,
            interface="asgi3",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="openai double", daemon=True)

    def forget(self) -> None:
        """What it was told, and what it was asked."""
        self.plan.clear()
        self.asked.clear()
        self.left_at.clear()
        self.usual = lambda body: Reply()
        self.most_open = self.open

    def start(self) -> OpenAIDouble:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline and self._thread.is_alive(), "the double did not start"
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    # --- the server's side ---

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        text = b""
        while True:
            event = await receive()
            text += event.get("body", b"")
            if not event.get("more_body"):
                break
        what = self._judge(scope, headers, text)
        body = json.loads(text or b"{}") if isinstance(what, Reply) else {}
        if isinstance(what, Fault):
            await _fault(send, what)
        elif not body.get("stream"):
            await _whole(send, what, body)
        else:
            await self._streamed(receive, send, what, body)

    def _judge(self, scope: Any, headers: Mapping[str, str], text: bytes) -> Reply | Fault:
        if (scope["method"], scope["path"]) != ("POST", "/v1/chat/completions"):
            return Fault(404, None, f"Invalid URL ({scope['method']} {scope['path']})")
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if key != KEY:
            return bad_key(key)
        try:
            body = json.loads(text)
        except ValueError:
            return Fault(400, None, "We could not parse the JSON body of your request.")
        self.asked.append(Asked(headers, body, time.monotonic(), scope["client"][1]))
        wrong = _invalid(body)
        return wrong or (self.plan.popleft() if self.plan else self.usual(body))

    async def _streamed(self, receive: Any, send: Any, reply: Reply, body: dict[str, Any]) -> None:
        await _start(send, 200, b"text/event-stream; charset=utf-8")
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        speaking = asyncio.create_task(self._speak(send, reply, body))
        leaving = asyncio.create_task(receive())
        try:
            await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not speaking.done():
                self.left_at.append(time.monotonic())
        finally:
            self.open -= 1
            leaving.cancel()
            if not speaking.done():
                speaking.cancel()
        if speaking.done() and not speaking.cancelled() and speaking.exception():
            raise ConnectionAbortedError("the stream breaks here, as planned")

    async def _speak(self, send: Any, reply: Reply, body: dict[str, Any]) -> None:
        async for data in _events(reply, body):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _invalid(body: dict[str, Any]) -> Fault | None:
    """Some of what OpenAI refuses."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return Fault(400, "empty_array", "Invalid 'messages': empty array.", param="messages")
    for i, message in enumerate(messages):
        if message.get("role") not in ROLES:
            return Fault(400, "invalid_value", "Invalid value.", param=f"messages[{i}].role")
        if message["role"] == "tool" and "tool_call_id" not in message:
            return Fault(400, "missing_required_parameter", "Missing tool_call_id.", param=f"messages[{i}]")
        if message.get("content") is None and not message.get("tool_calls"):
            return Fault(400, "invalid_type", "Invalid content.", param=f"messages[{i}].content")
    wanted = body.get("response_format", {}).get("type")
    if wanted == "json_object" and "json" not in json.dumps(messages).lower():
        return Fault(400, None, "'messages' must contain the word 'json' in some form.", param="messages")
    if not isinstance(body.get("model"), str):
        return Fault(400, None, "you must provide a model parameter")
    return None


def _pieces(reply: Reply) -> list[dict[str, Any]]:
    """The deltas, one by one."""
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    if reply.refusal is not None:
        return pieces + [{"refusal": word} for word in re.findall(r"\s*\S+", reply.refusal)]
    for index, (call_id, name, arguments) in enumerate(reply.tool_calls):
        function = {"name": name, "arguments": ""}
        pieces.append(
            {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        )
        for part in re.findall(r".{1,4}", arguments, re.S):
            pieces.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    if not reply.tool_calls:
        pieces += [{"content": word} for word in re.findall(r"\s*\S+\s*$|\s*\S+", reply.text)]
    return pieces


def _usage(reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
    prompt = 7 + sum(len(str(message.get("content")).split()) for message in body["messages"])
    completion = len(_pieces(reply)) - 1
    return {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                      "rejected_prediction_tokens": 0},
    }  # fmt: skip


def _chunk(body: dict[str, Any], choices: list[dict[str, Any]], **more: Any) -> bytes:
    with_usage = (body.get("stream_options") or {}).get("include_usage")
    chunk = {
        "id": "chatcmpl-double", "object": "chat.completion.chunk", "created": int(time.time()),
        "model": MODEL if body["model"] == "gpt-4o" else body["model"], "service_tier": "default",
        "system_fingerprint": "fp_double", "choices": choices, **({"usage": None} if with_usage else {}), **more,
    }  # fmt: skip
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


async def _events(reply: Reply, body: dict[str, Any]) -> AsyncIterator[bytes]:
    if reply.raw is not None:
        yield reply.raw
        return
    for n, delta in enumerate(_pieces(reply)):
        if n == reply.breaks_after:
            raise ConnectionAbortedError
        if n == reply.ends_after:
            return
        if reply.fault_after and n == reply.fault_after[0]:
            error = {
                "message": "The server had an error.",
                "type": reply.fault_after[1],
                "param": None,
                "code": None,
            }
            yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
            return
        await asyncio.sleep(reply.first_s if n == 0 else reply.pause_s)
        yield _chunk(body, _choice(delta))
    yield _chunk(body, _choice({}, "tool_calls" if reply.tool_calls else reply.finish_reason))
    if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
        yield _chunk(body, [], usage=_usage(reply, body))
    yield b"data: [DONE]\n\n"


async def _start(
    send: Any, status: int, content_type: bytes, headers: Mapping[str, str] | None = None
) -> None:
    more = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    given = [(b"content-type", content_type), (b"x-request-id", b"req_double"), *more]
    await send({"type": "http.response.start", "status": status, "headers": given})


async def _fault(send: Any, fault: Fault) -> None:
    error = {"message": fault.message, "type": fault.type, "param": fault.param, "code": fault.code}
    await _start(send, fault.status, b"application/json", fault.headers)
    body = json.dumps({"error": error}).encode() if fault.body is None else fault.body
    await send({"type": "http.response.body", "body": body})


async def _whole(send: Any, reply: Reply, body: dict[str, Any]) -> None:
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in reply.tool_calls
    ]
    message = {"role": "assistant", "content": None if calls else reply.text, "refusal": reply.refusal,
               "annotations": [], **({"tool_calls": calls} if calls else {})}  # fmt: skip
    choice = {"index": 0, "message": message, "logprobs": None,
              "finish_reason": "tool_calls" if calls else reply.finish_reason}  # fmt: skip
    answer = {"id": "chatcmpl-double", "object": "chat.completion", "created": int(time.time()), "model": MODEL,
              "choices": [choice], "usage": _usage(reply, body)}  # fmt: skip
    await _start(send, 200, b"application/json")
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
