"""The catalogue of job types, declared once. Pure: pydantic and the standard library only."""

from callboard_shared.jobs.base import (
    UNION_TAGS,
    Batch,
    Catalogue,
    FileInput,
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    Output,
    PictureInput,
    Task,
)
from callboard_shared.jobs.llm import CHAT
from callboard_shared.jobs.nlp import (
    CLASSIFY,
    EMBED,
    EVALUATE,
    FINETUNE,
    SIMILARITY,
    TRANSFORMER_GENERATE,
    TRANSFORMER_TRAIN,
    WORD2VEC_QUERY,
    WORD2VEC_TRAIN,
)
from callboard_shared.jobs.system import ECHO
from callboard_shared.jobs.tts import SPEECH
from callboard_shared.jobs.vision import DETECT, TRACK, TRAIN

CATALOGUE = Catalogue(
    EMBED, SIMILARITY, CLASSIFY, FINETUNE, EVALUATE, WORD2VEC_TRAIN, WORD2VEC_QUERY, TRANSFORMER_TRAIN,
    TRANSFORMER_GENERATE, CHAT, SPEECH, DETECT, TRACK, TRAIN, ECHO,
)  # fmt: skip

QUEUES = ("nlp", "nlp-train", "llm", "tts", "vision", "vision-train", "courier", "system")
"""Every queue that a worker of this release serves."""

__all__ = [
    "CATALOGUE", "CHAT", "CLASSIFY", "DETECT", "ECHO", "EMBED", "EVALUATE", "FINETUNE", "QUEUES",
    "SIMILARITY", "SPEECH", "TRACK", "TRAIN", "TRANSFORMER_GENERATE", "TRANSFORMER_TRAIN", "UNION_TAGS",
    "WORD2VEC_QUERY", "WORD2VEC_TRAIN", "Batch", "Catalogue", "FileInput", "FileReference", "Input", "JobType",
    "Limits", "ModelReference", "Output", "PictureInput", "Task",
]  # fmt: skip
