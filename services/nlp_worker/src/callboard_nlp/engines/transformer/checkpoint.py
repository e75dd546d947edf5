"""All that a resumed training must know to go on as if nothing had been: safetensors and JSON, no pickle.

checkpoint.safetensors   weights, Adam's moments, random numbers
training.json            where it was, and what it had measured
tokenizer.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from callboard_nlp.engines.transformer.model import Transformer
from callboard_nlp.engines.transformer.tokenizer import PairTokenizer

_TENSORS, _STATE, _TOKENIZER = "checkpoint.safetensors", "training.json", "tokenizer.json"


@dataclass(slots=True)
class Progress:
    """epoch: from 0; batch: the next one within it; step: optimizer steps so far; nll, wanted: the sum of the losses
    and the tokens of the epoch so far; tokens: of all epochs, sources included."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    nll: float = 0.0
    wanted: int = 0
    tokens: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save(
    folder: Path, model: Transformer, optimizer: torch.optim.Optimizer, tokenizer: PairTokenizer, at: Progress
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / _TENSORS)
    tokenizer.save(folder / _TOKENIZER)
    (folder / _STATE).write_text(json.dumps(asdict(at)))


def tokenizer_of(folder: Path) -> PairTokenizer:
    return PairTokenizer.opened(folder / _TOKENIZER)


def restore(folder: Path, model: Transformer, optimizer: torch.optim.Optimizer) -> Progress:
    """Into a model and an optimizer that are made alike, on the device where they are to be."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "random": {}}
    for name, tensor in load_file(folder / _TENSORS).items():
        part, rest = name.split(".", 1)
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, rest = name.split(".", 1)
        states.setdefault(int(number), {})[rest] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    torch.set_rng_state(parts["random"]["cpu"])
    if torch.cuda.is_available() and "cuda" in parts["random"]:
        torch.cuda.set_rng_state(parts["random"]["cuda"])
    return Progress(**json.loads((folder / _STATE).read_bytes()))
