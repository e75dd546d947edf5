"""How many tokens OpenAI's chat models read and write in one conversation, as of August 2025
(https://platform.openai.com/docs/models). ``CALLBOARD_OPENAI_WINDOW`` says it for all others."""

from __future__ import annotations

AS_OF = "2025-08"
UNKNOWN = 16_384
"""Of a model that is not listed: servers that imitate OpenAI seldom have less."""

_LIST = {
    "gpt-5": 400_000,
    "gpt-4.1": 1_047_576,
    "gpt-4o": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4": 8_192,
    "gpt-3.5-turbo": 16_385,
    "chatgpt-4o": 128_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
}


def window_of(model: str) -> int:
    """By the longest name that ``model`` begins with: ``gpt-4o-mini-2024-07-18`` is a ``gpt-4o``."""
    names = [name for name in _LIST if model == name or model.startswith(f"{name}-")]
    return _LIST[max(names, key=len)] if names else UNKNOWN
