"""What ``GET /v1/models`` says of a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ModelInfo(BaseModel):
    """A model that a job may name."""

    model_config = ConfigDict(protected_namespaces=())

    name: str = Field(description="As jobs name it; `name@version` of what was trained here.")
    kind: str = Field(default="encoder", description="encoder, classifier, word2vec, transformer, chat, …")
    task: str = Field(description="What it is good for: embed, classify, word2vec, seq2seq, chat.")
    source: str = Field(
        description="offline-pack, folder, hub, ultralytics, trained, or worker (announced by one)."
    )
    path: str | None = None
    bytes: int | None = None
    license: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    loaded: bool = False
    created_at: str | None = None
    job_id: str | None = Field(default=None, description="Of the job that trained it.")
    details: dict[str, Any] = Field(default_factory=dict)
    files: list[dict[str, Any]] = Field(
        default_factory=list, description="Its parts, to be fetched by `url`."
    )
