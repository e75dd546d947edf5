"""The model that a fine-tuning starts from: checked, opened, and given a head for the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from callboard_nlp.engines.torch_engine import read_vocabulary
from callboard_shared.errors import FinalError
from callboard_shared.models.shelf import ENCODER_TYPES

_SAFE = {"local_files_only": True, "trust_remote_code": False}


def open_base(folder: Path, name: str, labels: Sequence[str]) -> tuple[Any, Any, int]:
    """(model with a head for ``labels``, tokenizer, tokens that it reads of a text).

    A classifier of the very same labels keeps its head; any other model gets a new one, from torch's random numbers.
    Raises FinalError ``not-an-encoder``, ``unsupported-format`` or ``model-not-loadable``.
    """
    # A new head is what is wanted, and need not be warned of.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    _check(folder, name)
    try:
        vocabulary = read_vocabulary(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **_SAFE)  # nosec B615  # a local folder
        if tokenizer.pad_token is None:
            raise ValueError("its tokenizer has no padding token")
        return _with_head(folder, labels), tokenizer, vocabulary.window
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise FinalError(
            f"The base model {name} could not be loaded: {error}. Is its folder whole (config.json, tokenizer.json, "
            "model.safetensors)?",
            code="model-not-loadable",
        ) from error


def _check(folder: Path, name: str) -> None:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise FinalError(
            f"The base model {name} has no readable config.json.", code="model-not-loadable"
        ) from error
    kind = str(config.get("model_type"))
    if kind not in ENCODER_TYPES:
        raise FinalError(
            f"The base model {name} is no encoder but of the type {kind}. Take one of: "
            f"{', '.join(sorted(ENCODER_TYPES))}.",
            code="not-an-encoder",
        )
    if not any(folder.glob("*.safetensors")):
        raise FinalError(
            f"The base model {name} has no safetensors. Pickled weights can run code when they are read, so none are: "
            "convert them, for example with save_pretrained(…) of transformers.",
            code="unsupported-format",
        )


def _with_head(folder: Path, labels: Sequence[str]) -> Any:
    config = AutoConfig.from_pretrained(folder, **_SAFE)  # nosec B615  # a local folder
    knew = [str(config.id2label[index]) for index in sorted(config.id2label)]
    is_classifier = any("SequenceClassification" in name for name in config.architectures or ())
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    if is_classifier and knew != list(labels):
        return _new_head(folder, config)
    return AutoModelForSequenceClassification.from_pretrained(  # nosec B615  # a local folder
        folder, config=config, dtype=torch.float32, use_safetensors=True, **_SAFE
    )


def _new_head(folder: Path, config: Any) -> Any:
    """The encoder of a classifier under a head of its own: one as large as the old would be taken over otherwise."""
    fresh = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        config, dtype=torch.float32
    )
    trained = AutoModelForSequenceClassification.from_pretrained(  # nosec B615  # a local folder
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        **_SAFE,
    )
    fresh.base_model.load_state_dict(trained.base_model.state_dict())
    return fresh
