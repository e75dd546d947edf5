from __future__ import annotations

import re

import pytest

from callboard_shared.access import SCOPES, new_key, new_secret, secret_hash


def test_a_key_has_256_random_bits_behind_a_readable_prefix() -> None:
    record, secret = new_key("ci", ["jobs:read"], created_ms=5, expires_ms=9)
    assert re.fullmatch(r"cb_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", secret)
    assert secret.startswith(record.prefix + "_") and len(record.prefix) == 11
    assert (record.name, record.scopes, record.created_ms, record.expires_ms) == ("ci", ("jobs:read",), 5, 9)
    assert record.id.startswith("key_")


def test_no_two_keys_are_alike() -> None:
    made = [new_key("k", SCOPES, created_ms=1) for _ in range(100)]
    assert len({secret for _, secret in made}) == len({record.id for record, _ in made}) == 100


def test_a_record_holds_nothing_of_the_secret_but_its_prefix() -> None:
    record, secret = new_key("k", SCOPES, created_ms=1)
    assert secret.removeprefix(record.prefix) not in repr(record)


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["jobs:read"], {"jobs:read"}),
        (["jobs:read", "jobs:write"], {"jobs:read", "jobs:write"}),
        (["admin"], set(SCOPES)),
        ([], set()),
    ],
)
def test_a_key_allows_its_scopes_and_admin_allows_all(scopes: list[str], allowed: set[str]) -> None:
    record, _ = new_key("k", scopes, created_ms=1)
    assert {scope for scope in SCOPES if record.allows(scope)} == allowed


def test_the_hash_is_sha_256_and_takes_whatever_a_header_may_hold() -> None:
    assert secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(secret_hash("\ud800 키")) == 64


def test_secrets_are_url_safe() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", new_secret()) for _ in range(100))
