"""sentence-transformers' ``encode`` in one process.

Arguments: folder of the model, a JSON file with the texts, and {"dtype": …, "batch_size": …} as JSON. Prints texts
a second.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

WARM_UP = 256


def main(folder: str, texts: list[str], settings: dict[str, Any]) -> float:
    """All texts in one call, which encode sorts by length; the vectors stay arrays."""
    model = SentenceTransformer(folder, model_kwargs={"dtype": settings["dtype"]})

    def embed(some: list[str]) -> Any:
        return model.encode(
            some, batch_size=settings["batch_size"], normalize_embeddings=True, show_progress_bar=False
        )

    embed(texts[:WARM_UP])
    start = time.perf_counter()
    embed(texts)
    return len(texts) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), json.loads(sys.argv[3])))
