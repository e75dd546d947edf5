"""Celery's Redis transport, but a worker outlives a broken connection. The reasons are in docs/decisions/0005."""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class QoS(redis.QoS):
    """What is acknowledged on a channel that is gone stays unacknowledged: it rings once more, in an hour."""

    restore_at_shutdown = False  # a bell need not be put back: the sweep rings for what is unheard

    @property
    def _is_gone(self) -> bool:
        return self.channel.connection is None

    def ack(self, delivery_tag: Any) -> None:
        if not self._is_gone:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        if not self._is_gone:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


class Channel(redis.Channel):
    QoS = QoS


class Transport(redis.Transport):
    Channel = Channel


class SentinelChannel(redis.SentinelChannel):
    QoS = QoS


class SentinelTransport(redis.SentinelTransport):
    Channel = SentinelChannel


def use() -> None:
    """Let ``redis://``, ``rediss://`` and ``sentinel://`` mean these transports in this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
