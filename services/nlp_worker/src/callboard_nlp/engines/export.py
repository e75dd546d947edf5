"""Writes a model in OpenVINO's format: ``python -m callboard_nlp.engines.export SOURCE TARGET embed|classify``.

It runs in a process of its own, so that a worker never holds torch. TARGET gets ``model.xml`` and ``model.bin``
(float32), ``tokenizer.json`` and ``encoder.json`` as transformers would read them, and ``probe.npz``: a padded
batch with what torch computes for it (last hidden states, or logits), by which the worker checks what it loads.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callboard_nlp.engines.interface import Computes, Ints, Vocabulary
from callboard_nlp.engines.openvino_alone import openvino  # before anything of openvino's own
from callboard_nlp.engines.torch_engine import OUTPUT_OF, load_model, read_vocabulary

from openvino.frontend import FrontEndManager  # isort: skip
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # isort: skip

_PROBE = (
    "A callboard shows the work that waits.",
    "Refunds are paid within a week!",
    "역에서 일하는 사람들은 게시판을 봅니다.",
    "x = 3.14159; print(f'{x:.2f}')  # 12,345 items @ 50 %",
    "no",
    "Crews take their work from the board, in the order in which it was posted. " * 8,
)


class _Output(torch.nn.Module):
    """One tensor of a model's output: what an engine needs of it."""

    def __init__(self, model: torch.nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask)[self.name]
        return output


def export(source: Path, target: Path, task: Computes) -> None:
    vocabulary = read_vocabulary(source)
    model = _Output(load_model(source, task=task), OUTPUT_OF[task]).eval()
    ids, mask = _probe_batch(vocabulary)
    example = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    with torch.inference_mode():
        output = model(**example).numpy()
    # The front end itself and not ``convert_model``, which reports its use to its maker.
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = _converted(TorchScriptPythonDecoder(model, example_input=example))
    openvino.save_model(graph, target / "model.xml", compress_to_fp16=False)
    vocabulary.tokenizer.no_truncation()
    vocabulary.tokenizer.no_padding()
    vocabulary.tokenizer.save(str(target / "tokenizer.json"))
    described = {"window": vocabulary.window, "pad_id": vocabulary.pad_id}
    (target / "encoder.json").write_text(json.dumps(described))
    np.savez(target / "probe.npz", ids=ids, mask=mask, output=output.astype(np.float32))


def _converted(decoder: Any) -> Any:
    front_end = FrontEndManager().load_by_framework("pytorch")
    graph = front_end.convert(front_end.load(decoder))
    for node in graph.inputs:
        node.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        node.get_node().set_element_type(openvino.Type.i64)
    graph.validate_nodes_and_infer_types()
    return graph


def _probe_batch(vocabulary: Vocabulary) -> tuple[Ints, Ints]:
    tokenizer = vocabulary.tokenizer
    tokenizer.enable_truncation(vocabulary.window)
    tokenizer.no_padding()
    rows = [encoding.ids for encoding in tokenizer.encode_batch(_PROBE)]
    length = max(map(len, rows))
    ids = np.full((len(rows), length), vocabulary.pad_id, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]), "classify" if sys.argv[3] == "classify" else "embed")
