"""The network: what may look at what, the cache, and torch's own Transformer as its judge."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from callboard_nlp.engines.transformer.model import Attention, Transformer, sinusoids
from callboard_nlp.engines.transformer.recipe import Architecture
from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD

SHAPE = Architecture(32, 4, 2, 3, 48, 0.1)
VOCABULARY = 40


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(5)
    return Transformer(SHAPE, VOCABULARY).eval()


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(3, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


def test_the_shape_tells_how_many_parameters_there_are(model: Transformer) -> None:
    assert sum(one.numel() for one in model.parameters()) == SHAPE.parameters(VOCABULARY)
    assert Architecture(512, 8, 6, 6, 2048, 0.1).parameters(8000) == 44_140_544 + 8000 * 512, (
        "torch's own, and the embeddings"
    )


def test_embeddings_of_both_sides_and_the_output_are_one_matrix(model: Transformer) -> None:
    assert [name for name, one in model.named_parameters() if VOCABULARY in one.shape] == ["embedding.weight"]
    states = torch.randn(2, 3, 32)
    assert close(model.logits(states), states @ model.embedding.weight.T)


def test_positions_are_those_of_the_paper() -> None:
    table = sinusoids(50, 9)
    assert table.shape == (50, 9)
    for position, place in ((0, 0), (7, 2), (49, 5), (33, 8)):
        rate = 10_000 ** (-(place // 2 * 2) / 9)
        expected = (math.cos if place % 2 else math.sin)(position * rate)
        assert float(table[position, place]) == pytest.approx(expected, abs=1e-5)


def test_no_token_sees_one_after_it(model: Transformer) -> None:
    source, target = tokens(2, 6), tokens(2, 8)
    before = model(source, target)
    for place in range(1, 8):
        changed = target.clone()
        changed[:, place:] = tokens(2, 8 - place, seed=place + 10)
        after = model(source, changed)
        assert close(before[:, :place], after[:, :place])
        assert not close(before[:, place:], after[:, place:])


def test_every_token_of_the_target_sees_the_whole_source(model: Transformer) -> None:
    source, target = tokens(1, 6), tokens(1, 4)
    before = model(source, target)
    for place in range(6):
        changed = source.clone()
        changed[:, place] = (source[:, place] - 3 + 7) % (VOCABULARY - 3) + 3
        assert (model(changed, target) - before).abs().amax(-1).min() > 1e-4


def test_padding_changes_nothing(model: Transformer) -> None:
    source, target = tokens(1, 5), tokens(1, 4)
    longer = torch.cat([source, torch.full((1, 7), PAD)], 1)
    later = torch.cat([target, torch.full((1, 3), PAD)], 1)
    assert close(model(source, target), model(longer, later)[:, :4])
    other = torch.cat([longer, tokens(1, 12, seed=2)])
    beside = torch.cat([later, tokens(1, 7, seed=3)])
    assert close(model(source, target), model(other, beside)[:1, :4])


def test_step_by_step_with_the_cache_is_all_at_once(model: Transformer) -> None:
    source, target = tokens(3, 6), tokens(3, 9)
    source[1, 4:] = PAD
    whole = model.logits(model(source, target))
    cache = model.start(source)
    for place in range(9):
        assert close(model.step(target[:, place], cache), whole[:, place])


def test_selected_rows_of_the_cache_go_on_as_they_were(model: Transformer) -> None:
    source, target = tokens(3, 6), tokens(3, 5)
    whole = model.logits(model(source, target))
    cache = model.start(source)
    for place in range(3):
        model.step(target[:, place], cache)
    rows = torch.tensor([2, 0, 2])
    cache.select(rows, True)
    for place in (3, 4):
        assert close(model.step(target[rows, place], cache), whole[rows, place])


def test_dropout_acts_while_training_and_never_else() -> None:
    torch.manual_seed(0)
    model, source, target = Transformer(SHAPE, VOCABULARY), tokens(2, 6), tokens(2, 5)
    assert not close(model(source, target), model(source, target))
    model.eval()
    assert torch.equal(model(source, target), model(source, target))


def _copy_attention(mine: Attention, theirs: nn.MultiheadAttention) -> None:
    theirs.in_proj_weight.data = torch.cat([mine.query.weight, mine.key_value.weight]).detach().clone()
    theirs.in_proj_bias.data = torch.cat([mine.query.bias, mine.key_value.bias]).detach().clone()
    theirs.out_proj.load_state_dict(mine.output.state_dict())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_it_computes_what_torchs_own_transformer_computes(model: Transformer) -> None:
    theirs = nn.Transformer(32, 4, 2, 3, 48, batch_first=True, norm_first=True).eval()
    for one in model.parameters():  # zero biases and norms of one would hide a mistake
        one.data += 0.1 * torch.randn_like(one)
    for mine, other in zip(model.encoder, theirs.encoder.layers, strict=True):
        _copy_attention(mine.attention, other.self_attn)
        pairs = [(mine.attention_norm, other.norm1), (mine.feed_forward_norm, other.norm2)]
        pairs += [(mine.feed_forward[0], other.linear1), (mine.feed_forward[3], other.linear2)]
        for ours, its in pairs:
            its.load_state_dict(ours.state_dict())
    for mine, other in zip(model.decoder, theirs.decoder.layers, strict=True):
        _copy_attention(mine.attention, other.self_attn)
        _copy_attention(mine.source_attention, other.multihead_attn)
        pairs = [(mine.attention_norm, other.norm1), (mine.source_norm, other.norm2)]
        pairs += [(mine.feed_forward_norm, other.norm3)]
        pairs += [(mine.feed_forward[0], other.linear1), (mine.feed_forward[3], other.linear2)]
        for ours, its in pairs:
            its.load_state_dict(ours.state_dict())
    theirs.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
    theirs.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    source, target = tokens(2, 6), tokens(2, 5)
    source[1, 3:] = PAD
    target[0, 0], source[0, 5] = BEGIN, END

    def embedded(ids: Tensor) -> Tensor:
        return model.embedding(ids) * math.sqrt(32) + sinusoids(ids.shape[1], 32)

    padding = source == PAD
    expected = theirs(
        embedded(source), embedded(target), tgt_mask=theirs.generate_square_subsequent_mask(5), tgt_is_causal=True,
        src_key_padding_mask=padding, memory_key_padding_mask=padding,
    )  # fmt: skip
    assert close(model(source, target), expected)
