"""Do what the flows ask for: once with blocking calls, once with ``await``. All network I/O is here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias, TypeVar

import httpx

from callboard_client import __version__
from callboard_client._events import Following
from callboard_client._http import client_options, missing_key_explained, request_options, stream_options
from callboard_client._models import Event
from callboard_client._paging import Pages
from callboard_client._retries import Retries, exchange
from callboard_client._settings import Connection
from callboard_client._wire import Call, Flow, Pause, Request, Step

T = TypeVar("T")

Outcome: TypeAlias = httpx.Response | httpx.TransportError | None


def advance(flow: Flow[T], outcome: Outcome) -> Step:
    """Tells the flow what came of its last step; gives the next one."""
    return flow.throw(outcome) if isinstance(outcome, httpx.TransportError) else flow.send(outcome)


class SyncWire:
    """Blocking."""

    def __init__(
        self,
        connection: Connection,
        timeout_s: float,
        retries: Retries,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.connection = connection
        self.retries = retries
        self.http = httpx.Client(transport=transport, **client_options(connection, __version__))
        self._timeout_s = timeout_s

    def send(self, call: Call[T]) -> T:
        return self.drive(exchange(call, self.retries))

    def drive(self, flow: Flow[T]) -> T:
        with missing_key_explained(self.connection):
            try:
                step = next(flow)
                while True:
                    step = advance(flow, self._do(step))
            except StopIteration as end:
                result: T = end.value
                return result

    def _do(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self.http.send(self.http.build_request(**request_options(step, self._timeout_s)))
        except httpx.TransportError as error:
            return error

    def walk(self, pages: Pages[T]) -> Iterator[T]:
        while not pages.done:
            yield from pages.take(self.send(pages.call()))

    def follow(self, following: Following) -> Iterator[Event]:
        """Events to the end of the stream, over as many connections as it takes."""
        while not following.done:
            failure: httpx.TransportError | None = None
            try:
                with self.stream(following.request()) as response:
                    if not following.accept(response):
                        response.read()
                        time.sleep(following.pause_after_answer(response))
                        continue
                    for chunk in response.iter_bytes():
                        yield from following.feed(chunk)
                        if following.done:
                            return
            except httpx.TransportError as error:
                failure = error
            if not following.done:
                time.sleep(following.pause_after_break(failure))

    @contextmanager
    def stream(self, request: Request) -> Iterator[httpx.Response]:
        with missing_key_explained(self.connection):
            built = self.http.build_request(**stream_options(request, self._timeout_s))
            response = self.http.send(built, stream=True)
            try:
                yield response
            finally:
                response.close()


class AsyncWire:
    """For asyncio."""

    def __init__(
        self,
        connection: Connection,
        timeout_s: float,
        retries: Retries,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.connection = connection
        self.retries = retries
        self.http = httpx.AsyncClient(transport=transport, **client_options(connection, __version__))
        self._timeout_s = timeout_s

    async def send(self, call: Call[T]) -> T:
        return await self.drive(exchange(call, self.retries))

    async def drive(self, flow: Flow[T]) -> T:
        with missing_key_explained(self.connection):
            try:
                step = next(flow)
                while True:
                    step = advance(flow, await self._do(step))
            except StopIteration as end:
                result: T = end.value
                return result

    async def _do(self, step: Step) -> Outcome:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self.http.send(self.http.build_request(**request_options(step, self._timeout_s)))
        except httpx.TransportError as error:
            return error

    async def walk(self, pages: Pages[T]) -> AsyncIterator[T]:
        while not pages.done:
            for item in pages.take(await self.send(pages.call())):
                yield item

    async def follow(self, following: Following) -> AsyncIterator[Event]:
        """Events to the end of the stream, over as many connections as it takes."""
        while not following.done:
            failure: httpx.TransportError | None = None
            try:
                async with self.stream(following.request()) as response:
                    if not following.accept(response):
                        await response.aread()
                        await asyncio.sleep(following.pause_after_answer(response))
                        continue
                    async for chunk in response.aiter_bytes():
                        for event in following.feed(chunk):
                            yield event
                        if following.done:
                            return
            except httpx.TransportError as error:
                failure = error
            if not following.done:
                await asyncio.sleep(following.pause_after_break(failure))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[httpx.Response]:
        with missing_key_explained(self.connection):
            built = self.http.build_request(**stream_options(request, self._timeout_s))
            response = await self.http.send(built, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
