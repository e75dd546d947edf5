"""What goes wrong at a provider, as errors of the job: which to try again, and what to do.

None of them tells a key or what was said: of what a provider answers they have the HTTP status and its own word for the
error, such as ``voice_not_found``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import SecretStr

from callboard_shared.errors import FinalError, JobError, RetryableError

_WORD = re.compile(r"[a-z][a-z0-9_.\-]{0,59}")
_SECONDS = re.compile(r"\d+(\.\d+)?")
_LONGEST_WAIT_S = 3600.0
_MOST_NAMES = 40
_SHORTEST_SECRET = 6
"""Self-hosted servers are often given a key such as ``none``, which stands in ordinary words."""
_FOR_ITS_CONTENT = ("content_filter", "policy", "moderation", "safety")
_NO_CREDIT = ("quota", "credit", "payment", "billing", "paid_plan")
_AGAIN = "The job is tried again by itself"


@dataclass(frozen=True, slots=True)
class Service:
    """A provider, as its errors name it. ``key``, ``url``, ``patience``: the variables that set its key, its address,
    and how long it may be silent; empty where there are none. ``secret``: the key itself, which no error repeats."""

    title: str
    key: str = ""
    url: str = ""
    patience: str = ""
    secret: SecretStr | None = None

    def without_key_in(self, text: str) -> str:
        """What the provider said, with the key struck out that it was sent: some repeat it, in a message or as the code
        of an error, and not always in the same case. What is too short to be a secret stays."""
        secret = self.secret.get_secret_value() if self.secret is not None else ""
        if len(secret) < _SHORTEST_SECRET:
            return text
        return re.sub(re.escape(secret), "[key]", text, flags=re.IGNORECASE)

    def of_status(self, status: int, word: str = "", headers: Mapping[str, str] | None = None) -> JobError:
        """What an answer with an error status means. ``word``: the provider's own, see ``word_of``."""
        word = self.without_key_in(word)
        what, wait_s = f"{status}, {word}" if word else f"{status}", retry_after_s(headers or {})
        if any(part in word for part in _FOR_ITS_CONTENT):
            return self.refused()
        if status == 402 or any(part in word for part in _NO_CREDIT):
            return self._without_credit(what)
        if status in (401, 403):
            return self._unauthorized(what)
        if status == 429:
            return self.busy(wait_s)
        if status in (408, 504):
            return self.slow(wait_s)
        if status >= 500 or status in (409, 425):
            return self.unavailable(f"has trouble of its own ({what})", wait_s)
        if status < 400:
            return invalid(f"{self.title} sends elsewhere ({what}). Set {self.url} to where it is now.")
        return invalid(
            f"{self.title} does not accept the request ({what}). Change the input and submit it again."
        )

    # --- final ---

    def refused(self) -> FinalError:
        return FinalError(
            f"{self.title} will not do this, for its content. Say it differently; trying again does not help.",
            code="provider-refused",
        )

    def without_key(self) -> FinalError:
        return FinalError(
            f"This worker has no key for {self.title}. Put {self.key} into its environment or its .env and start it "
            "again, or ask with provider local.",
            code="provider-unauthorized",
        )

    def unknown(self, what: str, name: str, known: Iterable[str]) -> FinalError:
        """A voice or model that is not there; ``what`` is one of these words."""
        names = list(dict.fromkeys(known))
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        return invalid(f"{self.title} has no {what} {name!r}." + (f" There are: {shown}." if names else ""))

    def _unauthorized(self, what: str) -> FinalError:
        return FinalError(
            f"{self.title} does not accept the key of this worker ({what}). Look whether it is right, still valid and "
            f"allowed to do this; it is {self.key} in the worker's environment or its .env.",
            code="provider-unauthorized",
        )

    def _without_credit(self, what: str) -> FinalError:
        return FinalError(
            f"The account at {self.title} has no credit left, or its plan does not cover this ({what}). Add some there "
            "and submit the job again, or choose another model, voice or provider.",
            code="provider-unauthorized",
        )

    # --- tried again ---

    def busy(self, wait_s: float | None = None) -> RetryableError:
        return RetryableError(
            f"{self.title} takes no more requests for now. {_AGAIN}; if this goes on, let fewer run at once "
            "(docs/configuration.md).",
            code="provider-rate-limited",
            retry_after_s=wait_s,
        )

    def slow(self, wait_s: float | None = None) -> RetryableError:
        longer = f"; {self.patience} gives it longer" if self.patience else ""
        return RetryableError(
            f"{self.title} took too long. {_AGAIN}{longer}.", code="provider-timeout", retry_after_s=wait_s
        )

    def unreachable(self) -> RetryableError:
        return self.unavailable("could not be reached, or the connection broke")

    def unavailable(self, what: str, wait_s: float | None = None) -> RetryableError:
        look = f"; if this goes on, look at {self.url} and at the worker's network" if self.url else ""
        return RetryableError(
            f"{self.title} {what}. {_AGAIN}{look}.", code="provider-unavailable", retry_after_s=wait_s
        )


def invalid(detail: str) -> FinalError:
    """What no provider will accept."""
    return FinalError(detail, code="provider-invalid")


def word_of(body: Any) -> str:
    """The provider's own word for an error: ``detail.status`` or ``detail.code`` (ElevenLabs), ``error.code`` or
    ``error.type`` (OpenAI), or what a validation complains of and where. Empty if there is none."""
    if not isinstance(body, dict):
        return ""
    detail = body.get("detail", body.get("error", body))
    if isinstance(detail, list):
        first = detail[0] if detail else None
        path = first.get("loc") if isinstance(first, dict) else None
        return _word(".".join(map(str, path))) if isinstance(path, list) else ""
    if not isinstance(detail, dict):
        return ""
    # ElevenLabs' newer answers have all three, the code being the most exact.
    return next((word for name in ("code", "status", "type") if (word := _word(detail.get(name)))), "")


def _word(value: Any) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110, 10.2.3: a number or a date), a little more so that not all come back
    at once, and an hour at most; None without one."""
    given = headers.get("retry-after", "").strip()
    try:
        seconds = float(given) if _SECONDS.fullmatch(given) else _until(given, headers.get("date"))
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.1), _LONGEST_WAIT_S) * random.uniform(1.0, 1.2)


def _until(date: str, now: str | None) -> float:
    """By the provider's own clock, if its answer tells it."""
    since = parsedate_to_datetime(now) if now else datetime.now(UTC)
    return (parsedate_to_datetime(date) - since).total_seconds()
