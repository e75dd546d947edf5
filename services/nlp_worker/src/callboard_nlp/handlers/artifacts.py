"""How a job's output names the files of the model that it made."""

from __future__ import annotations

from typing import Any

from callboard_shared.models import TrainedModel


def reference(model: TrainedModel, path: str) -> dict[str, Any]:
    """A ``FileReference`` to the file of the model at ``path``; KeyError if it has none there."""
    part = {part.path: part for part in model.files}[path]
    return {
        "file_id": part.id,
        "media_type": part.media_type,
        "bytes": part.bytes,
        "sha256": part.sha256,
        "url": f"/v1/files/{part.id}/content",
    }
