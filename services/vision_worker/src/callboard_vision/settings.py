"""Settings of the vision worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from callboard_shared.settings import Settings, cpu_count

EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
Precision = Literal["auto", "float32"]


class VisionSettings(Settings):
    """How this worker computes: engine, threads, and which queues it serves."""

    vision_engine: EngineName = Field(
        default="auto",
        description="auto: torch on an NVIDIA GPU, else what was measured to be fastest on a CPU.",
    )
    vision_precision: Precision = Field(
        default="auto",
        description="auto: on a CPU that has them 16-bit floats, where a model's findings stay the same.",
    )
    vision_threads: int = Field(
        default_factory=cpu_count, ge=1, description="Threads of one process; all cores."
    )
    vision_queues: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("vision",), description="Comma-separated."
    )
    vision_concurrency: int = Field(
        default=1, ge=1, description="Processes, each with its own copy of the models; one a GPU."
    )

    vision_video_max_pixels: int = Field(
        default=8192 * 4320,
        gt=0,
        description="Width times height of a video's frames; several are held at once.",
    )
    offline: bool = Field(
        default=False, description="No model is fetched from a network; what is here has to do."
    )
    vision_font: Path | None = Field(
        default=None,
        description="A TrueType font for labels in scripts that OpenCV's own fonts lack (Thai, emoji, …).",
    )

    @field_validator("vision_queues", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
