"""ONNX Runtime told, before it is loaded, not to report its use to its maker.

Since 1.32 its builds for Linux do, unless this variable is set: they keep an id of the machine and a list of events in
``~/.cache/Microsoft``, and send them. Whatever uses ONNX Runtime takes it from here.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
