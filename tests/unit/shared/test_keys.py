"""The names of the keys are a promise: a stack that is updated finds its jobs again."""

from __future__ import annotations

from callboard_shared.ledger import keys


def test_the_keys_of_a_queue_are_those_promised() -> None:
    assert keys.QUEUE_KEYS == {
        "job": "job:", "spec": "spec:", "output": "output:", "events": "events:", "waits": "waits:",
        "dependents": "dependents:", "ready": "ready", "line": "line:", "rota": "rota:", "due": "due",
        "expiry": "expiry", "blocked": "blocked", "waiting": "waiting", "lease": "lease", "ended": "ended",
        "settle": "settle", "outbox": "outbox", "owned": "owned:", "usage": "usage:", "conversation": "conversation:",
        "turns": "turns:", "conversations": "conversations:", "workers": "workers",
        "worker": "worker:", "runners": "runners", "listeners": "listeners", "wake": "wake:", "control": "control:",
        "bell": "bell", "stats": "stats",
    }  # fmt: skip


def test_the_keys_beside_the_queues_are_those_promised() -> None:
    assert (keys.NEWS, keys.SWEEP_LOCK) == ("cb:news:", "cb:{meta}:sweep-lock")
    assert keys.idempotency("key_1", "order 17") == "cb:{idem:key_1}:order 17"
    assert [keys.ACCESS_KEYS, keys.ACCESS_BY_HASH, keys.ACCESS_TICKET, keys.ACCESS_SESSION] == [
        "cb:{access}:keys", "cb:{access}:by-hash", "cb:{access}:ticket:", "cb:{access}:session:",
    ]  # fmt: skip
    assert [keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY] == [
        "cb:{files}:record:", "cb:{files}:owned:", "cb:{files}:expiry",
    ]  # fmt: skip


def test_all_keys_of_a_queue_share_its_hash_tag() -> None:
    assert keys.of("nlp", "job", "job_1") == "cb:{nlp}:job:job_1"
    assert all(keys.of("nlp", name).startswith("cb:{nlp}:") for name in keys.QUEUE_KEYS)


def test_no_key_can_be_taken_for_another() -> None:
    """A name that goes on (with an id) and one that does not, or two that go on, must not overlap."""
    suffixes = list(keys.QUEUE_KEYS.values())
    assert len(set(suffixes)) == len(suffixes)
    for open_ended in (suffix for suffix in suffixes if suffix.endswith(":")):
        assert [suffix for suffix in suffixes if suffix.startswith(open_ended)] == [open_ended]


def test_the_scripts_know_every_key_by_its_name() -> None:
    prelude = keys.lua_prelude()
    for name, suffix in keys.QUEUE_KEYS.items():
        assert f'{name} = KEYS[1] .. "{suffix}"' in prelude
