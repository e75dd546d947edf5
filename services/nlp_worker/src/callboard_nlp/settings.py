"""Settings of the NLP worker."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from callboard_shared.settings import Settings, cpu_count

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "float32"]


class NlpSettings(Settings):
    """How this worker computes: engine, threads, and how many models it holds."""

    nlp_engine: EngineName = Field(
        default="auto", description="auto: torch on an NVIDIA GPU, else OpenVINO, else torch on the CPU."
    )
    nlp_precision: Precision = Field(
        default="auto",
        description="auto: 16-bit floats where the hardware has them and vectors stay the same.",
    )
    nlp_threads: int = Field(
        default_factory=cpu_count, ge=1, description="Threads of one process; all cores."
    )
    nlp_queues: Annotated[tuple[str, ...], NoDecode] = Field(default=("nlp",), description="Comma-separated.")
    nlp_concurrency: int = Field(
        default=1, ge=1, description="Processes, each with its own copy of the models."
    )

    @field_validator("nlp_queues", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
