"""transformers on torch: the reference on a CPU (float32), and the engine for NVIDIA GPUs (16-bit floats)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from callboard_nlp.engines.interface import Computes, Floats, Ints, Vocabulary

_UNBOUNDED = 1_000_000
"""transformers says "no limit" by a huge ``model_max_length``."""


def read_vocabulary(folder: Path) -> Vocabulary:
    """The tokenizer as transformers would use it: with its own settings, and its window."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)  # nosec B615  # a local folder
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(f"the tokenizer of {folder.name} has no fast form (tokenizer.json)")
    if backend.get_vocab_size() <= len(set(tokenizer.all_special_ids)):
        # transformers makes an empty one where a folder has none, and every word would be unknown.
        raise ValueError(f"{folder.name} has no tokenizer (tokenizer.json, or the vocabulary of its kind)")
    config = json.loads((folder / "config.json").read_bytes())
    pad_id = int(tokenizer.pad_token_id or 0)
    positions = int(config.get("max_position_embeddings") or 512)
    if "roberta" in config.get("model_type", "") or config.get("model_type") in ("camembert", "mpnet"):
        positions -= pad_id + 1  # these count positions from behind the padding's id
    stated = int(tokenizer.model_max_length)
    return Vocabulary(backend, min(positions, stated) if stated < _UNBOUNDED else positions, pad_id)


OUTPUT_OF: dict[Computes, str] = {"embed": "last_hidden_state", "classify": "logits"}


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32, *, task: Computes = "embed"
) -> torch.nn.Module:
    """Safetensors only, and no code that comes with a model."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    family = AutoModel if task == "embed" else AutoModelForSequenceClassification
    model = family.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="sdpa",
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    return model.eval()  # type: ignore[no-any-return]


class TorchForward:
    """``threads`` is of this process; call it after the fork, as CUDA asks for."""

    def __init__(
        self, folder: Path, *, device: str, dtype: torch.dtype, threads: int, task: Computes = "embed"
    ) -> None:
        torch.set_num_threads(threads)
        self._device, self._task = torch.device(device), task
        self._model = load_model(folder, dtype, task=task).to(self._device)
        self.engine = f"torch {self._device.type} {str(dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def __call__(self, ids: Ints, mask: Ints, weights: Floats) -> Floats:
        where = self._device
        output = self._model(
            input_ids=torch.from_numpy(ids).to(where), attention_mask=torch.from_numpy(mask).to(where)
        )[OUTPUT_OF[self._task]].float()
        if self._task == "embed":
            output = torch.bmm(torch.from_numpy(weights).to(where).unsqueeze(1), output).squeeze(1)
        result: Floats = output.cpu().numpy()
        return result


def fastest_here(folder: Path, threads: int, *, exact: bool, task: Computes = "embed") -> TorchForward:
    """On a GPU if there is one (bfloat16, or float16 on older ones), else float32 on the CPU."""
    if not torch.cuda.is_available():
        return TorchForward(folder, device="cpu", dtype=torch.float32, threads=threads, task=task)
    half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    dtype = torch.float32 if exact else half
    return TorchForward(folder, device="cuda", dtype=dtype, threads=threads, task=task)
