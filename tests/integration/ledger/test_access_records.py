"""API keys, sessions and tickets in the ledger: found by their hash only, and gone when taken back."""

from __future__ import annotations

import redis

from callboard_shared import access
from callboard_shared.ledger import Ledger


def test_a_key_is_found_by_the_hash_of_its_secret_and_the_secret_is_nowhere(
    real_ledger: Ledger, valkey_url: str
) -> None:
    record, secret = access.new_key("ci", ["jobs:read"], created_ms=5, expires_ms=9)
    real_ledger.run(access.put_key(record, secret))
    assert real_ledger.run(access.find_key(access.secret_hash(secret))) == record
    assert real_ledger.run(access.get_key(record.id)) == record
    assert real_ledger.run(access.find_key(access.secret_hash(secret + "x"))) is None
    with redis.Redis.from_url(valkey_url) as client:
        stored = b"".join(client.dump(key) for key in client.scan_iter())
    assert secret.encode() not in stored and secret[12:].encode() not in stored


def test_keys_are_listed_newest_first(real_ledger: Ledger) -> None:
    made = [access.new_key(name, ["admin"], created_ms=1) for name in ("one", "two", "three")]
    for record, secret in made:
        real_ledger.run(access.put_key(record, secret))
    assert [record.name for record in real_ledger.run(access.list_keys())] == ["three", "two", "one"]


def test_a_deleted_key_is_found_no_more_and_the_others_are(real_ledger: Ledger) -> None:
    (gone, gone_secret), (kept, kept_secret) = (access.new_key(n, ["admin"], created_ms=1) for n in "ab")
    real_ledger.run(access.put_key(gone, gone_secret))
    real_ledger.run(access.put_key(kept, kept_secret))
    assert real_ledger.run(access.delete_key(gone.id)) is True
    assert real_ledger.run(access.delete_key(gone.id)) is False
    assert real_ledger.run(access.find_key(access.secret_hash(gone_secret))) is None
    assert real_ledger.run(access.find_key(access.secret_hash(kept_secret))) == kept


def test_a_ticket_signs_in_once(real_ledger: Ledger) -> None:
    secret = access.new_secret()
    real_ledger.run(access.put_ticket(secret, "key_1"))
    assert [real_ledger.run(access.take_ticket(secret)) for _ in range(2)] == ["key_1", None]
    assert real_ledger.run(access.take_ticket("another")) is None


def test_a_session_lasts_until_it_is_ended_or_its_time_is_up(real_ledger: Ledger, valkey_url: str) -> None:
    secret = access.new_secret()
    real_ledger.run(access.put_session(secret, "key_1", ttl_s=60))
    assert real_ledger.run(access.get_session(secret)) == "key_1"
    with redis.Redis.from_url(valkey_url) as client:
        (key,) = client.keys("cb:{access}:session:*")
        assert 0 < client.ttl(key) <= 60
        assert secret.encode() not in key
    real_ledger.run(access.delete_session(secret))
    assert real_ledger.run(access.get_session(secret)) is None
