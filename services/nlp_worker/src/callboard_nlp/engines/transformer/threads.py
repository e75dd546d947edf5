"""How many threads of the CPU a model is worth.

Below some size two gain nothing, and on a busy machine they wait for each other at every small product: of a model
of 959,360 parameters a step of 32 pairs took 44 ms on one thread, and 270 to 1,475 ms on two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2_000_000
"""Parameters."""


@contextmanager
def threads_for(parameters: int, most: int) -> Iterator[None]:
    """Within the block torch uses ``most`` threads, or one for a small model; after it as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if parameters < SMALL else most)
    try:
        yield
    finally:
        torch.set_num_threads(before)
