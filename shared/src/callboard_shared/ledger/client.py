"""How a verb reaches Redis: ``Call`` says what to send and how to read the answer; two clients run calls.

``Ledger`` blocks (worker processes), ``AsyncLedger`` does not (gateway, concurrent workers). Both turn what
goes wrong on the way into ``LedgerUnavailable`` or ``LedgerFull``.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar, cast

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from callboard_shared import redis_address
from callboard_shared.errors import LedgerError, LedgerFull, LedgerUnavailable
from callboard_shared.ledger.keys import HOOK_KEYS, lua_prelude
from callboard_shared.settings import LedgerSettings

T = TypeVar("T")

_REFUSES_WHEN_FULL = frozenset({"accept", "submit"})
"""Only new jobs and pipelines are refused when memory is short; what was accepted must be able to end."""

_ABOUT_WEBHOOKS = frozenset({"collect", "delivery", "endpoint", "inbox", "post", "record", "recover"})
"""Scripts that share ``hooks.lua``, about endpoints and deliveries."""

_FREE_STANDING = frozenset(
    {"access", "file", "lock", "migrate_files", "migrate_hooks", "model", "reserve", "schema", "upload"}
)
"""Scripts that are not about the jobs of a queue, and take their own keys."""


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: bytes
    sha: str


@cache
def script(name: str) -> Script:
    folder = files(__package__) / "scripts"
    head = "#!lua\n" if name in _REFUSES_WHEN_FULL else "#!lua flags=allow-oom\n"
    if name in _FREE_STANDING:
        library = ""
    elif name in _ABOUT_WEBHOOKS:
        library = lua_prelude(HOOK_KEYS) + (folder / "hooks.lua").read_text("utf-8")
    else:
        library = lua_prelude() + (folder / "lib.lua").read_text("utf-8")
    source = (head + library + (folder / f"{name}.lua").read_text("utf-8")).encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command to the ledger and how its answer reads. ``script`` is set when the command runs one.

    ``promises``: its answer is what a caller's 202 rests on, so it may have to wait for ``Copies``.
    """

    command: tuple[Any, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    promises: bool = False


def lua(
    name: str, keys: Sequence[str], args: Sequence[Any], parse: Callable[[Any], T], *, promises: bool = False
) -> Call[T]:
    run = script(name)
    return Call(("EVALSHA", run.sha, len(keys), *keys, *args), parse, run, promises)


@dataclass(frozen=True, slots=True)
class Copies:
    """What a promise is to survive, and how long is waited for that in all: the loss of the primary, if so many
    replicas have it; of its power, if it is on its disk."""

    replicas: int = 0
    on_disk: bool = False
    timeout_ms: int = 1000

    @property
    def commands(self) -> list[tuple[Any, ...]]:
        """For the connection that wrote: they are answered when that is so, or when the time is up."""
        each_ms = self.timeout_ms // (2 if self.replicas and self.on_disk else 1)
        # Not WAITAOF for the replicas too: with everysec they tell of their disks once a second.
        wait = [("WAIT", self.replicas, each_ms)] if self.replicas else []
        return [*wait, ("WAITAOF", 1, 0, each_ms)] if self.on_disk else [*wait]

    def check(self, replies: Sequence[Any]) -> None:
        """Raises LedgerUnavailable if there are too few."""
        for (command, wanted, *_), reply in zip(self.commands, replies, strict=True):
            if isinstance(reply, ResponseError):
                raise LedgerUnavailable(
                    "This Redis cannot wait as CALLBOARD_SUBMIT_REPLICAS and CALLBOARD_SUBMIT_FSYNC say; the latter "
                    f"takes a Redis 7.2, or a Valkey, with an append-only file. It says: {reply}",
                    retry_after_s=30,
                )
            if (reply[0] if command == "WAITAOF" else reply) < wanted:
                raise LedgerUnavailable(
                    "The ledger (Redis) has it, but not as many replicas, or not its disk, as it is to be safe on. Try "
                    "again in a moment under the same Idempotency-Key, since it may run all the same.",
                    retry_after_s=2,
                )


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Redis' errors as the ledger's."""
    try:
        yield
    except OutOfMemoryError as error:
        raise LedgerFull(
            "The ledger has no memory left for new jobs. Try again when some have ended, or give Redis more "
            "(maxmemory).",
            retry_after_s=5,
        ) from error
    except (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError) as error:
        raise unavailable() from error
    except ResponseError as error:
        if str(error).startswith(_NOT_NOW):
            raise unavailable() from error
        raise
    except RuntimeError as error:
        if str(error).endswith(_CLOSED):
            raise unavailable() from error
        raise


_NOT_NOW = ("NOREPLICAS", "MISCONF", "MASTERDOWN", "FAILOVER")
"""It may not write for the moment: too few replicas, a disk that is full, a primary that is being replaced."""


_CLOSED = "the handler is closed"
"""What uvloop says of a write to a connection that has just been closed; redis-py passes it on as it is."""


def unavailable() -> LedgerUnavailable:
    """What is said of a ledger that does not answer in time."""
    return LedgerUnavailable(
        "The ledger (Redis) does not answer. Try again in a moment; a submission under the same Idempotency-Key, "
        "since it may have been accepted all the same.",
        retry_after_s=2,
    )


_ONCE_MORE: Any = {"retries": 1, "supported_errors": (ConnectionError, ReadOnlyError)}
"""A broken connection is tried again at once (the server restarted), and so is one to a primary that is a replica now:
what is tried again connects anew. One that does not answer is not, since the caller is promised an error within two
seconds."""


_AGAIN = (NoScriptError, ReadOnlyError)
"""What a pipeline of commands brings back for those that are worth running once more, each by itself."""


def _options(settings: LedgerSettings) -> dict[str, Any]:
    return {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": min(1.0, settings.redis_timeout_s),
        "socket_keepalive": True,
        "health_check_interval": 30,
    }


def _as_script(call: Call[Any]) -> tuple[Any, ...]:
    """The same call with its source, for a Redis that does not know the script (fresh, or flushed)."""
    assert call.script is not None
    return ("EVAL", call.script.source, *call.command[2:])


class Ledger:
    """The blocking client. Safe to share between threads; must not be used across a fork."""

    def __init__(self, settings: LedgerSettings | None = None) -> None:
        settings = settings or LedgerSettings()
        self._redis = redis.Redis(
            connection_pool=redis_address.pool(
                settings.redis_url.get_secret_value(),
                retry=Retry(NoBackoff(), **_ONCE_MORE),
                **_options(settings),
            )
        )

    def run(self, call: Call[T]) -> T:
        """Run one call. Raises LedgerUnavailable or LedgerFull."""
        with ledger_errors():
            try:
                reply = self._redis.execute_command(*call.command)
            except NoScriptError:
                reply = self._redis.execute_command(*_as_script(call))
        return call.parse(reply)

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in one round trip; an answer may be a LedgerError, which is returned, not raised."""
        with ledger_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for call in calls:
                pipeline.execute_command(*call.command)
            replies = pipeline.execute(raise_on_error=False)
        return [
            self._again(call) if isinstance(reply, _AGAIN) else _read(call, reply)
            for call, reply in zip(calls, replies, strict=True)
        ]

    def _again(self, call: Call[T]) -> T | LedgerError:
        try:
            return self.run(call)
        except LedgerError as error:
            return error

    def scan(self, pattern: str, count: int = 1000) -> Iterator[list[bytes]]:
        """The keys that match, in pages of about ``count`` that were looked at; some may come twice."""
        cursor = 0
        while True:
            with ledger_errors():
                cursor, found = self._redis.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            yield [bytes(key) for key in found]
            if cursor == 0:
                return

    def wait_any(self, lists: Sequence[str], timeout_s: float) -> bytes | None:
        """Wait for an item of one of these lists; None after ``timeout_s`` seconds."""
        with ledger_errors():
            connection = self._redis.connection_pool.get_connection()
            try:
                connection.send_command("BLPOP", *lists, timeout_s)
                reply = connection.read_response(timeout=timeout_s + 2)
            except (ConnectionError, TimeoutError, ResponseError):
                connection.disconnect()
                raise
            finally:
                self._redis.connection_pool.release(connection)
        return bytes(reply[1]) if reply else None

    @contextmanager
    def hearing(self, channel: str) -> Iterator[Callable[[float], bytes | None]]:
        """Listen to a channel. Gives what waits for its next message, for so many seconds at most."""
        with ledger_errors(), self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(channel)

            def heard(timeout_s: float) -> bytes | None:
                message = pubsub.get_message(timeout=timeout_s)
                return bytes(message["data"]) if message else None

            yield heard

    def close(self) -> None:
        redis_address.close(self._redis.connection_pool)


class AsyncLedger:
    """The client that does not block; belongs to one event loop. ``copies``: what its promises wait for."""

    def __init__(
        self,
        settings: LedgerSettings | None = None,
        *,
        max_connections: int = 64,
        copies: Copies | None = None,
    ) -> None:
        self.settings = settings or LedgerSettings()
        self.redis = redis.asyncio.Redis(
            connection_pool=redis_address.async_pool(
                self.settings.redis_url.get_secret_value(),
                retry=redis.asyncio.retry.Retry(NoBackoff(), **_ONCE_MORE),
                **_options(self.settings),
            )
        )
        # More calls at once than this wait for their turn. (A pool with a limit refuses them, or, if it lets
        # them wait, takes twice as long for each.)
        self._turn = asyncio.Semaphore(max_connections)
        self._copies = copies or Copies()
        self._waits = self._copies.commands

    async def run(self, call: Call[T]) -> T:
        """Run one call. Raises LedgerUnavailable or LedgerFull."""
        if self._waits and call.promises:
            # Not a subclass's run_many: what that adds, its run has added already.
            (answer,) = await AsyncLedger.run_many(self, [call])
            return cast(T, _raised(answer))
        with ledger_errors():
            async with self._turn:
                reply = await self._execute(call)
        return call.parse(reply)

    async def _execute(self, call: Call[Any]) -> Any:
        try:
            return await self.redis.execute_command(*call.command)
        except NoScriptError:
            return await self.redis.execute_command(*_as_script(call))

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run calls in one round trip; an answer may be a LedgerError, which is returned, not raised."""
        replies = await self._pipelined(calls, [call.command for call in calls])
        again = [i for i, reply in enumerate(replies) if isinstance(reply, _AGAIN)]
        if again:
            some = [calls[i] for i in again]
            commands = [_as_script(call) if call.script else call.command for call in some]
            for i, reply in zip(again, await self._pipelined(some, commands), strict=True):
                replies[i] = reply
        return [_read(call, reply) for call, reply in zip(calls, replies, strict=True)]

    async def _pipelined(self, calls: Sequence[Call[Any]], commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What Redis answers, errors included, once there are copies of what was promised."""
        waits = self._waits if any(call.promises for call in calls) else []
        with ledger_errors():
            pipeline = self.redis.pipeline(transaction=False)
            for command in (*commands, *waits):
                pipeline.execute_command(*command)
            async with self._turn:
                replies = await pipeline.execute(raise_on_error=False)
        replies, copied = replies[: len(calls)], replies[len(calls) :]
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # As a command by itself does: what is tried again connects anew.
            await self.redis.connection_pool.disconnect(inuse_connections=False)
        if waits and any(
            call.promises and not isinstance(reply, _AGAIN)
            for call, reply in zip(calls, replies, strict=True)
        ):
            self._copies.check(copied)
        return replies

    async def wait_any(self, lists: Sequence[str], timeout_s: float) -> bytes | None:
        """Wait for an item of one of these lists; None after ``timeout_s`` seconds. May be canceled."""
        with ledger_errors():
            pool = self.redis.connection_pool
            connection = await pool.get_connection()
            answered = False
            try:
                await connection.send_command("BLPOP", *lists, timeout_s)
                # redis-py's own timeout would give None and leave the answer for whoever comes next.
                async with asyncio.timeout(timeout_s + 2):
                    reply = await connection.read_response(timeout=math.inf)
                answered = True
            finally:
                if not answered:  # an answer may still come: the connection must not be used again
                    await asyncio.shield(connection.disconnect(nowait=True))
                await asyncio.shield(pool.release(connection))
        return bytes(reply[1]) if reply else None

    async def close(self) -> None:
        await redis_address.aclose(self.redis.connection_pool)


def _read(call: Call[T], reply: Any) -> T | LedgerError:
    if isinstance(reply, Exception):
        try:
            with ledger_errors():
                raise reply
        except LedgerError as error:
            return error
    return call.parse(reply)


def _raised(answer: Any) -> Any:
    if isinstance(answer, LedgerError):
        raise answer
    return answer
