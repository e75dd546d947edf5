"""OpenVINO without the package by which it reports each import to its maker (openvino-telemetry).

It does without: a module that is known to be absent makes it load its own stub. Whatever uses OpenVINO takes it
from here, so that no process of ours imports it first.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

__all__ = ["openvino"]
