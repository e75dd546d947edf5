"""The yardstick of nlp.embed: plain transformers in one process, batch 32, as its users write it.

Arguments: folder of the model, threads, a JSON file with the texts. Prints texts a second.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

BATCH = 32


def main(folder: str, threads: int, texts: list[str]) -> float:
    """Tokenize, run, mean of the last hidden state over the unmasked tokens, normalize, to Python lists."""
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    def embed(batch: list[str]) -> list[list[float]]:
        encoded = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        hidden = model(**encoded).last_hidden_state
        mask = encoded["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean).tolist()

    with torch.inference_mode():
        for at in range(0, 8 * BATCH, BATCH):
            embed(texts[at : at + BATCH])
        start = time.perf_counter()
        for at in range(0, len(texts), BATCH):
            embed(texts[at : at + BATCH])
        return len(texts) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())))
