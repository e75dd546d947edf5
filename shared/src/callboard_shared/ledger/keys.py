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
    "waiting": "waiting",  # hash owner -> jobs not started, those of batches not counted
    "running": "running",  # hash owner -> jobs that run
    "caps": "caps",  # hash owner -> "running waiting": what a key with limits of its own may have (0: as others)
    # what runs and what ended
    "lease": "lease",  # zset id -> ms at which the claim lapses
    "ended": "ended",  # zset id -> ms at which it is forgotten
    "settle": "settle",  # set of "id outcome queue id": dependents to be told
    "outbox": "outbox",  # stream of {event, subject, owner, type, at, run, keep, url}: events to tell by webhook
    "subscribed": "subscribed",  # hash owner -> "revision events": what the owner's endpoints want to hear of
    "owned": "owned:",  # + owner: zset id -> ms of creation
    "usage": "usage:",  # + owner:day: hash "type|figure" -> sum
    # what happens to all jobs of an owner, while somebody follows it
    "feed": "feed:",  # + owner: stream of {kind, job, type, data}
    "feeds": "feeds",  # hash owner -> "ms gateways…": until when its feed is kept, and who is told of it
    # conversations, with the jobs that speak in them
    "conversation": "conversation:",  # + id: hash owner title model system created updated keep bytes (of its
    # turns' JSON); while a job answers running (its id), told (the system message then), asked (the model then)
    "turns": "turns:",  # + id: list of "role job ms status JSON", oldest first
    "conversations": "conversations:",  # + owner: zset id -> ms of creation
    # pipelines, under PIPELINES; of the keys above they use due (id -> ms at which the courier is to see to what a
    # gateway left undone), ended and outbox
    "pipeline": "pipeline:",  # + id: hash owner created spec hook retention left (steps that have not ended) jobs
    # (until all are submitted), "end:job" -> its status; once so canceling, watch; at the end status, finished
    "pipelines": "pipelines:",  # + owner: zset id -> ms of creation
    # batches, under BATCHES; of the keys above they use due (id -> ms at which a courier is to go on with it), ended
    # and outbox. The tallies are with the jobs.
    "batch": "batch:",  # + id: hash owner created spec hook retention attempt (of the courier that has it); once so
    # total, offset, line, read (how far its file is, and how many lines that was), invalid, problem (why no more of it
    # is read), waits (why not now), canceling, told (its jobs are canceled), output and errors (ids of its files),
    # watch; at the end status, finished, counts, results
    "batches": "batches:",  # + owner: zset id -> ms of creation
    "open": "open",  # hash owner -> batches that have not ended
    "faults": "faults:",  # + id: list of JSON, the lines that are no valid jobs, in order
    "again": "again:",  # + id: of an ended one, the lines that a retry runs, as "3-7,9"
    "tally": "tally:",  # + id: hash submitted, and a status -> jobs that ended so; until the batch has ended
    # workers
    "workers": "workers",  # zset worker -> ms until which it counts as online
    "worker": "worker:",  # + worker: hash
    "runners": "runners",  # zset runner -> ms: processes that are answering a bell
    "listeners": "listeners",  # zset runner -> ms: idle answerers that still listen
    "wake": "wake:",  # + runner: list, wakes a listener
    "control": "control:",  # + runner: list of job ids to look at (cancels)
    "bell": "bell",  # hash waiting, rung_at
    "stats": "stats",  # hash: sequence, turn, rates, means, counters, paused
    "meters": "meters",  # hash "what|labels…" -> n: what /metrics shows of the queue (see metering.py)
}

_SECONDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000)
METER_BOUNDS = {
    "wait": _SECONDS_MS,  # ms from ready to claimed
    "run": (*_SECONDS_MS, 7_200_000, 28_800_000),  # ms from claimed to ended
    "batch": (1, 2, 4, 8, 16, 32, 64, 128),  # jobs of one claim
}
"""Upper bounds of the buckets of the histograms that the scripts keep; what is above all falls into one more."""

NEWS = "cb:news:"
"""+ gateway: pub/sub channel on which the scripts say that a watched job changed."""

FEED_LENGTH = 10_000
"""Entries of a feed that are kept, about."""
SETTLE = NEWS + "settle"
"""Pub/sub channel on which the scripts say of which queue dependents are to be told."""

BATCHES = "batches"
"""Stands for a queue in the keys of batches, whose lines are jobs of real ones."""
PIPELINES = "pipelines"
"""Stands for a queue in the keys of pipelines, whose steps are jobs of real ones."""


def base(queue: str) -> str:
    return f"cb:{{{queue}}}:"


def of(queue: str, name: str, rest: str = "") -> str:
    """The key ``name`` (see QUEUE_KEYS) of a queue, for example ``of("nlp", "job", job_id)``."""
    return f"{base(queue)}{QUEUE_KEYS[name]}{rest}"


EVERYTHING = "cb:*"
"""Pattern of every key of ours; Celery's are in the same Redis."""
SCHEMA = "cb:{meta}:schema"  # string: the version of this layout (see schema.py)
MIGRATION_LOCK = "cb:{meta}:migration-lock"
MIGRATED_FILES = "cb:{files}:migrated"  # set of keys of records, while these are counted
SWEEP_LOCK = "cb:{meta}:sweep-lock"


