"""How a Redis is reached: at one address, or through Sentinels, which know the server that is the primary now.

    redis://user:password@host:6379/0                       rediss:// by TLS
    redis+sentinel://user:password@host,host:26379/GROUP/0  rediss+sentinel:// by TLS, the Sentinels too

User and password are the servers'; ``?sentinel_username=`` and ``?sentinel_password=`` are the Sentinels' own, if they
ask for any. What else a query may say is redis-py's (``ssl_ca_certs=FILE``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import redis
import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.sentinel import SentinelConnectionPool

_SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:\[\],]+)(?::(?P<port>\d{1,5}))?")
_PATIENCE = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
"""A Sentinel answers at once or is passed over for the next."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A group of servers and the Sentinels that watch it.

    ``server``: redis-py's options for whichever server is the primary; ``own``: those for the Sentinels.
    """

    sentinels: tuple[tuple[str, int], ...]
    group: str
    server: dict[str, Any]
    own: dict[str, Any]


def watched(url: str) -> Watched | None:
    """What a URL says of Sentinels; None if it is the address of one server. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        return None
    credentials, _, hosts = parts.netloc.rpartition("@")
    found = [_HOST.fullmatch(host) for host in hosts.split(",")]
    path = re.fullmatch(r"/(?P<group>[^/]+)(?:/(?P<db>\d{1,5})?)?", parts.path)
    if path is None or not all(found):
        raise ValueError(
            "A URL of Sentinels reads redis+sentinel://user:password@host:26379,host:26379/GROUP/0, where GROUP is the "
            "name under which the Sentinels watch the servers (`sentinel monitor GROUP …`)."
        )
    query = parse_qsl(parts.query)
    plain = f"{_SCHEMES[parts.scheme]}://{credentials}{'@' if credentials else ''}sentinel/{path['db'] or 0}"
    server = dict(redis.connection.parse_url(f"{plain}?{urlencode(query)}"))
    own = {
        name.removeprefix("sentinel_"): server.pop(name)
        for name in list(server)
        if name.startswith("sentinel_")
    }
    del server["host"]
    if server.pop("connection_class", None):  # TLS; which class it takes depends on the pool
        server["ssl"] = True
    own |= {name: value for name, value in server.items() if name.startswith("ssl")}
    sentinels = tuple((one["host"].strip("[]"), int(one["port"] or 26379)) for one in found if one)
    return Watched(sentinels, path["group"], server, own | _PATIENCE)


# --- redis-py -------------------------------------------------------------------------------------------------


def pool(url: str, **options: Any) -> redis.ConnectionPool:
    """Connections to the primary, for a client that blocks; end it with ``close``."""
    if (group := watched(url)) is None:
        return redis.ConnectionPool.from_url(url, **options)
    sentinel = redis.Sentinel(group.sentinels, sentinel_kwargs=group.own)
    return SentinelConnectionPool(group.group, sentinel, **group.server, **options)


def async_pool(url: str, **options: Any) -> redis.asyncio.ConnectionPool:
    """Connections to the primary, for a client that does not block; end it with ``aclose``."""
    if (group := watched(url)) is None:
        return redis.asyncio.ConnectionPool.from_url(url, **options)
    sentinel = redis.asyncio.Sentinel(group.sentinels, sentinel_kwargs=group.own)
    return AsyncSentinelConnectionPool(group.group, sentinel, **group.server, **options)


def close(connections: redis.ConnectionPool) -> None:
    connections.close()
    if isinstance(connections, SentinelConnectionPool):
        connections.sentinel_manager.close()


async def aclose(connections: redis.asyncio.ConnectionPool) -> None:
    await connections.aclose()
    if isinstance(connections, AsyncSentinelConnectionPool):
        await connections.sentinel_manager.aclose()


# --- Celery ---------------------------------------------------------------------------------------------------


def for_celery(url: str) -> tuple[str, dict[str, Any]]:
    """A broker's URL in Celery's words, and the transport options that belong to it."""
    if (group := watched(url)) is None:
        return url, {}
    user, password = (quote(group.server.get(name, ""), safe="") for name in ("username", "password"))
    credentials = f"{user}:{password}@" if user or password else ""
    urls = (
        f"sentinel://{credentials}{f'[{host}]' if ':' in host else host}:{port}/{group.server.get('db', 0)}"
        for host, port in group.sentinels
    )
    return ";".join(urls), {"master_name": group.group, "sentinel_kwargs": group.own}
