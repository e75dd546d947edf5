"""Writes data/vN.json.gz: one of everything in a ledger of this code's version, and what its gateway says of it.

    python tests/upgrade/make_fixture.py

Run it once, by the code that introduces a version; what it wrote then is read by every later code, and never made anew.
Keys are kept as DUMP gives them, with how long they had to live, so that they live as long again when they are loaded.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
import tempfile
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).parent))

from everything import account, lay
from small_stack import client, ledger_of, small_stack

from callboard_embedded.folder import Folder, write_private
from callboard_embedded.valkey import recall
from callboard_shared.ledger import keys, schema

DATA = Path(__file__).parent / "data"
ADMIN_KEY = "cb_testtest_" + "k" * 43
_NOT_KEPT = ("cb:limits", keys.SWEEP_LOCK, "cb:{access}:session", "cb:{access}:ticket")


def fixture(home: Path) -> dict[str, object]:
    """A new stack's, in a new folder."""
    home.mkdir()
    write_private(home / "api-key", ADMIN_KEY)
    with small_stack(home, trains=True) as stack, client(stack.url, ADMIN_KEY) as http:
        with ledger_of(home) as ledger:
            lay(http, ledger)
        said = account(http)
        with redis.Redis.from_url(recall(Folder(home)).url) as server:
            kept = {key: [max(0, server.pttl(key)), server.dump(key)] for key in _kept(server)}
    files = {path.name: path.read_bytes() for path in (home / "files").rglob("file_*")}
    return {
        "keys": {key.decode(): [ttl, base64.b64encode(value).decode()] for key, (ttl, value) in kept.items()},
        "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
        "said": said,
    }


def _kept(server: redis.Redis) -> list[bytes]:
    return sorted(key for key in server.scan_iter("cb:*") if not key.decode().startswith(_NOT_KEPT))


if __name__ == "__main__":
    target = DATA / f"v{schema.NEWEST}.json.gz"
    if target.exists():
        sys.exit(f"{target} is there: what a version wrote is not written again.")
    with tempfile.TemporaryDirectory() as folder:
        document = fixture(Path(folder) / "home")
    DATA.mkdir(exist_ok=True)
    target.write_bytes(gzip.compress(json.dumps(document, ensure_ascii=False).encode(), 9, mtime=0))
    print(f"{target}: {target.stat().st_size:,} bytes")
