"""Logs of every process: one line an event, JSON or text, with secrets left out."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog

from callboard_shared.settings import LogSettings

_SECRET = re.compile(r"(cb_[a-z2-7]{8}_|\bsk[-_]|whsec_)[A-Za-z0-9_\-]{8,}|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")

_FRAMES = 12


def without_secrets(text: str) -> str:
    """The text with keys, webhook secrets and passwords in URLs struck out."""
    return _SECRET.sub("[secret]", text)


def told(error: BaseException) -> dict[str, Any]:
    """What a log may say of a fault of ours that met a user's data: its kind and where it arose, innermost last. Not
    its message, in which libraries repeat what they were given; a job's owner reads that in the job."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    cause = error.__cause__ or error.__context__
    because = {} if cause is None else {"cause": type(cause).__name__}
    return {"error": type(error).__name__, "at": where, **because}


def _rendered_without_secrets(_: Any, __: str, line: Any) -> Any:
    # On the finished line, so that nested values and exceptions are covered too.
    return without_secrets(line) if isinstance(line, str) else line


def configure_logging(service: str, settings: LogSettings | None = None) -> None:
    """Send this process's logs, the libraries' included, to stderr."""
    settings = settings or LogSettings()

    def of_service(_: Any, __: str, event: Any) -> Any:  # not a context variable: threads would not have it
        return {"service": service, **event}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        of_service,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if settings.log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
            _rendered_without_secrets,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in ("httpx", "httpcore"):  # they tell whole URLs, which may hold secrets
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
