"""The bell: the only place that sends a Celery message. It says "there is work on queue Q" and carries no job."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, urlsplit

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from callboard_shared.broker import use as use_broker
from callboard_shared.redis_address import for_celery
from callboard_shared.settings import BrokerSettings, LedgerSettings

log = structlog.get_logger(__name__)

TASK = "callboard.answer"


def celery_app(name: str, broker: BrokerSettings | None = None, *, current: bool = True) -> Celery:
    """A Celery application as Callboard wants it; the reasons are in docs/reliability.md.

    ``current``: it is the process's own application, not one that only sends.
    """
    url = ((broker or BrokerSettings()).broker_url or LedgerSettings().redis_url).get_secret_value()
    celerys_url, of_url = for_celery(url)
    use_broker()
    app = Celery(name, broker=celerys_url, set_as_current=current)
    app.conf.broker_use_ssl = _tls(url)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_delivery_mode="transient",
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Redis that may not write for the moment (NOREPLICAS, MISCONF, READONLY) is one to come back to.
        broker_channel_error_retry=True,
        broker_pool_limit=4,
        broker_transport_options={
            "socket_keepalive": True,
            "health_check_interval": 30,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            # One who rings does not wait for a broker that is away: the sweep rings again.
            "max_retries": 1,
            "interval_start": 0,
            "interval_max": 0.2,
            # A bell that is redelivered finds nothing to do; this only keeps stale ones from piling up.
            "visibility_timeout": 3600,
            **of_url,
        },
    )
    return app


def hears(worker_id: str, patience_s: float) -> bool:
    """Whether the consumer of a worker answers what is sent to it through the broker, within so many seconds.

    By connections that are closed again: a child that a worker forks closes what the pool of an application holds, and
    with RabbitMQ that ends it for the parent too.
    """
    with celery_app("callboard-hears", current=False) as app:
        return bool(app.control.ping(destination=[worker_id], timeout=patience_s))


def _tls(url: str) -> dict[str, str] | None:
    """How to check the broker's certificate: kombu checks none for ``rediss://`` unless told to, and passes over what
    the URL says of it (``ssl_ca_certs=FILE`` and the like, as the ledger's client takes them)."""
    parts = urlsplit(url)
    if parts.scheme not in ("rediss", "rediss+sentinel"):
        return None
    said = {name: value for name, value in parse_qsl(parts.query) if name.startswith("ssl_")}
    return {"ssl_cert_reqs": "required", **said}


class Bell:
    """Rings for queues. A bell that cannot be rung is not an error: the sweep rings it again."""

    def __init__(self, app: Celery | None = None) -> None:
        self._app = app or celery_app("callboard-bell", current=False)

    def ring(self, queue: str) -> None:
        try:
            # No expiry: Celery judges it by the clocks of two machines, and one that is fast would hear no bell.
            self._app.send_task(TASK, args=(queue,), queue=queue, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            log.warning("bell.not_rung", queue=queue, reason=type(error).__name__)


class AsyncBell:
    """The same off the event loop, on a thread of its own."""

    def __init__(self, bell: Bell | None = None) -> None:
        self._bell = bell or Bell()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bell")

    async def ring(self, queue: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._bell.ring, queue)

    def ring_soon(self, queue: str) -> None:
        """Ring without waiting for it."""
        self._thread.submit(self._bell.ring, queue)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
