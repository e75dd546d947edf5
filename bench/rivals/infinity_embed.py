"""infinity-emb in one process, without its server. Run by the Python of bench/infinity.py's environment.

Arguments: a JSON file with the texts, and infinity's EngineArgs as JSON. Prints texts a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from infinity_emb import AsyncEngineArray, EngineArgs  # type: ignore[import-not-found]

WARM_UP = 256


async def main(texts: list[str], settings: dict[str, Any]) -> float:
    """All texts in one call, which infinity sorts by length and batches as it likes; the vectors stay arrays."""
    engine = AsyncEngineArray.from_args([EngineArgs(**settings)])[0]
    async with engine:
        await engine.embed(sentences=texts[:WARM_UP])
        start = time.perf_counter()
        vectors, _ = await engine.embed(sentences=texts)
        took = time.perf_counter() - start
    if len(vectors) != len(texts):
        raise RuntimeError(f"{len(vectors)} vectors of {len(texts)} texts")
    return len(texts) / took


if __name__ == "__main__":
    print(asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2]))))
