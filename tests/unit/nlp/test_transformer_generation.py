"""Greedy and beam search against plain ones that are slow and easy to believe."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from callboard_nlp.engines.transformer import generation, stored
from callboard_nlp.engines.transformer.batches import padded
from callboard_nlp.engines.transformer.generation import Search, TransformerWriter, normalized, open_writer
from callboard_nlp.engines.transformer.model import Transformer
from callboard_nlp.engines.transformer.recipe import Architecture
from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD, PairTokenizer
from callboard_shared.errors import FinalError
from callboard_shared.worker import JobCanceled

SHAPE = Architecture(16, 2, 1, 2, 32, 0.0)


class Babbler(Transformer):
    """Random, with an output of its own: tied to random embeddings, it would say one word for ever."""

    def __init__(self, vocabulary: int, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(SHAPE, vocabulary)
        self._output, self._bias = 0.5 * torch.randn(vocabulary, 16), torch.zeros(vocabulary)
        self._bias[END] = 0.25 * vocabulary**0.5  # so that about half of the answers end
        self.eval()

    def logits(self, states: Tensor) -> Tensor:
        return torch.nn.functional.linear(states, self._output, self._bias)


def a_model(vocabulary: int, seed: int = 0) -> Transformer:
    return Babbler(vocabulary, seed)


SOURCES = padded([[4, 3, 4, END], [3, END], [4, 4, END], [3, 3, 4, 3, 4, END]])


@torch.inference_mode()
def plain_greedy(model: Transformer, source: Tensor, most: int) -> tuple[list[int], bool]:
    """One text, one token after the other, all of it computed anew each time."""
    ids: list[int] = []
    while len(ids) <= most:
        logits = model.logits(model(source, torch.tensor([[BEGIN, *ids]])))[0, -1]
        logits[[PAD, BEGIN]] = float("-inf")
        token = int(logits.argmax())
        if token == END:
            return ids, False
        ids.append(token)
    return ids[:most], True


@torch.inference_mode()
def score_of(model: Transformer, source: Tensor, ids: list[int]) -> float:
    """Of a whole answer."""
    logits = model.logits(model(source, torch.tensor([[BEGIN, *ids]])))[0]
    logits[:, [PAD, BEGIN]] = float("-inf")
    likely = torch.log_softmax(logits, -1)
    total = sum(float(likely[place, token]) for place, token in enumerate([*ids, END]))
    return normalized(total, len(ids) + 1)


def searched(model: Transformer, sources: Tensor, most: int, beams: int) -> list[generation.Answer]:
    search = Search(model, sources, most, beams)
    with torch.inference_mode():
        while search.advance():
            pass
    return search.answers()


def without_padding(source: Tensor) -> Tensor:
    return source[source != PAD].unsqueeze(0)


@pytest.mark.parametrize("seed", range(8))
def test_one_beam_is_greedy(seed: int) -> None:
    model = a_model(9, seed)
    for most in (1, 6, 12):
        for source, answer in zip(SOURCES, searched(model, SOURCES, most, 1), strict=True):
            assert (answer.ids, answer.cut) == plain_greedy(model, without_padding(source), most)


def test_answers_that_end_and_answers_that_are_cut_both_occur_here() -> None:
    answers = [answer for seed in range(8) for answer in searched(a_model(9, seed), SOURCES, 6, 1)]
    assert {answer.cut for answer in answers} == {True, False}
    assert len({tuple(answer.ids) for answer in answers}) > 10


@pytest.mark.parametrize("seed", range(8))
def test_enough_beams_find_the_best_answer_of_all(seed: int) -> None:
    """Two words besides the end mark, answers of up to 4 tokens: all 31 of them are compared."""
    model = a_model(5, seed)
    answers = searched(model, SOURCES, 4, 62)
    for source, found in zip(SOURCES, answers, strict=True):
        alone = without_padding(source)
        every = [list(ids) for size in range(5) for ids in itertools.product((3, 4), repeat=size)]
        best = max(every, key=lambda ids: score_of(model, alone, ids))
        if not found.cut:
            assert found.ids == best
            assert found.score == pytest.approx(score_of(model, alone, best), abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("beams", [2, 3, 5])
def test_more_beams_never_score_worse_than_greedy(seed: int, beams: int) -> None:
    model = a_model(30, seed)
    sources = torch.randint(3, 30, (20, 5), generator=torch.Generator().manual_seed(seed))
    greedy, wide = (searched(model, sources, 12, width) for width in (1, beams))
    for one, other in zip(greedy, wide, strict=True):
        assert other.score >= one.score - 1e-5
        assert len(other.ids) <= 12


def test_more_beams_do_find_better_answers() -> None:
    gained = 0
    for seed in range(8):
        model = a_model(30, seed)
        sources = torch.randint(3, 30, (20, 5), generator=torch.Generator().manual_seed(seed))
        both = zip(searched(model, sources, 12, 1), searched(model, sources, 12, 4), strict=True)
        gained += sum(wide.score > greedy.score + 1e-3 for greedy, wide in both)
    assert gained > 10


@pytest.mark.parametrize("beams", [1, 4])
def test_what_else_is_in_the_batch_changes_no_answer(beams: int) -> None:
    for seed in range(4):
        model = a_model(12, seed)
        together = searched(model, SOURCES, 8, beams)
        for source, answer in zip(SOURCES, together, strict=True):
            (alone,) = searched(model, without_padding(source), 8, beams)
            assert (alone.ids, alone.cut) == (answer.ids, answer.cut)
            assert alone.score == pytest.approx(answer.score, abs=1e-4)


def test_a_score_is_the_log_likelihood_over_the_length_penalty() -> None:
    assert normalized(-3.0, 1) == -3.0
    assert normalized(-3.0, 19) == pytest.approx(-3.0 / 4**0.6)
    model = a_model(9, 1)
    for source, answer in zip(SOURCES, searched(model, SOURCES, 12, 3), strict=True):
        if not answer.cut:
            expected = score_of(model, without_padding(source), answer.ids)
            assert answer.score == pytest.approx(expected, abs=1e-4)


# --- texts ---

TOKENIZER = PairTokenizer.learned(["one two three", "하나 둘 셋"] * 5, 300)


def a_writer(window: int = 20) -> TransformerWriter:
    return TransformerWriter(a_model(TOKENIZER.size), TOKENIZER, window, threads=1)


def test_texts_are_answered_in_order_however_they_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one", "둘 셋", "three two one", "two", "하나"] * 3
    whole = a_writer().write(texts, 8, 2)
    monkeypatch.setattr(generation, "PART_TOKENS", 60)
    parted = a_writer().write(texts, 8, 2)
    assert whole.texts == parted.texts and whole.tokens == parted.tokens
    assert whole.texts[:5] == whole.texts[5:10] and len(set(whole.texts[:5])) > 1
    assert max(whole.tokens) <= 8 and len(whole.scores) == len(whole.truncated) == 15


def test_an_answer_of_just_the_most_tokens_is_whole() -> None:
    for seed in range(30):
        model = a_model(9, seed)
        (answer,) = searched(model, SOURCES[:1], 12, 1)
        if not answer.cut and answer.ids:
            (just,) = searched(model, SOURCES[:1], len(answer.ids), 1)
            (less,) = searched(model, SOURCES[:1], len(answer.ids) - 1, 1) if len(answer.ids) > 1 else (None,)
            assert (just.ids, just.cut) == (answer.ids, False)
            assert less is None or (less.ids, less.cut) == (answer.ids[:-1], True)
            return
    pytest.fail("no answer ended")


def test_a_text_longer_than_the_model_reads_is_refused_by_its_number() -> None:
    writer = a_writer(window=3)
    writer.check(["one two three"])
    with pytest.raises(FinalError, match=r"Text 1 \(counted from 0\) has 4 tokens.*read 3") as error:
        writer.check(["one", "one two three1"])
    assert error.value.problem_code == "text-too-long"


def test_it_can_be_stopped_between_any_two_tokens() -> None:
    calls: list[tuple[int, int]] = []

    def stop(done: int, texts: int) -> None:
        calls.append((done, texts))
        if len(calls) == 3:
            raise JobCanceled("The job was canceled.")

    with pytest.raises(JobCanceled):
        a_writer().write(["one", "two"], 4000, 1, stop)
    assert len(calls) == 3


def test_it_tells_how_many_texts_are_answered() -> None:
    told: list[tuple[int, int]] = []
    a_writer().write(["one", "two", "셋"], 6, 2, lambda done, texts: told.append((done, texts)))
    assert told == sorted(told) and told[-1] == (3, 3)


def test_a_model_is_stored_and_opened_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Transformer(SHAPE, TOKENIZER.size)
    writer = TransformerWriter(model, TOKENIZER, 20, threads=1)
    stored.write(tmp_path, model, TOKENIZER, 20)
    opened = open_writer(tmp_path)
    assert opened.window == 20 and opened.engine == "torch cpu float32"
    assert opened.write(["one", "둘"], 8, 2) == writer.write(["one", "둘"], 8, 2)


def test_a_folder_that_is_not_whole_is_not_opened(tmp_path: Path) -> None:
    stored.write(tmp_path, Transformer(SHAPE, TOKENIZER.size), TOKENIZER, 20)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "d_model": 32}))
    with pytest.raises(RuntimeError, match="size mismatch"):
        open_writer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "kind": "word2vec"}))
    with pytest.raises(ValueError, match="word2vec"):
        open_writer(tmp_path)


def test_a_model_of_many_layers_is_stored_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    deep = Transformer(replace(SHAPE, num_encoder_layers=3, num_decoder_layers=1), TOKENIZER.size).eval()
    stored.write(tmp_path, deep, TOKENIZER, 20)
    again, _, _ = stored.read(tmp_path)
    assert torch.equal(again(SOURCES, SOURCES), deep(SOURCES, SOURCES))
