"""The errors of OpenAI's library as errors of the job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import openai

from callboard_llm.faults import Service, invalid, word_of
from callboard_shared.errors import JobError

_LONGEST_QUOTE = 300
_RUN = 16
"""Characters in a row that are no coincidence."""


def as_job_error(
    error: Exception, service: Service, messages: Sequence[Mapping[str, Any]] | None = None
) -> JobError:
    """``messages``: those that were sent, so that nothing of them is quoted; without them nothing is quoted at all."""
    if isinstance(error, openai.APITimeoutError):
        return service.slow()
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, service, messages)
    if isinstance(error, openai.APIConnectionError):
        return service.unreachable()
    if isinstance(error, openai.APIError):  # an error within the stream
        return _within_stream(error, service)
    return service.unavailable(f"answered what is not its protocol ({type(error).__name__})")


def _of_status(
    error: openai.APIStatusError, service: Service, messages: Sequence[Mapping[str, Any]] | None
) -> JobError:
    found = service.of_status(error.status_code, word_of(error.body), error.response.headers)
    if found.problem_code != "provider-invalid" or messages is None:
        return found
    about = f" about '{service.without_key_in(error.param)}'" if error.param else ""
    return invalid(
        f"{service.title} does not accept the request ({error.status_code}{about}){_quoted(error, service, messages)} "
        "Change the input and submit it again."
    )


def _within_stream(error: openai.APIError, service: Service) -> JobError:
    word = word_of(error.body)
    if word.startswith("rate_limit"):
        return service.busy()
    found = service.of_status(500, word)
    return service.unavailable("broke off in the middle of its answer") if found.retryable else found


def _quoted(error: openai.APIError, service: Service, messages: Sequence[Mapping[str, Any]]) -> str:
    """What the provider said, unless it repeats what was said to it."""
    body = error.body if isinstance(error.body, dict) else {}
    text = service.without_key_in(" ".join(str(body.get("message") or "").split()))[:_LONGEST_QUOTE]
    if not text or _repeats(text, list(_texts(messages))):
        return "."
    return f": {text.rstrip('.')}."


def _repeats(text: str, spoken: Sequence[str]) -> bool:
    folded = text.casefold()
    said = " ".join(" ".join(spoken).split()).casefold()
    runs = (folded[i : i + _RUN] for i in range(max(1, len(folded) - _RUN + 1)))
    whole = any(len(one) > 3 and one.casefold() in folded for one in spoken)
    return whole or any(run in said for run in runs)


def _texts(value: Any) -> Iterator[str]:
    """Every text in the messages, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if name not in ("role", "type"):
                yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
