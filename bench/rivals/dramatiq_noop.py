"""A no-op of dramatiq on Redis, with or without results.

Run as a program it publishes as many messages as its argument says, and prints the clock
(``time.perf_counter``) when it begins.
"""

from __future__ import annotations

import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.rivals.tally import count_one

broker = RedisBroker(url=os.environ["BENCH_BROKER"])  # type: ignore[no-untyped-call]
if os.environ.get("BENCH_RESULTS"):
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    results = RedisBackend(url=os.environ["BENCH_RESULTS"])
    broker.add_middleware(Results(backend=results, store_results=True))  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> int:
    """Nothing, but for the count by which the bench knows the end."""
    count_one()
    return 0


if __name__ == "__main__":
    print(time.perf_counter(), flush=True)
    for _ in range(int(sys.argv[1])):
        noop.send()
