"""Every Redis key of the ledger, by name.

Keys that change together carry one hash tag, so that queues can be spread over a Redis Cluster:
all that belongs to the jobs of queue ``nlp`` begins with ``cb:{nlp}:``. The Lua scripts get that base as
``KEYS[1]`` and the suffixes below as the table ``K``; nothing else in the code spells a key.
"""

from __future__ import annotations

QUEUE_KEYS = {
    # one per job
    "job": "job:",  # + id: hash, the small mutable facts
    "spec": "spec:",  # + id: string, JSON as submitted (input, metadata, webhook, …)
    "output": "output:",  # + id: string, JSON
    "events": "events:",  # + id: stream of {kind, data}
    "waits": "waits:",  # + id: set, the jobs that this one waits for
    "dependents": "dependents:",  # + id: set of "queue id" that wait for this one
    # what waits
    "ready": "ready",  # hash priority -> number of ready jobs
    "line": "line:",  # + priority:owner: zset id -> sequence, one owner's ready jobs
    "rota": "rota:",  # + priority: zset owner -> turn, the owners that have ready jobs
    "due": "due",  # zset id -> ms: scheduled and backing off
    "expiry": "expiry",  # zset id -> ms: to be started by then
    "blocked": "blocked",  # zset id -> ms at which the sweep registers it again with what it waits for
    "waiting": "waiting",  # hash owner -> jobs not started
    # what runs and what ended
    "lease": "lease",  # zset id -> ms at which the claim lapses
    "ended": "ended",  # zset id -> ms at which it is forgotten
    "settle": "settle",  # set of "id outcome queue id": dependents to be told
    "outbox": "outbox",  # stream of {event, job}: webhook deliveries to make
    "owned": "owned:",  # + owner: zset id -> ms of creation
    "usage": "usage:",  # + owner:day: hash "type|figure" -> sum
    # conversations, with the jobs that speak in them
    "conversation": "conversation:",  # + id: hash owner title model system created updated keep bytes (of its
    # turns' JSON); while a job answers running (its id), told (the system message then), asked (the model then)
    "turns": "turns:",  # + id: list of "role job ms status JSON", oldest first
    "conversations": "conversations:",  # + owner: zset id -> ms of creation
    # workers
    "workers": "workers",  # zset worker -> ms until which it counts as online
    "worker": "worker:",  # + worker: hash
    "runners": "runners",  # zset runner -> ms: processes that are answering a bell
    "listeners": "listeners",  # zset runner -> ms: idle answerers that still listen
    "wake": "wake:",  # + runner: list, wakes a listener
    "control": "control:",  # + runner: list of job ids to look at (cancels)
    "bell": "bell",  # hash waiting, rung_at
    "stats": "stats",  # hash: sequence, turn, rates, means, counters, paused
}

NEWS = "cb:news:"
"""+ gateway: pub/sub channel on which the scripts say that a watched job changed."""


def base(queue: str) -> str:
    return f"cb:{{{queue}}}:"


def of(queue: str, name: str, rest: str = "") -> str:
    """The key ``name`` (see QUEUE_KEYS) of a queue, for example ``of("nlp", "job", job_id)``."""
    return f"{base(queue)}{QUEUE_KEYS[name]}{rest}"


SWEEP_LOCK = "cb:{meta}:sweep-lock"


def idempotency(owner: str, key: str) -> str:
    return f"cb:{{idem:{owner}}}:{key}"


# API keys, console sessions and one-time sign-in tickets
ACCESS_KEYS = "cb:{access}:keys"  # hash key id -> JSON record
ACCESS_BY_HASH = "cb:{access}:by-hash"  # hash sha256 -> key id
ACCESS_TICKET = "cb:{access}:ticket:"  # + sha256: key id
ACCESS_SESSION = "cb:{access}:session:"  # + sha256: key id

# files
FILE_RECORDS = "cb:{files}:record:"  # + id: JSON record
FILES_OWNED = "cb:{files}:owned:"  # + owner: zset id -> ms of creation
FILES_EXPIRY = "cb:{files}:expiry"  # zset id -> ms

# models that were trained here, and checkpoints of training; with the files, since they change together
MODELS = "cb:{files}:models:"  # + owner: hash "name@version" -> JSON record
MODEL_VERSIONS = "cb:{files}:model-versions:"  # + owner: hash name -> last version given
MODEL_JOBS = "cb:{files}:model-jobs:"  # + owner: hash "job name" -> "name@version"
CHECKPOINTS = "cb:{files}:checkpoint:"  # + job: list of JSON manifests, newest first

# voices that workers announce
VOICES = "cb:{voices}:"  # + provider: JSON list


def lua_prelude() -> str:
    """Lua lines that give the scripts the same names."""
    entries = ", ".join(f'{name} = KEYS[1] .. "{suffix}"' for name, suffix in QUEUE_KEYS.items())
    return f'local K = {{ {entries} }}\nlocal NEWS = "{NEWS}"\n'
