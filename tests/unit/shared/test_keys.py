"""The names of the keys are a promise: a stack that is updated finds its jobs again."""

from __future__ import annotations

import pytest

from callboard_shared.ledger import keys


def test_the_keys_of_a_queue_are_those_promised() -> None:
    assert keys.QUEUE_KEYS == {
        "job": "job:", "spec": "spec:", "output": "output:", "events": "events:", "waits": "waits:",
        "dependents": "dependents:", "ready": "ready", "line": "line:", "rota": "rota:", "due": "due",
        "expiry": "expiry", "blocked": "blocked", "waiting": "waiting", "running": "running", "caps": "caps", "lease": "lease", "ended": "ended",
        "settle": "settle", "outbox": "outbox", "subscribed": "subscribed", "owned": "owned:", "usage": "usage:", "feed": "feed:", "feeds": "feeds", "conversation": "conversation:",
        "turns": "turns:", "conversations": "conversations:", "pipeline": "pipeline:", "pipelines": "pipelines:",
        "batch": "batch:", "batches": "batches:", "open": "open", "faults": "faults:", "again": "again:", "tally": "tally:", "workers": "workers",
        "worker": "worker:", "runners": "runners", "listeners": "listeners", "wake": "wake:", "control": "control:",
        "bell": "bell", "stats": "stats", "meters": "meters",
    }  # fmt: skip


def test_the_keys_beside_the_queues_are_those_promised() -> None:
    assert (keys.NEWS, keys.SWEEP_LOCK) == ("cb:news:", "cb:{meta}:sweep-lock")
    assert (keys.SETTLE, keys.PIPELINES, keys.BATCHES) == ("cb:news:settle", "pipelines", "batches")
    assert keys.idempotency("key_1", "order 17") == "cb:{idem:key_1}:order 17"
    assert [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH, keys.ACCESS_TICKET, keys.ACCESS_SESSION] == [
        "cb:{access}:keys", "cb:{access}:by-hash", "cb:{access}:ticket:", "cb:{access}:session:",
    ]  # fmt: skip
    assert [keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY, keys.FILES_BYTES, keys.UPLOADS] == [
        "cb:{files}:record:", "cb:{files}:owned:", "cb:{files}:expiry", "cb:{files}:bytes", "cb:{files}:upload:",
    ]  # fmt: skip


def test_the_keys_of_webhooks_are_those_promised() -> None:
    assert (keys.HOOKS, keys.HOOK_NEWS) == ("cb:{hooks}:", "cb:hook-news")
    assert keys.HOOK_KEYS == {
        "delivery": "delivery:", "deliveries": "deliveries:", "sent_to": "sent-to:", "lane": "lane:", "lanes": "lanes",
        "parked": "parked:", "flying": "flying", "held": "held", "health": "health:", "last": "last:", "kept": "kept",
        "endpoint": "endpoint:", "endpoints": "endpoints:", "secret": "secret:", "counters": "counters",
        "revisions": "revisions", "inbox": "inbox:", "inboxes": "inboxes",
    }  # fmt: skip
    assert keys.hook("delivery", "whd_1") == "cb:{hooks}:delivery:whd_1"


def test_all_keys_of_a_queue_share_its_hash_tag() -> None:
    assert keys.of("nlp", "job", "job_1") == "cb:{nlp}:job:job_1"
    assert all(keys.of("nlp", name).startswith("cb:{nlp}:") for name in keys.QUEUE_KEYS)


@pytest.mark.parametrize("names", [keys.QUEUE_KEYS, keys.HOOK_KEYS], ids=["queue", "hooks"])
def test_no_key_can_be_taken_for_another(names: dict[str, str]) -> None:
    """A name that goes on (with an id) and one that does not, or two that go on, must not overlap."""
    suffixes = list(names.values())
    assert len(set(suffixes)) == len(suffixes)
    for open_ended in (suffix for suffix in suffixes if suffix.endswith(":")):
        assert [suffix for suffix in suffixes if suffix.startswith(open_ended)] == [open_ended]


def test_the_scripts_know_every_key_by_its_name() -> None:
    prelude = keys.lua_prelude()
    for name, suffix in keys.QUEUE_KEYS.items():
        assert f'{name} = KEYS[1] .. "{suffix}"' in prelude
