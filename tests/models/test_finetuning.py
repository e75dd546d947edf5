"""Fine-tuning with the real Trainer, on an encoder so small that an epoch takes a moment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import reviews, tiny_bert

from callboard_nlp.data.labelled import Rows
from callboard_nlp.engines import open_classifier
from callboard_nlp.engines.finetune.recipe import Recipe, Tuned
from callboard_nlp.engines.finetune.training import finetune
from callboard_nlp.engines.telling import Step, Telling
from callboard_shared.errors import FinalError

pytestmark = pytest.mark.models

RECIPE = Recipe(
    epochs=3, train_batch_size=8, eval_batch_size=8, learning_rate=3e-3, weight_decay=0.0, warmup_steps=0,
    max_length=32, padding="dynamic", seed=42, save_steps=10_000, early_stopping_patience=None,
    class_weights=False, threads=1,
)  # fmt: skip


class Interrupted(Exception):
    """As a killed worker would end a training, or a cancel."""


class Diary:
    """What a training tells. ``until``: the step at whose beginning it is interrupted; ``saved``: kept checkpoints."""

    def __init__(self, folder: Path, until: int | None = None) -> None:
        self.folder, self.until = folder, until
        self.steps: list[Step] = []
        self.epochs: list[dict[str, float]] = []
        self.saved: list[int] = []

    def telling(self) -> Telling:
        return Telling(
            self.check, self.steps.append, lambda step, entry: self.epochs.append(entry), self.save
        )

    def check(self) -> None:
        if self.until is not None and self.steps and self.steps[-1].step >= self.until:
            raise Interrupted

    def save(self, folder: Path, step: int) -> None:
        shutil.move(folder, self.folder / f"step-{step}")
        self.saved.append(step)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base"))


def rows(count: int, seed: int = 0) -> Rows:
    given = reviews(count, seed)
    return Rows([row["text"] for row in given], [row["label"] for row in given])


Train = Callable[..., tuple[Tuned, Path, Diary]]


@pytest.fixture
def train(base: Path, tmp_path: Path) -> Train:
    """Trains into a folder of its own. Gives what came out, the model's folder, and the diary."""

    def run(
        recipe: Recipe = RECIPE, *, until: int | None = None, resume: Path | None = None, base: Path = base,
        data: tuple[Rows, Rows] | None = None, labels: tuple[str, ...] = ("bad", "good"),
    ) -> tuple[Tuned, Path, Diary]:  # fmt: skip
        here = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        made, scratch, kept = here / "made", here / "scratch", here / "kept"
        for folder in (made, scratch, kept):
            folder.mkdir(parents=True)
        diary = Diary(kept, until)
        training, measured = data or (rows(96), rows(32, seed=1))
        try:
            tuned = finetune(
                base, "tiny", training, measured, labels, recipe, made, scratch, diary.telling(), resume
            )
        except Interrupted:
            tuned = None  # type: ignore[assignment]
        return tuned, made, diary

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def test_a_classifier_learns_tells_every_step_and_names_its_labels(train: Train, tmp_path: Path) -> None:
    tuned, made, diary = train()
    assert [entry["epoch"] for entry in tuned.history] == [1, 2, 3] and diary.epochs == tuned.history
    assert tuned.history[-1]["loss"] < tuned.history[0]["loss"]
    assert tuned.kept["accuracy"] >= 0.9
    assert sum(map(sum, tuned.matrix)) == 32
    assert [(step.step, step.steps) for step in diary.steps] == [(n, 36) for n in range(1, 37)]
    assert [step.epoch for step in diary.steps] == [1] * 12 + [2] * 12 + [3] * 12
    assert diary.steps[0].learning_rate == pytest.approx(3e-3)
    assert diary.steps[-1].learning_rate < diary.steps[0].learning_rate / 10
    assert json.loads((made / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}
    model = open_classifier(made, tmp_path, engine="torch", threads=1, exact=True)
    assert model.labels == ["bad", "good"]
    unseen = rows(32, seed=1)
    chosen = model.classify(unseen.texts).probabilities.argmax(axis=1)
    right = sum(model.labels[best] == label for best, label in zip(chosen, unseen.labels, strict=True))
    assert right / 32 == tuned.kept["accuracy"], "what was measured is what the model does"


def test_a_model_is_safetensors_with_its_plots_and_its_recipe_and_no_pickle(train: Train) -> None:
    _, made, _ = train(replace(RECIPE, epochs=1))
    names = {path.name for path in made.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "report.json"} <= names
    assert not {name for name in names if Path(name).suffix in (".bin", ".pt", ".pth", ".pkl")}
    for plot in ("training.png", "confusion.png"):
        assert (made / plot).read_bytes().startswith(b"\x89PNG")
    report = json.loads((made / "report.json").read_text())
    assert report["recipe"]["learning_rate"] == 3e-3 and report["train_samples"] == 96


def test_padding_to_the_longest_of_a_batch_gives_what_padding_to_the_maximum_gives(
    train: Train, tmp_path: Path
) -> None:
    still = tiny_bert(tmp_path / "still", dropout=0.0)  # dropout's random numbers depend on the shape
    dynamic, made, _ = train(base=still)
    padded, made_padded, _ = train(replace(RECIPE, padding="max_length"), base=still)
    for short, long in zip(dynamic.history, padded.history, strict=True):
        assert short == pytest.approx(long, rel=1e-3)
    for name, tensor in weights(made).items():
        torch.testing.assert_close(tensor, weights(made_padded)[name], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("until", [5, 17, 24])
def test_a_training_that_was_killed_goes_on_from_its_checkpoint_to_the_very_same_model(
    until: int, train: Train
) -> None:
    """Within an epoch, within a later one, and right at an epoch's end."""
    recipe = replace(RECIPE, save_steps=4)
    whole, made, _ = train(recipe)
    _, _, first = train(recipe, until=until)
    last = max(first.saved)
    assert until - 4 <= last <= until
    resumed, made_again, second = train(recipe, resume=first.folder / f"step-{last}")
    assert second.steps[0].step == last + 1
    assert resumed.history == whole.history and resumed.matrix == whole.matrix
    assert (resumed.steps, resumed.tokens) == (whole.steps, whole.tokens)
    ours, theirs = weights(made), weights(made_again)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_holds_no_pickle_of_ours_that_is_never_read(train: Train) -> None:
    _, _, diary = train(replace(RECIPE, save_steps=4), until=5)
    names = {path.name for path in (diary.folder / "step-4").iterdir()}
    assert "training_args.bin" not in names and {"model.safetensors", "training.json"} <= names


def test_training_stops_when_the_loss_gets_no_better_and_keeps_the_best_weights(train: Train) -> None:
    texts = rows(64).texts
    nonsense = Rows(
        texts, ["good", "good", "bad", "bad"] * 16
    )  # labels that the texts do not tell: it can only overfit
    recipe = replace(RECIPE, epochs=12, early_stopping_patience=1)
    tuned, made, _ = train(recipe, data=(nonsense, rows(32, seed=1)))
    losses = [entry["eval_loss"] for entry in tuned.history]
    assert len(losses) < 12 and losses[-1] > min(losses)
    assert tuned.kept["eval_loss"] == min(losses)
    first_epoch = replace(RECIPE, epochs=12, early_stopping_patience=12)
    longer, made_longer, _ = train(first_epoch, data=(nonsense, rows(32, seed=1)))
    assert min(entry["eval_loss"] for entry in longer.history) <= min(losses)
    if longer.kept == tuned.kept:
        kept, kept_longer = weights(made), weights(made_longer)
        assert all(torch.equal(kept[name], kept_longer[name]) for name in kept)


def test_class_weights_make_a_rare_label_heard(train: Train, tmp_path: Path) -> None:
    """Before the texts are understood, a model knows how frequent labels are; with the weights, that all count alike."""
    texts = rows(112).texts
    uneven = Rows(texts, ["good" if number % 7 == 0 else "bad" for number in range(112)])

    def chance_of_the_rare(class_weights: bool) -> float:
        _, made, _ = train(replace(RECIPE, class_weights=class_weights), data=(uneven, uneven))
        model = open_classifier(made, tmp_path, engine="torch", threads=1, exact=True)
        return float(model.classify(texts).probabilities[:, 1].mean())

    assert chance_of_the_rare(False) == pytest.approx(1 / 7, abs=0.1)
    assert chance_of_the_rare(True) == pytest.approx(1 / 2, abs=0.1)


def test_a_cancel_is_heard_between_two_steps(train: Train) -> None:
    tuned, _, diary = train(until=3)
    assert tuned is None and len(diary.steps) == 3


def test_a_training_that_diverges_ends_with_the_cure(train: Train, base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    tensors = weights(broken)
    tensors["embeddings.word_embeddings.weight"].fill_(float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FinalError, match="Lower learning_rate") as refused:
        train(base=broken)
    assert refused.value.problem_code == "training-diverged"


def test_a_classifier_of_the_same_labels_keeps_its_head_and_of_others_gets_a_new_one(train: Train) -> None:
    _, made, _ = train()
    barely = replace(RECIPE, epochs=1, learning_rate=1e-9)
    same, _, _ = train(barely, base=made)
    assert same.kept["accuracy"] >= 0.9, "it had learned that before"
    other = Rows(rows(64).texts, ["x" if label == "bad" else "y" for label in rows(64).labels])
    _, made_other, _ = train(barely, base=made, data=(other, other), labels=("x", "y"))
    assert not torch.equal(weights(made)["classifier.weight"], weights(made_other)["classifier.weight"])


def no_encoder(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def half(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (no_encoder, "not-an-encoder"),
        (pickled, "unsupported-format"),
        (without_tokenizer, "model-not-loadable"),
        (half, "model-not-loadable"),
    ],
)
def test_a_base_that_cannot_be_used_is_refused_with_the_cure(
    spoil: Callable[[Path], Any], code: str, train: Train, base: Path, tmp_path: Path
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(base, spoilt)
    spoil(spoilt)
    with pytest.raises(FinalError) as refused:
        train(base=spoilt)
    assert refused.value.problem_code == code and len(refused.value.detail) > 40
