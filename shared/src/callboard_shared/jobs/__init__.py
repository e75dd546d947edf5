"""The catalogue of job types, declared once. Pure: pydantic and the standard library only."""

from callboard_shared.jobs.base import Batch, Catalogue, Input, JobType, Limits, Output
from callboard_shared.jobs.nlp import EMBED, SIMILARITY
from callboard_shared.jobs.system import ECHO

CATALOGUE = Catalogue(EMBED, SIMILARITY, ECHO)

QUEUES = ("nlp", "nlp-train", "llm", "tts", "vision", "vision-train", "courier", "system")
"""Every queue that a worker of this release serves, with job types or (so far) without."""

__all__ = [
    "CATALOGUE", "ECHO", "EMBED", "QUEUES", "SIMILARITY",
    "Batch", "Catalogue", "Input", "JobType", "Limits", "Output",
]  # fmt: skip
