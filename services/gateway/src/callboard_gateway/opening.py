"""The gateway's way to its ledger: nothing is asked of it before its version is known to be the right one.

A ledger that is away holds up no start: until it is there, and while another process migrates it, requests are told so.
"""

from __future__ import annotations

import asyncio
import threading

import structlog

from callboard_gateway.auth import KeyRing
from callboard_gateway.prompt_ledger import PromptLedger
from callboard_shared.errors import LedgerError, LedgerNewer, LedgerUnavailable
from callboard_shared.ledger import Ledger, schema

log = structlog.get_logger(__name__)

_AT_ONCE_S = 3.0
"""A start waits for so long, so that the first request usually finds the ledger open."""


class Opening:
    """Opens the ledger for ``keyring`` and everyone else; goes on trying until ``close``."""

    def __init__(self, ledger: PromptLedger, keyring: KeyRing) -> None:
        self._ledger, self._keyring = ledger, keyring
        self._stop = threading.Event()

    async def start(self) -> asyncio.Task[None]:
        """Gives what goes on with it; end it after ``close``."""
        self._ledger.closed = LedgerUnavailable(
            "The ledger (Redis) is not there yet, or is being migrated. Try again in a moment.",
            retry_after_s=2,
        )
        task = asyncio.create_task(self._open(), name="opening")
        await asyncio.wait((task,), timeout=_AT_ONCE_S)
        return task

    def close(self) -> None:
        """Ends also what waits in a thread."""
        self._stop.set()

    async def _open(self) -> None:
        try:
            await asyncio.to_thread(self._ensure)
        except LedgerNewer as error:
            log.critical("gateway.refused", reason=error.detail)
            self._ledger.closed = error
            return
        self._ledger.closed = None
        await self._write_admin_key()

    def _ensure(self) -> None:
        ledger = Ledger(self._ledger.settings)
        try:
            schema.ensure_patiently(ledger, stop=self._stop)
        finally:
            ledger.close()

    async def _write_admin_key(self) -> None:
        """CALLBOARD_ADMIN_KEY, as soon as the ledger takes it."""
        while True:
            try:
                await self._keyring.admin()
                return
            except LedgerError:
                await asyncio.sleep(1)
