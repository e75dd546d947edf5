"""`python -m callboard_embedded run`: the stack in the foreground, from an empty folder to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time

from pydantic import SecretStr

from callboard_embedded import terminal
from callboard_embedded.folder import Folder, Refused, admin_key, locked
from callboard_embedded.members import ledger_member, service_members
from callboard_embedded.ports import is_free, listener
from callboard_embedded.readiness import Readiness
from callboard_embedded.settings import EmbeddedSettings, member_environment
from callboard_embedded.sign_in import sign_in_link
from callboard_embedded.supervisor import Supervisor
from callboard_embedded.valkey import Valkey, configure
from callboard_shared.errors import LedgerError, LedgerNewer
from callboard_shared.ledger import Ledger, schema
from callboard_shared.ledger.returning import return_running
from callboard_shared.settings import LedgerSettings

LOG_POLL_S = 0.5
LEDGER_START_S = 120.0  # a large append-only file takes a while to read
IMPATIENT_S = 1.0  # a second Ctrl-C within this is the same one, passed on by make

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """That a signal asked for the end; a second Ctrl-C asks for it at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self._since = 0.0

    def hear(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if not self.asked.is_set():
            self._since = now
            self.asked.set()
        elif number == signal.SIGINT and now - self._since > IMPATIENT_S:
            self.at_once.set()


def run(settings: EmbeddedSettings, *, greet: bool = True) -> int:
    """Runs until a signal says to end. Returns the exit code. Raises Refused when it cannot start."""
    folder = Folder(settings.home_path)
    folder.make()
    with locked(folder):
        return asyncio.run(_run(settings, folder, greet))


async def _run(settings: EmbeddedSettings, folder: Folder, greet: bool) -> int:
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.hear, number)
    folder.ready.unlink(missing_ok=True)
    supervisor = Supervisor(folder, terminal.say, grace_s=settings.stop_grace_s)
    await supervisor.end_leftovers()
    _check_port(settings)
    terminal.line(f"Callboard starts in {folder.home}")
    supervisor.start_guard()
    work = asyncio.create_task(_serve(settings, folder, supervisor, greet))
    asked = asyncio.create_task(stopping.asked.wait())
    try:
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work  # only an error ends it
    finally:
        folder.ready.unlink(missing_ok=True)
        work.cancel()
        asked.cancel()
        await _stop(supervisor, stopping)
        with contextlib.suppress(asyncio.CancelledError, Refused):
            await work
    return 0


async def _serve(settings: EmbeddedSettings, folder: Folder, supervisor: Supervisor, greet: bool) -> None:
    """Starts everything, says when it is ready, and then shows what the logs have to say."""
    key = admin_key(folder)
    valkey = configure(folder)
    env = member_environment(settings, valkey.url, key)
    await _start_ledger(valkey, env, supervisor)
    await _open_ledger(valkey)
    await _see_to_restored(folder, valkey)
    members = service_members(settings, env)
    supervisor.keep(members)
    readiness = Readiness(settings.url, key, members, supervisor.pid, terminal.say)
    watching = asyncio.create_task(_watch_logs(supervisor))
    try:
        if await readiness.wait(settings.ready_timeout_s):
            folder.ready.write_text(settings.url)
        if greet:
            link = await _link(settings, valkey, key)
            terminal.welcome(settings.url, folder.home, link, readiness.missing)
        elif readiness.missing:
            terminal.say("not ready", ", ".join(readiness.missing))
        if readiness.missing and await readiness.wait(float("inf")):
            folder.ready.write_text(settings.url)
        await watching
    finally:
        watching.cancel()


async def _start_ledger(valkey: Valkey, env: dict[str, str], supervisor: Supervisor) -> None:
    began = time.monotonic()
    supervisor.keep([ledger_member(valkey, env)])
    if not await valkey.wait(LEDGER_START_S):
        raise Refused(f"Valkey did not answer within {LEDGER_START_S:.0f} s; its log is logs/valkey.log.")
    terminal.say("valkey", f"ready after {time.monotonic() - began:.1f} s (port {valkey.port}, append-only)")


async def _open_ledger(valkey: Valkey) -> None:
    """Migrates the ledger's data where they are of an older version. Raises Refused where they are of a newer one."""
    ledger, stop = Ledger(LedgerSettings(redis_url=SecretStr(valkey.url))), threading.Event()
    try:
        before = await asyncio.to_thread(schema.ensure_patiently, ledger, stop=stop)
    except LedgerNewer as error:
        raise Refused(error.detail) from error
    finally:
        stop.set()  # a thread hears of no cancel
        ledger.close()
    if before != schema.NEWEST:
        terminal.say("valkey", f"its data were migrated from version {before} to {schema.NEWEST}")


async def _see_to_restored(folder: Folder, valkey: Valkey) -> None:
    """What ran when the backup was made is ready again, before there is a worker."""
    if not folder.restored.exists():
        return
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(valkey.url)))
    try:
        returned = await asyncio.to_thread(return_running, ledger)
    finally:
        ledger.close()
    folder.restored.unlink()
    terminal.say("restored", f"{returned} jobs that ran when the backup was made are ready again")


async def _watch_logs(supervisor: Supervisor) -> None:
    while True:
        supervisor.show_logs()
        await asyncio.sleep(LOG_POLL_S)


async def _link(settings: EmbeddedSettings, valkey: Valkey, key: str) -> str:
    try:
        return await asyncio.to_thread(sign_in_link, settings.url, valkey.url, key)
    except LedgerError as error:
        terminal.say("console", error.detail)
        return ""


async def _stop(supervisor: Supervisor, stopping: Stopping) -> None:
    began = time.monotonic()
    terminal.line()
    terminal.line("Ending the stack; running jobs may finish (Ctrl-C again: at once) …")
    hurry = asyncio.create_task(stopping.at_once.wait())
    hurry.add_done_callback(lambda task: None if task.cancelled() else supervisor.hurry())
    await supervisor.stop()
    hurry.cancel()
    terminal.line(f"Ended after {time.monotonic() - began:.1f} s.")


def _check_port(settings: EmbeddedSettings) -> None:
    if is_free(settings.port, settings.host):
        return
    who = listener(settings.port) or "another program"
    raise Refused(
        f"Port {settings.port} is taken by {who}. End that, or choose another port:\n"
        f"    CALLBOARD_PORT={settings.port + 1} make run"
    )


def main_run(greet: bool) -> int:
    """The command, with what stands in the way told on stderr."""
    try:
        return run(EmbeddedSettings(), greet=greet)
    except Refused as refused:
        print(f"\nCallboard cannot start: {refused}", file=sys.stderr)
        return 1
