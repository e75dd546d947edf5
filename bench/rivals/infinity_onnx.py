"""Export an encoder for infinity's ONNX engine: as optimum does it, with torch's exporter that needs no onnxscript.

Arguments: folder of the model, folder for model.onnx. Run by the Python of bench/infinity.py's environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer


def main(folder: str, out: Path) -> None:
    """Write model.onnx, config.json and the tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    example = tokenizer(["A text.", "Another text, which is longer."], padding=True, return_tensors="pt")
    inputs, outputs = list(example), ["last_hidden_state", "pooler_output"]
    axes = {name: {0: "batch", 1: "tokens"} for name in [*inputs, outputs[0]]} | {outputs[1]: {0: "batch"}}
    model.config.return_dict = False
    torch.onnx.export(
        model, (dict(example),), str(out / "model.onnx"), input_names=inputs, output_names=outputs, dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    model.config.return_dict = True
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
