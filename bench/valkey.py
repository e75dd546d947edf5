"""A Valkey for one measurement: as the embedded stack configures it, in a folder of its own, gone afterwards."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import end
from callboard_embedded.folder import Folder
from callboard_embedded.processes import dies_with_parent
from callboard_embedded.valkey import MALLOC, configure

START_S = 10.0


@contextmanager
def valkey() -> Iterator[str]:
    """Run a server; yields ``redis://:password@127.0.0.1:port`` (append the number of a database)."""
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", ignore_cleanup_errors=True) as home:
        folder = Folder(Path(home))
        folder.make()
        configured = configure(folder)
        with Path(home, "log").open("wb") as log:
            server = subprocess.Popen(
                configured.argv, stdout=log, stderr=log, start_new_session=True, env={**MALLOC, **os.environ},
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 – calls prctl and nothing else
            )  # fmt: skip
        try:
            if not asyncio.run(configured.wait(START_S)):
                raise TimeoutError(f"Valkey does not answer: {Path(home, 'log').read_text()[-500:]}")
            yield configured.url.removesuffix("/0")
        finally:
            end(server)
