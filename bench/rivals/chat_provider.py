"""The provider that chats are measured with: the tests' double of OpenAI, in a process of its own.

Prints its address and serves until it is ended. A chat with the model ``slow`` gets ``WORDS`` words, one each
``PAUSE_S``; any other its first one after ``FIRST_S``.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "doubles"))

from openai_server import KEY, OpenAIDouble, Reply  # type: ignore[import-not-found, unused-ignore]

WORDS, PAUSE_S, FIRST_S = 40, 0.25, 0.05
SLOW = "slow"
__all__ = ["FIRST_S", "KEY", "PAUSE_S", "SLOW", "WORDS"]


def reply(body: dict[str, Any]) -> Reply:
    if body["model"] == SLOW:
        return Reply(text=" ".join(f"word{n}" for n in range(WORDS)), pause_s=PAUSE_S)
    return Reply(text="Well, hello.", first_s=FIRST_S)


if __name__ == "__main__":
    double = OpenAIDouble()
    double.usual = reply
    print(double.start().url)
    threading.Event().wait()
