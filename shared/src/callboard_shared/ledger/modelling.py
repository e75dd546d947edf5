"""The records of trained models and of training's checkpoints (their contents are files in the object store)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callboard_shared.files import FileRecord
from callboard_shared.ledger import keys
from callboard_shared.ledger.client import Call, lua
from callboard_shared.models.trained import Checkpoint, TrainedModel

_KEYS = [
    keys.FILE_RECORDS, keys.FILES_OWNED, keys.FILES_EXPIRY, keys.MODELS, keys.MODEL_VERSIONS, keys.MODEL_JOBS,
    keys.CHECKPOINTS, keys.FILES_BYTES,
]  # fmt: skip


def publish_model(model: TrainedModel, files: Sequence[FileRecord]) -> Call[tuple[TrainedModel, bool]]:
    """Give the model its version and put it and its files on record, all at once. Once a job and name: what was
    published before comes back as it is, and then the answer's second part is true."""
    args = ["publish", model.owner, model.name, model.job_id, model.to_json(), *_rows(files)]
    return lua("model", _KEYS, args, lambda reply: (_model(reply[0], reply[2]), bool(reply[1])))


def find_model(owner: str, name: str) -> Call[TrainedModel | None]:
    """By ``name@version``; by ``name`` alone its newest version."""
    return lua("model", _KEYS, ["find", owner, name], lambda reply: _model(*reply) if reply else None)


def list_models(owner: str) -> Call[list[TrainedModel]]:
    """All of an owner's, newest first."""
    return Call(
        ("HGETALL", keys.MODELS + owner),
        lambda reply: sorted(
            (_model(*pair) for pair in _pairs(reply)), key=lambda one: (-one.created_ms, one.full_name)
        ),
    )


def remove_model(owner: str, full_name: str) -> Call[TrainedModel | None]:
    """Forget a model and the records of its files; their contents are the caller's to delete."""
    return lua(
        "model",
        _KEYS,
        ["remove", owner, full_name],
        lambda reply: _model(full_name, reply) if reply else None,
    )


def save_checkpoint(
    checkpoint: Checkpoint, files: Sequence[FileRecord], *, keep: int, expires_ms: int, ttl_ms: int
) -> Call[tuple[bool, list[Checkpoint]]]:
    """Whether it counts (not if a later attempt of the job has saved one), and those that made room for it."""
    args = [
        "save", checkpoint.job_id, checkpoint.attempt, keep, ttl_ms, checkpoint.to_json(), expires_ms,
        checkpoint.owner, *_rows(files),
    ]  # fmt: skip
    return lua("model", _KEYS, args, lambda reply: (bool(reply[0]), _checkpoints(reply[1])))


def checkpoints(job_id: str) -> Call[list[Checkpoint]]:
    """A job's, newest first."""
    return Call(("LRANGE", keys.CHECKPOINTS + job_id, 0, -1), _checkpoints)


def forget_checkpoints(job_id: str) -> Call[list[Checkpoint]]:
    """Forget all of a job's; gives them back, since their contents are the caller's to delete."""
    return lua("model", _KEYS, ["forget", job_id], _checkpoints)


def _rows(files: Sequence[FileRecord]) -> list[Any]:
    return [part for file in files for part in (file.id, file.created_ms, file.to_json())]


def _model(full_name: bytes | str, record: bytes) -> TrainedModel:
    name = full_name.decode() if isinstance(full_name, bytes) else full_name
    return TrainedModel.from_json(record, version=int(name.rpartition("@")[2]))


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))


def _checkpoints(reply: Any) -> list[Checkpoint]:
    return [Checkpoint.from_json(text) for text in reply]
