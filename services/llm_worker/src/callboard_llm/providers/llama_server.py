"""The program that serves the local model: llama.cpp's own server, over OpenAI's protocol, on loopback.

``python -m callboard_llm.providers.llama_server``. Its first line of input is an Order as JSON (a key has no place on a
command line); its first line of output is the address. It lives as long as its input is open, so that it never
outlives whoever started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """``window``: tokens of one chat; ``at_once``: chats beside each other; ``key``: what a caller must bring."""

    model: str
    name: str
    window: int
    at_once: int
    threads: int
    key: str

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def serve(order: Order) -> Any:
    """A running server; its ``listening_address`` is where. The engine (100 MB) is loaded in this process alone."""
    import xllamacpp

    wanted = xllamacpp.CommonParams()
    wanted.model.path = order.model
    wanted.model_alias = {order.name}
    wanted.api_keys = [order.key]
    wanted.n_parallel = order.at_once
    wanted.n_ctx = order.window * order.at_once
    wanted.cpuparams.n_threads = order.threads
    wanted.cpuparams_batch.n_threads = order.threads
    wanted.cache_ram_mib = 0  # no copies of old prompts: up to 8 GiB otherwise
    wanted.ui = False
    wanted.endpoint_slots = False
    wanted.verbosity = 1  # errors
    return xllamacpp.Server(wanted)


def main() -> None:
    # Signals go to a whole process group: this one ends when its last chat has, with the worker.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    answers = os.dup(1)
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    server = serve(order)
    os.write(answers, f"{server.listening_address}\n".encode())
    sys.stdin.buffer.read()
    os._exit(0)  # at once, without waiting for a chat whose listener is gone


if __name__ == "__main__":
    main()