def idempotency(owner: str, key: str) -> str:
    return f"cb:{{idem:{owner}}}:{key}"


HOOKS = "cb:{hooks}:"
"""Webhooks: endpoints, secrets and deliveries share a tag. The scripts about them get it as ``KEYS[1]``."""
HOOK_KEYS = {
    "delivery": "delivery:",  # + id: hash
    "deliveries": "deliveries:",  # + owner: zset id -> ms of creation
    "sent_to": "sent-to:",  # + endpoint: zset id -> ms of creation
    "lane": "lane:",  # + lane: zset id -> ms at which it is due: what is to go to one destination
    "lanes": "lanes",  # zset lane -> ms at which its first is due
    "parked": "parked:",  # + host: zset lane -> ms: lanes that have something due, and wait for room at the host
    "flying": "flying",  # hash lane or @host -> tries under way
    "held": "held",  # zset id -> ms at which the claim lapses
    "health": "health:",  # + lane: hash failures since open_until: of tries in a row that failed
    "last": "last:",  # + lane|subject: the newest delivery of a subject of which more may come
    "kept": "kept",  # zset id -> ms at which an ended delivery is forgotten
    "endpoint": "endpoint:",  # + id: hash
    "endpoints": "endpoints:",  # + owner: zset id -> ms of creation
    "secret": "secret:",  # + owner: hash secret, old: signs what goes to the URLs of its jobs  # nosec B105  # a name
    "counters": "counters",  # hash outcome -> deliveries
    "revisions": "revisions",  # hash owner -> number of changes of its endpoints
    "inbox": "inbox:",  # + name: list of JSON, newest first
    "inboxes": "inboxes",  # zset name -> ms of the last receipt
}
HOOK_NEWS = "cb:hook-news"
"""Pub/sub channel on which the scripts say that an outbox, or a lane, has something for the couriers."""

# API keys, console sessions and one-time sign-in tickets
ACCESS_KEYS = "cb:{access}:keys"  # hash key id -> JSON record
ACCESS_BY_HASH = (
    "cb:{access}:by-hash"  # hash sha256 -> key id (and ms: until when one that was replaced still holds)
)
ACCESS_USED = "cb:{access}:used"  # hash key id -> ms of its last use, to some seconds
ACCESS_AUDIT = "cb:{access}:audit"  # stream of {act, by, of, detail}: what admins did
ACCESS_TICKET = "cb:{access}:ticket:"  # + sha256: key id
ACCESS_SESSION = "cb:{access}:session:"  # + sha256: key id

RATE_LIMITS = "cb:limits"  # prefix of the counters of requests

# files
FILE_RECORDS = "cb:{files}:record:"  # + id: JSON record
FILES_OWNED = "cb:{files}:owned:"  # + owner: zset id -> ms of creation
FILES_EXPIRY = "cb:{files}:expiry"  # zset id -> ms
FILES_BYTES = "cb:{files}:bytes"  # hash owner -> bytes of all its files
UPLOADS = "cb:{files}:upload:"  # + id: hash, a file that arrives in parts; goes by itself when nothing comes

# models that were trained here, and checkpoints of training; with the files, since they change together
MODELS = "cb:{files}:models:"  # + owner: hash "name@version" -> JSON record
MODEL_VERSIONS = "cb:{files}:model-versions:"  # + owner: hash name -> last version given
MODEL_JOBS = "cb:{files}:model-jobs:"  # + owner: hash "job name" -> "name@version"
CHECKPOINTS = "cb:{files}:checkpoint:"  # + job: list of JSON manifests, newest first

# voices that workers announce
VOICES = "cb:{voices}:"  # + provider: JSON list


def queue_and_id(key: str, name: str) -> tuple[str, str]:
    """Of a key as ``of`` makes it for this name."""
    queue, _, rest = key.removeprefix("cb:{").partition("}:")
    return queue, rest.removeprefix(QUEUE_KEYS[name])


def pattern(prefix: str) -> str:
    """Matches the keys that begin so."""
    return prefix + "*"  # none of our prefixes has a character that means something in a pattern


def hook(name: str, rest: str = "") -> str:
    """The key ``name`` (see HOOK_KEYS), for example ``hook("delivery", delivery_id)``."""
    return f"{HOOKS}{HOOK_KEYS[name]}{rest}"


def lua_prelude(names: dict[str, str] = QUEUE_KEYS) -> str:
    """Lua lines that give the scripts the same names."""
    entries = ", ".join(f'{name} = KEYS[1] .. "{suffix}"' for name, suffix in names.items())
    said = {
        "NEWS": NEWS,
        "SETTLE": SETTLE,
        "PIPELINES": PIPELINES,
        "FEED_LENGTH": FEED_LENGTH,
        "HOOK_NEWS": HOOK_NEWS,
    }
    constants = ", ".join(f'"{value}"' for value in said.values())
    bounds = ", ".join(f"{name} = {{ {', '.join(map(str, of))} }}" for name, of in METER_BOUNDS.items())
    return (
        f"local K = {{ {entries} }}\nlocal {', '.join(said)} = {constants}\n"
        f"local METER_BOUNDS = {{ {bounds} }}\n"
    )
