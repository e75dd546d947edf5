"""Settings of the courier."""

from __future__ import annotations

from pydantic import Field

from callboard_shared.settings import Settings


class CourierSettings(Settings):
    courier_slots: int = Field(default=64, ge=1, le=1024, description="System jobs at once in one courier.")
