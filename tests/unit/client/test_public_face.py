"""What others may rely on, and what it may cost to load."""

from __future__ import annotations

import inspect
import subprocess
import sys

import callboard_client
from callboard_client import AsyncCallboard, Callboard
from callboard_client._async import AsyncFiles, AsyncJobs, AsyncKeys, AsyncModels
from callboard_client._batches import AsyncBatches, Batches
from callboard_client._conversations import AsyncConversations, Conversations
from callboard_client._pipelines import AsyncPipelines, Pipelines
from callboard_client._sync import Files, Jobs, Keys, Models
from callboard_client._webhooks import AsyncWebhooks, Webhooks

PUBLIC = {
    "ApiError", "AsyncCallboard", "Batch", "BatchResult", "Callboard", "CallboardError", "ConfigError",
    "Conflict", "ConnectionFailed", "Conversation", "Delivery", "DeliveryTry", "Event", "FieldError", "File",
    "Forbidden", "Invalid", "Job", "JobFailed", "JobType", "Key", "Message", "Model", "NewJob", "NotFound",
    "Pipeline", "PipelineFailed", "PipelineStep", "Problem", "Progress", "Queue", "RateLimited", "Readiness",
    "Retries", "TooLarge", "Unauthorized", "Unavailable", "Usage", "WaitTimeout", "WebhookEndpoint",
    "WebhookNotVerified", "WebhookSecret", "Worker", "__version__", "verify_webhook",
}  # fmt: skip
METHODS = {
    "batches", "close", "conversations", "events", "files", "job_type", "job_types", "jobs", "key_source",
    "keys", "models", "pause_queue", "pipelines", "queues", "ready", "resume_queue", "run", "submit",
    "submit_batch", "url", "usage", "webhooks", "workers",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(callboard_client.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(callboard_client, name) is not None
    assert set(dir(callboard_client)) == PUBLIC


def test_the_methods_of_the_client_are_these(no_environment: None) -> None:
    with Callboard() as callboard:
        assert {name for name in dir(callboard) if not name.startswith("_")} == METHODS


def test_the_async_client_has_the_same_face() -> None:
    for blocking, waiting in (
        (Callboard, AsyncCallboard),
        (Jobs, AsyncJobs),
        (Files, AsyncFiles),
        (Models, AsyncModels),
        (Keys, AsyncKeys),
        (Conversations, AsyncConversations),
        (Pipelines, AsyncPipelines),
        (Webhooks, AsyncWebhooks),
        (Batches, AsyncBatches),
    ):
        ours = {name: member for name, member in vars(blocking).items() if not name.startswith("_")}
        theirs = {name: member for name, member in vars(waiting).items() if not name.startswith("_")}
        assert {"aclose" if name == "close" else name for name in ours} == set(theirs)
        for name, member in ours.items():
            if inspect.isfunction(member) and name != "close":
                assert inspect.signature(member).parameters == inspect.signature(theirs[name]).parameters, (
                    name
                )


def modules_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(' '.join(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_showing_help_loads_neither_httpx_nor_pydantic() -> None:
    loaded = modules_after(
        "from callboard_client.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert not loaded & {"httpx", "pydantic", "anyio", "callboard_shared"}


def test_the_client_loads_nothing_of_the_services_and_no_command_line_library() -> None:
    loaded = modules_after("from callboard_client import Callboard, AsyncCallboard")
    assert not loaded & {
        "callboard_shared",
        "callboard_gateway",
        "typer",
        "redis",
        "celery",
        "fastapi",
    }
