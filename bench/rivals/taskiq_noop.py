"""A no-op of taskiq with a Redis list or stream (``BENCH_KIND``) as broker, with or without results.

Run as a program it publishes as many messages as its argument says, 64 at a time, and prints the clock
(``time.perf_counter``) when it begins.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from bench.rivals.tally import count_one

_kind = RedisStreamBroker if os.environ.get("BENCH_KIND") == "stream" else ListQueueBroker
broker = _kind(os.environ["BENCH_BROKER"], socket_timeout=None)  # redis-py 8's 5 s would end an idle worker
if os.environ.get("BENCH_RESULTS"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(os.environ["BENCH_RESULTS"]))


@broker.task(task_name="noop")
async def noop() -> None:
    """Nothing, but for the count by which the bench knows the end."""
    count_one()


async def _publish(count: int) -> None:
    await broker.startup()
    left = iter(range(count))

    async def one_lane() -> None:
        for _ in left:
            await noop.kiq()

    print(time.perf_counter(), flush=True)
    await asyncio.gather(*(one_lane() for _ in range(64)))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_publish(int(sys.argv[1])))
