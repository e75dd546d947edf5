"""Row group h: nlp.word2vec.train beside bare gensim on the same file, settings and threads."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench.processes import output
from bench.report import Row, at_least, beside, plain
from bench.scale import Scale
from bench.stack import TRAIN_ONLY, stack
from bench.training import train, upload
from callboard_shared.settings import cpu_count

GROUP = (
    "h. nlp.word2vec.train (CBOW, 100 wide, 5 epochs) on gensim's news documents, repeated; gensim runs alone"
)
SETTINGS = {"vector_size": 100, "window": 5, "min_count": 5, "sg": 0, "negative": 5, "epochs": 5}
SOURCES = {"corpus_file": "its threads read the file", "sentences": "LineSentence"}
WARM_UP = {"sentences": [["warm", "up"]] * 50, "min_count": 1, "epochs": 2, "name": "warm"}
UNIT = "words/s"
LEE = "from gensim.test.utils import datapath; print(datapath('lee_background.cor'))"


def rows(scale: Scale) -> Iterator[Row]:
    """gensim (nothing of Callboard running) and job in turn; the medians are compared."""
    runs: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        corpus = Path(folder, "corpus.txt")
        words = _write(corpus, scale.corpus_words)
        for _ in range(scale.rounds):
            for source in SOURCES:
                bare = _bare(corpus, source, Path(folder, "vectors"))
                runs[source].append(bare["words_per_s"])
                runs[f"{source} whole"].append(bare["whole_words_per_s"])
            with stack(TRAIN_ONLY) as running:
                train(running, "nlp.word2vec.train", WARM_UP)
                file = {"file_id": upload(running, corpus)}
                value = {"file": file, "tokenizer": "whitespace", "name": "bench", **SETTINGS}
                trained = train(running, "nlp.word2vec.train", value)
            runs["job"].append(trained.steps_per_s * words)
            runs["job whole"].append(words * SETTINGS["epochs"] / trained.run_s)
    yield from _compared(runs)


def _compared(runs: dict[str, list[float]]) -> Iterator[Row]:
    for source, how in SOURCES.items():
        yield plain(GROUP, f"bare gensim, {how}: first epoch's end to the last one's", runs[source], UNIT)
    best = max(statistics.median(runs[source]) for source in SOURCES)
    yield at_least(GROUP, "Callboard, by the job's events", runs["job"], UNIT, best, 0.95, "bare")
    for source, how in SOURCES.items():
        what = f"  all of the script, {how}: vocabulary, training, writing"
        yield plain(GROUP, what, runs[f"{source} whole"], UNIT)
    best = max(statistics.median(runs[f"{source} whole"]) for source in SOURCES)
    what = "  all of the job's run: reading, cutting, vocabulary, training, publishing"
    yield beside(GROUP, what, runs["job whole"], UNIT, best)


def _write(path: Path, least: int) -> int:
    """Write gensim's 300 documents, one a line in lower case without punctuation, until there are ``least`` words;
    how many there are."""
    text = Path(output(("-c", LEE), {}).split()[-1]).read_text()
    lines = [" ".join(re.findall(r"\w+", line.lower())) for line in text.splitlines()]
    once = sum(len(line.split()) for line in lines)
    times = -(-least // once)
    path.write_text(("\n".join(lines) + "\n") * times)
    return once * times


def _bare(corpus: Path, source: str, out: Path) -> dict[str, float]:
    # The loss is computed, as Callboard does, whose events tell of it.
    settings = {**SETTINGS, "workers": cpu_count(), "compute_loss": True}
    command = ("-m", "bench.rivals.bare_gensim", str(corpus), source, json.dumps(settings), str(out))
    measured: dict[str, float] = json.loads(output(command, {}).splitlines()[-1])
    return measured
