"""What computes: the libraries are imported here, and nowhere else in the worker.

interface.py    Detector, and what handlers give it and get from it
opening.py      which engine opens a model, and which weights may be read
fetching.py     what ultralytics publishes, by name
description.py  what a model says of itself
detector.py     a network behind the interface: pictures in parts, by these:
placement.py    letterboxing, and the way back to the picture's pixels
decoding.py     from a network's output to findings; suppression.py, outlines.py
onnxruntime_engine.py, openvino_engine.py, torch_engine.py
tracking.py     follows what any of them finds from frame to frame
export.py       runs in a process of its own: writes weights as ONNX
quiet_ultralytics.py, openvino_alone.py, onnxruntime_alone.py: these libraries, kept to themselves
"""

from callboard_vision.engines.fetching import fetched
from callboard_vision.engines.interface import Detector, Findings, ModelFacts, Options, Pixels, VisionTask
from callboard_vision.engines.opening import open_detector

__all__ = [
    "Detector",
    "Findings",
    "ModelFacts",
    "Options",
    "Pixels",
    "VisionTask",
    "fetched",
    "open_detector",
]
