"""The time of a refusal tells nothing of a key.

Measured times on a shared machine would need a bound so wide that it proves little, or would fail by chance. What an
attacker could time follows from the structure instead, and that is held here: whatever is sent is hashed first, every
refusal asks the ledger once, by a hash of one length, and the one comparison with a secret is of two digests of 32
bytes in constant time. How long a look-up by hash takes depends on the hash, which nobody can steer byte by byte.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest

from callboard_gateway.auth import KeyRing
from callboard_gateway.rate_limit import RateLimiter
from callboard_shared.access import KeyRecord, find_key, new_key
from callboard_shared.errors import Unauthorized

ADMIN = "cb_testtest_" + "k" * 43
EXPIRED, EXPIRED_SECRET = new_key("old", ("jobs:read",), 0, 1)
REFUSED = {
    "none": b"", "one letter": b"x", "not ASCII": b"\xff\xfe", "very long": b"x" * 60_000, "expired": EXPIRED_SECRET.encode(),
    "the admin's but for its last letter": ADMIN[:-1].encode() + b"x", "the admin's but for its first": b"x" + ADMIN[1:].encode(),
    "the admin's and one more": ADMIN.encode() + b"k", "the admin's without its end": ADMIN[:20].encode(),
}  # fmt: skip


class Asked:
    """A ledger that holds one expired key, and writes down what it is asked."""

    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []

    async def run(self, call: Any) -> KeyRecord | None:
        self.commands.append(tuple(call.command))
        known = find_key(hashlib.sha256(EXPIRED_SECRET.encode()).hexdigest())
        return replace(EXPIRED) if tuple(call.command) == tuple(known.command) else None


@pytest.mark.parametrize("secret", REFUSED.values(), ids=REFUSED)
async def test_every_refusal_takes_the_same_steps(secret: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return _constant_time(one, other)

    _constant_time = hmac.compare_digest
    monkeypatch.setattr("callboard_gateway.auth.hmac.compare_digest", compare)
    ledger = Asked()
    ring = KeyRing(ledger, RateLimiter(None, 0, 0), admin_secret=ADMIN)  # type: ignore[arg-type]
    for _ in range(2):  # and a refusal is not remembered, so that the second is no faster
        with pytest.raises(Unauthorized):
            await ring.by_secret(secret)
    assert len(ledger.commands) == 2
    lengths = {tuple(len(str(part)) for part in command) for command in ledger.commands}
    usual = {tuple(len(str(part)) for part in find_key("0" * 64).command)}
    assert lengths == usual
    assert set(compared) <= {(32, 32)}
    assert len(compared) == (0 if secret == EXPIRED_SECRET.encode() else 2)
