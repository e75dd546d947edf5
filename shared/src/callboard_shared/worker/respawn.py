"""A child that died is replaced within moments.

Celery hears of its death by the end of a pipe, which closes a little before the process can be waited for; when
it looks too early it looks again only after five seconds (celery 5.7, ``AsynPool._event_process_exit``).
"""

from __future__ import annotations

from typing import Any

from celery.bootsteps import StartStopStep

_LOOK_S = 0.25


class QuickRespawn(StartStopStep):  # type: ignore[misc]
    """A step of the worker: looks at the children several times a second, which costs one ``waitpid`` each."""

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        hub.call_repeatedly(_LOOK_S, worker.pool._pool.maintain_pool)  # the pool has no public way
