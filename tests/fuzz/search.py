"""How far a fuzz test looks: the same few cases each time, or a search of its own (``CALLBOARD_FUZZ``)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings

FUZZ = bool(os.environ.get("CALLBOARD_FUZZ"))
SEED = int(os.environ.get("CALLBOARD_FUZZ_SEED") or random.randrange(1_000_000))
CALM = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
]


def looked(few: int, many: int, **more: Any) -> settings:
    """``few`` cases in each run of the tests, ``many`` in a search."""
    return settings(max_examples=many if FUZZ else few, derandomize=not FUZZ, database=None, deadline=None,
                    suppress_health_check=CALM, print_blob=False, **more)  # fmt: skip


def searched(few: int, many: int) -> Callable[[Any], Any]:
    """Of a test that takes cases by ``given``."""
    decorate = looked(few, many)
    return lambda test: decorate(seed(SEED)(test) if FUZZ else test)
