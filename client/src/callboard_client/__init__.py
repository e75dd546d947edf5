"""Callboard's Python client.

    from callboard_client import Callboard

    with Callboard() as callboard:
        print(callboard.run("nlp.embed", {"texts": ["hello"]})["dimensions"])

`AsyncCallboard` is the same with ``await``. Names are loaded when first used, so that ``callboard --help``
does not wait for libraries it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard_client._async import AsyncCallboard
    from callboard_client._calls import NewJob
    from callboard_client._errors import (
        ApiError,
        CallboardError,
        ConfigError,
        Conflict,
        ConnectionFailed,
        Forbidden,
        Invalid,
        JobFailed,
        NotFound,
        PipelineFailed,
        RateLimited,
        TooLarge,
        Unauthorized,
        Unavailable,
        WaitTimeout,
        WebhookNotVerified,
    )
    from callboard_client._models import (
        Batch,
        BatchResult,
        Conversation,
        Event,
        FieldError,
        File,
        Job,
        JobType,
        Key,
        Message,
        Model,
        Pipeline,
        PipelineStep,
        Problem,
        Progress,
        Queue,
        Readiness,
        Usage,
        Worker,
    )
    from callboard_client._retries import Retries
    from callboard_client._sync import Callboard
    from callboard_client._verifying import verify_webhook
    from callboard_client._webhook_models import Delivery, DeliveryTry, WebhookEndpoint, WebhookSecret

__version__ = "0.1.0"

_HOMES = {
    "_async": ("AsyncCallboard",),
    "_calls": ("NewJob",),
    "_errors": (
        "ApiError", "CallboardError", "ConfigError", "Conflict", "ConnectionFailed", "Forbidden", "Invalid",
        "JobFailed", "NotFound", "PipelineFailed", "RateLimited", "TooLarge", "Unauthorized", "Unavailable",
        "WaitTimeout", "WebhookNotVerified",
    ),
    "_webhook_models": ("Delivery", "DeliveryTry", "WebhookEndpoint", "WebhookSecret"),
    "_models": (
        "Batch", "BatchResult", "Conversation", "Event", "FieldError", "File",
        "Job", "JobType", "Key", "Message", "Model", "Pipeline", "PipelineStep", "Problem", "Progress",
        "Queue", "Readiness", "Usage", "Worker",
    ),
    "_retries": ("Retries",),
    "_sync": ("Callboard",),
    "_verifying": ("verify_webhook",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ApiError", "AsyncCallboard", "Batch", "BatchResult", "Callboard", "CallboardError", "ConfigError",
    "Conflict", "ConnectionFailed", "Conversation", "Delivery", "DeliveryTry", "Event", "FieldError", "File",
    "Forbidden", "Invalid", "Job", "JobFailed", "JobType", "Key", "Message", "Model", "NewJob", "NotFound",
    "Pipeline", "PipelineFailed", "PipelineStep", "Problem", "Progress", "Queue", "RateLimited", "Readiness",
    "Retries", "TooLarge", "Unauthorized", "Unavailable", "Usage", "WaitTimeout", "WebhookEndpoint",
    "WebhookNotVerified", "WebhookSecret", "Worker", "__version__", "verify_webhook",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
