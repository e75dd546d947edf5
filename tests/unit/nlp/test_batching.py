"""Texts to padded batches and back, with a forward pass that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from callboard_nlp.engines.batching import PART_TOKENS, TextEncoder
from callboard_nlp.engines.interface import Floats, Ints, Pooling, Vocabulary

WINDOW = 100


class IdsAsStates:
    """A "model" whose state at a token is (its id, its square); keeps the shapes that it was given."""

    engine = "ids"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, ids: Ints, mask: Ints, weights: Floats) -> Floats:
        assert (mask.sum(axis=1) > 0).all()
        assert not weights[mask == 0].any()
        self.shapes.append(ids.shape)
        states = np.stack([ids, ids**2], axis=2).astype(np.float32)
        pooled: Floats = (weights[..., None] * states).sum(axis=1)
        return pooled


def make() -> tuple[TextEncoder, IdsAsStates]:
    tokenizer = Tokenizer(WordLevel({str(n): n for n in range(50)} | {"[UNK]": 50}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    forward = IdsAsStates()
    return TextEncoder(Vocabulary(tokenizer, WINDOW, 0), forward), forward


def text(words: Sequence[int]) -> str:
    return " ".join(map(str, words))


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 49), min_size=1, max_size=150), st.sampled_from(["mean", "cls"])),
        min_size=1,
        max_size=80,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_text_gets_its_own_vector_in_order(cases: list[tuple[list[int], Pooling]]) -> None:
    encoder, _ = make()
    encoded = encoder.encode([text(words) for words, _ in cases], [pooling for _, pooling in cases])
    for i, (words, pooling) in enumerate(cases):
        read = np.array(words[:WINDOW], np.float64)
        expected = read[0] if pooling == "cls" else read.mean()
        assert encoded.vectors[i, 0] == pytest.approx(expected, rel=1e-5, abs=1e-4)
        assert encoded.tokens[i] == len(read)
        assert encoded.truncated[i] == (len(words) > WINDOW)


def test_one_long_text_does_not_pad_the_short_ones() -> None:
    encoder, forward = make()
    encoder.encode([text([1] * 90), *[text([2, 3, 4])] * 200], ["mean"] * 201)
    assert sum(rows * length for rows, length in forward.shapes) < 2 * (90 + 200 * 8) + PART_TOKENS // 2


def test_no_part_is_larger_than_the_budget() -> None:
    encoder, forward = make()
    encoder.encode([text([1] * (1 + n % 120)) for n in range(500)], ["mean"] * 500)
    assert max(rows * length for rows, length in forward.shapes) <= PART_TOKENS


def test_shapes_are_few_so_that_an_engine_can_keep_them() -> None:
    encoder, forward = make()
    rng = np.random.default_rng(1)
    for _ in range(400):
        count, longest = rng.integers(1, 64), rng.integers(1, WINDOW)
        encoder.encode(
            [text([1] * int(rng.integers(1, longest + 1))) for _ in range(count)], ["mean"] * count
        )
    assert len(set(forward.shapes)) < 250


def test_an_encoding_can_be_stopped_between_parts() -> None:
    encoder, forward = make()
    seen: list[tuple[int, int]] = []

    def after_part(done: int, texts: int) -> None:
        seen.append((done, texts))
        if len(seen) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        encoder.encode([text([1] * 90)] * 100, ["mean"] * 100, after_part)
    assert len(forward.shapes) == 2
    assert seen[0][0] < seen[1][0] < seen[1][1] == 100


def test_no_texts_are_no_vectors() -> None:
    encoder, _ = make()
    assert encoder.encode([], []).vectors.shape[0] == 0
