"""Engines: what computes, behind plain interfaces. Handlers know those; ``main`` picks what stands behind them.

interface.py   Encoder, Classifier, and the Forward (one pass of a model) that an engine implements
batching.py    TextEncoder: tokenizes, sorts by length, runs in parts of equal cost, pools
classifying.py TextClassifier: the same for logits
torch_engine.py, openvino_engine.py
export.py      runs in a process of its own: writes a model in OpenVINO's format
opening.py     which engine opens a model
hub.py         fetches a model of the Hugging Face hub

finetune/, word2vec/, transformer/: what trains, a package a family; and what the trainings share:
telling.py     what a training tells, and how it is stopped
rhythm.py      when it is saved
metrics.py     how good labels are
plots.py       pictures of a training
"""

from callboard_nlp.engines.interface import Classified, Classifier, Encoded, Encoder, Pooling
from callboard_nlp.engines.opening import open_classifier, open_encoder

__all__ = ["Classified", "Classifier", "Encoded", "Encoder", "Pooling", "open_classifier", "open_encoder"]
