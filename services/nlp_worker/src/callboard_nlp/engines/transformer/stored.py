"""A trained Transformer's folder: config.json, tokenizer.json, model.safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from callboard_nlp.engines.transformer.model import Transformer
from callboard_nlp.engines.transformer.recipe import Architecture
from callboard_nlp.engines.transformer.tokenizer import PairTokenizer

_WEIGHTS, _TOKENIZER, _CONFIG = "model.safetensors", "tokenizer.json", "config.json"


def write(folder: Path, model: Transformer, tokenizer: PairTokenizer, window: int) -> None:
    """``window``: tokens of a source that the model was trained to read."""
    config = {
        "kind": "transformer", "vocabulary_size": tokenizer.size, "max_length": window, **asdict(model.shape),
        "parameters": model.shape.parameters(tokenizer.size), "positions": "sinusoidal", "normalization": "pre",
        "embeddings": "tied", "text_normalization": "NFC",
    }  # fmt: skip
    (folder / _CONFIG).write_text(json.dumps(config, indent=1))
    tokenizer.save(folder / _TOKENIZER)
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})


def read(folder: Path) -> tuple[Transformer, PairTokenizer, int]:
    """(model, tokenizer, tokens of a source that it reads). Raises OSError, ValueError, KeyError or RuntimeError."""
    config = json.loads((folder / _CONFIG).read_bytes())
    if config.get("kind") != "transformer":
        raise ValueError(f"config.json is of the kind {config.get('kind')!r}")
    shape = Architecture(**{name: config[name] for name in Architecture.__dataclass_fields__})
    model = Transformer(shape, int(config["vocabulary_size"]))
    model.load_state_dict(load_file(folder / _WEIGHTS))
    return model.eval(), PairTokenizer.opened(folder / _TOKENIZER), int(config["max_length"])
