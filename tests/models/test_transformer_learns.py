"""Transformers that really learn: held-out strings reversed, and numbers read in Korean."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from callboard_nlp.default_models import DEFAULTS
from callboard_nlp.engines.telling import Telling
from callboard_nlp.engines.transformer.generation import open_writer
from callboard_nlp.engines.transformer.recipe import Architecture, Recipe
from callboard_nlp.engines.transformer.training import train
from callboard_shared.models.making import make

pytestmark = [pytest.mark.models, pytest.mark.slow]

SILENT = Telling(lambda: None, lambda step: None, lambda step, measured: None, lambda folder, step: None)


def test_a_small_one_learns_to_reverse_strings_of_digits(tmp_path: Path) -> None:
    random = Random(1)
    strings = list({"".join(random.choices("0123456789", k=random.randint(2, 6))): None for _ in range(9000)})
    held_out, rest = strings[:500], strings[500:]
    recipe = Recipe(
        Architecture(64, 4, 2, 2, 128, dropout=0.0), learning_rate=2e-3, warmup_steps=50, decay="linear",
        label_smoothing=0.1, epochs=6, batch_size=64, max_length=8, vocabulary_size=280, eval_share=0.05, seed=1,
        threads=1,
    )  # fmt: skip
    made, scratch = tmp_path / "made", tmp_path / "scratch"
    made.mkdir()
    scratch.mkdir()
    trained = train(lambda: [(one, one[::-1]) for one in rest], recipe, made, scratch, SILENT)
    assert trained.history[-1]["accuracy"] > 0.95
    writer = open_writer(made)
    for beams in (1, 3):
        written = writer.write(held_out, 8, beams).texts
        right = sum(answer == one[::-1] for one, answer in zip(held_out, written, strict=True))
        assert right / len(held_out) >= 0.95, f"{beams} beams"


def test_the_default_one_reads_numbers_it_was_not_trained_on(tmp_path: Path) -> None:
    (default,) = (one for one in DEFAULTS if one.name == "numbers-ko")
    card = make(tmp_path, default, threads=1)
    assert card["metrics"]["accuracy"] >= 0.99
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "numbers-ko").iterdir())
    asked = ["0", "7", "10", "407", "2026", "10000", "120345", "1000000", "9999999"]
    said = [
        "영",
        "칠",
        "십",
        "사백칠",
        "이천이십육",
        "만",
        "십이만 삼백사십오",
        "백만",
        "구백구십구만 구천구백구십구",
    ]
    writer = open_writer(tmp_path / "numbers-ko")
    assert writer.write(asked, 32, 1).texts == said == writer.write(asked, 32, 4).texts
