"""Encoders: from texts to vectors. Handlers know the interface; ``main`` picks what computes.

interface.py   Encoder, and the Forward (one pass of a model) that an engine implements
batching.py    TextEncoder: tokenizes, sorts by length, runs in parts of equal cost, pools
torch_engine.py, openvino_engine.py
export.py      runs in a process of its own: writes a model in OpenVINO's format
opening.py     which engine opens a model; Encoders, the few that a process holds
"""

from callboard_nlp.engines.interface import Encoded, Encoder, Pooling
from callboard_nlp.engines.opening import Encoders, open_encoder

__all__ = ["Encoded", "Encoder", "Encoders", "Pooling", "open_encoder"]
