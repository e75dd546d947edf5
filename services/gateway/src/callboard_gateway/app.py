"""Puts the gateway together: its parts, its routes, and what starts and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.routing import Route

from callboard_gateway import metrics, openapi, pages, problems
from callboard_gateway.auth import KeyRing
from callboard_gateway.batch_desk import BatchDesk
from callboard_gateway.batch_submission import BatchReader
from callboard_gateway.budgets import Budgets
from callboard_gateway.desk import QUEUES_WITH_JOBS, DeleteFile, Desk
from callboard_gateway.edge import Edge
from callboard_gateway.facade import routes as facade
from callboard_gateway.known_models import KnownModels
from callboard_gateway.opening import Opening
from callboard_gateway.pipeline_desk import PipelineDesk
from callboard_gateway.pipeline_submission import PipelineReader
from callboard_gateway.prompt_ledger import PromptLedger
from callboard_gateway.rate_limit import RateLimiter, SharedCounters
from callboard_gateway.references import References
from callboard_gateway.routes import (
    audit,
    batches,
    conversations,
    deliveries,
    events,
    files,
    job_types,
    jobs,
    keys,
    models,
    operating,
    pipeline_events,
    pipelines,
    uploads,
    voices,
    webhook_endpoints,
    webhook_inbox,
)
from callboard_gateway.routes.say import SayRoute
from callboard_gateway.routes.submit import SubmitBatchRoute, SubmitRoute
from callboard_gateway.settings import GatewaySettings
from callboard_gateway.stopping import Stopping
from callboard_gateway.submitter import Submitter
from callboard_shared.bell import AsyncBell, Bell, celery_app
from callboard_shared.ledger import filing
from callboard_shared.ledger.news import News
from callboard_shared.pictures import PictureSettings
from callboard_shared.settings import BrokerSettings, LedgerSettings, OutboundSettings
from callboard_shared.submission import Reader

log = structlog.get_logger(__name__)


def create_app(
    settings: GatewaySettings | None = None,
    *,
    ledger_settings: LedgerSettings | None = None,
    broker_settings: BrokerSettings | None = None,
    outbound_settings: OutboundSettings | None = None,
) -> FastAPI:
    """The gateway as an ASGI application. Settings that are not given come from the environment."""
    settings = settings or GatewaySettings()
    ledger_settings = ledger_settings or LedgerSettings()
    app = FastAPI(
        title="Callboard", lifespan=_lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    ledger = _ledger(settings, ledger_settings)
    bell = _bell(broker_settings or BrokerSettings(), ledger_settings)
    app.state.settings = settings
    app.state.ledger = ledger
    app.state.bell = bell
    app.state.news = News(ledger)
    app.state.stopping = Stopping()
    app.state.models = KnownModels(ledger)
    app.state.submitter = _submitter(settings, ledger, bell)
    app.state.counters = SharedCounters(ledger_settings)
    app.state.keyring = _keyring(settings, ledger, app.state.counters)
    pictures = PictureSettings()
    references = References(ledger, app.state.models, lambda: app.state.files.files.store, pictures)
    app.state.urls = (outbound_settings or OutboundSettings()).policy
    app.state.desk = Desk(
        ledger,
        app.state.submitter,
        app.state.news,
        Reader(
            expires_s=settings.default_expires_s,
            urls=app.state.urls,
            knows_model=app.state.models.knows,
            pictures=pictures,
        ),
        app.state.stopping,
        references,
        Budgets(ledger, app.state.keyring.limits_of, QUEUES_WITH_JOBS),
        ring=bell.ring_soon,
        delete_file=_file_remover(app),
        feed_window_ms=int(settings.events_window_s * 1000),
    )
    app.state.pipelines = PipelineDesk(
        app.state.desk,
        references,
        PipelineReader(app.state.desk.reader, _room(settings)),
        max_waiting=settings.max_waiting_jobs,
        limits_of=app.state.keyring.limits_of,
        ring=bell.ring_soon,
    )
    app.state.batches = BatchDesk(
        app.state.desk,
        BatchReader(app.state.desk.reader.urls, settings.default_expires_s, app.state.pipelines.reader.room),
        most=settings.max_batches,
        delete_file=_file_remover(app),
    )
    _add_routes(app, settings)
    return app


def _ledger(settings: GatewaySettings, ledger: LedgerSettings) -> PromptLedger:
    return PromptLedger(
        ledger,
        patience_s=settings.submit_timeout_s,
        replicas=settings.submit_replicas,
        on_disk=settings.submit_fsync,
    )


def _bell(broker: BrokerSettings, ledger: LedgerSettings) -> AsyncBell:
    broker = BrokerSettings(broker_url=broker.broker_url or ledger.redis_url)
    return AsyncBell(Bell(celery_app("callboard-gateway", broker)))


def _submitter(settings: GatewaySettings, ledger: PromptLedger, bell: AsyncBell) -> Submitter:
    return Submitter(
        ledger,
        bell,
        max_waiting=settings.max_waiting_jobs,
        max_turns=settings.max_conversation_messages,
        max_bytes=settings.max_conversation_bytes,
    )


def _room(settings: GatewaySettings) -> tuple[int, int]:
    """(messages, bytes) that one conversation may hold."""
    return settings.max_conversation_messages, settings.max_conversation_bytes


def _keyring(settings: GatewaySettings, ledger: PromptLedger, counters: SharedCounters) -> KeyRing:
    return KeyRing(
        ledger,
        RateLimiter(counters, settings.rate_limit_per_s, settings.rate_limit_burst),
        cache_s=settings.key_cache_s,
        admin_secret=settings.admin_key.get_secret_value() if settings.admin_key else None,
    )


def _add_routes(app: FastAPI, settings: GatewaySettings) -> None:
    way_in = (app.state.keyring, app.state.desk, settings.max_json_bytes)
    direct = [
        Route("/v1/jobs", SubmitRoute(*way_in), methods=["POST"]),
        Route("/v1/jobs:batch", SubmitBatchRoute(*way_in), methods=["POST"]),
    ]
    app.router.routes.extend(direct)
    app.router.routes.append(
        Route("/v1/conversations/{conversation_id}/messages", SayRoute(*way_in), methods=["POST"])
    )
    for part in (
        jobs,
        events,
        conversations,
        pipelines,
        pipeline_events,
        batches,
        job_types,
        models,
        voices,
        keys,
        audit,
        webhook_endpoints,
        deliveries,
        operating,
    ):
        app.include_router(part.router)
    app.include_router(webhook_endpoints.secret_router)
    if settings.webhook_inbox:
        app.include_router(webhook_inbox.router)
    app.add_middleware(Edge, direct={("POST", route.path): route for route in direct})
    files.install(app)
    facade.install(app)
    uploads.install(app)
    metrics.install(app)  # counts what the edge answers
    pages.install(app)
    problems.install(app)
    openapi.install(app)


def _file_remover(app: FastAPI) -> DeleteFile:
    async def remove(file_id: str, owner: str) -> None:
        await app.state.ledger.run(filing.delete_file(file_id, owner))
        await app.state.files.delete(file_id)

    return remove


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    opening = Opening(state.ledger, state.keyring)
    background = [await opening.start()]
    await state.news.start()
    background.append(asyncio.create_task(state.models.keep_fresh(), name="known models"))
    try:
        with metrics.serving(app):
            yield
    finally:
        state.stopping.begin()
        opening.close()
        await _end(background)
        await state.submitter.close()
        await state.news.stop()
        state.bell.close()
        await state.counters.close()
        await state.ledger.close()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are done: the Redis client loses a cancel that comes while it connects."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.2)
