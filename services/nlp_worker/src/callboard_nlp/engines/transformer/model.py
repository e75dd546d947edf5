"""The encoder–decoder Transformer of Vaswani et al. 2017 ("Attention is all you need").

As in the paper: sinusoidal positions, embeddings scaled by √d_model, and one matrix for the embeddings of both sides
and for the output (tied, §3.4). Unlike it, each layer is normalised before its parts and not after them (Xiong et al.
2020), which trains without warm-up; ``torch.nn.Transformer(norm_first=True)`` computes the same.

Shapes: b texts, s tokens of a source, t of a target, d = d_model, v tokens of the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from callboard_nlp.engines.transformer.recipe import Architecture
from callboard_nlp.engines.transformer.tokenizer import PAD

KeysValues = tuple[Tensor, Tensor]
"""Each (b, heads, tokens, d / heads)."""


def sinusoids(length: int, width: int) -> Tensor:
    """Positional encodings, (length, width): sin and cos of the position over 10000^(2i / width)."""
    positions = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table = torch.empty(length, width)
    table[:, 0::2] = torch.sin(positions * rates)
    table[:, 1::2] = torch.cos(positions * rates)[:, : width // 2]
    return table


class Attention(nn.Module):
    """Several heads side by side."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads, self._dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_values(self, states: Tensor) -> KeysValues:
        keys, values = self.key_value(states).chunk(2, dim=-1)
        return self._parted(keys), self._parted(values)

    def forward(
        self, states: Tensor, seen: KeysValues, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """``mask``: true where a key may be looked at; ``causal``: a token looks at none after it."""
        mixed = functional.scaled_dot_product_attention(
            self._parted(self.query(states)), *seen, attn_mask=mask, is_causal=causal,
            dropout_p=self._dropout if self.training else 0.0,
        )  # fmt: skip
        joined: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return joined

    def _parted(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self._heads, -1).transpose(1, 2)


class FeedForward(nn.Sequential):
    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.d_model
        self.attention = Attention(width, shape.nhead, shape.dropout)
        self.feed_forward = FeedForward(width, shape.dim_feedforward, shape.dropout)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        normed = self.attention_norm(states)
        states = states + self.dropout(self.attention(normed, self.attention.keys_values(normed), mask))
        rest: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(states)))
        return states + rest


class DecoderLayer(nn.Module):
    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.d_model
        self.attention = Attention(width, shape.nhead, shape.dropout)
        self.source_attention = Attention(width, shape.nhead, shape.dropout)
        self.feed_forward = FeedForward(width, shape.dim_feedforward, shape.dropout)
        self.attention_norm, self.source_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(
        self, states: Tensor, source: KeysValues, mask: Tensor, before: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """With ``before``, of the tokens so far, ``states`` is of one more token; gives theirs and its together."""
        normed = self.attention_norm(states)
        seen = self.attention.keys_values(normed)
        if before is not None:
            seen = (torch.cat([before[0], seen[0]], dim=2), torch.cat([before[1], seen[1]], dim=2))
        states = states + self.dropout(self.attention(normed, seen, causal=before is None))
        states = states + self.dropout(self.source_attention(self.source_norm(states), source, mask))
        rest: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(states)))
        return states + rest, seen


@dataclass(slots=True)
class Cache:
    """Keys and values by layer, of the sources (once) and of the tokens so far (one more a step)."""

    source: list[KeysValues]
    mask: Tensor
    target: list[KeysValues | None]
    length: int = 0

    def select(self, rows: Tensor, sources_too: bool) -> None:
        """Go on with these rows, in this order; ``sources_too`` unless each keeps its source where it was."""
        self.target = [one and (one[0][rows], one[1][rows]) for one in self.target]
        if sources_too:
            self.source = [(keys[rows], values[rows]) for keys, values in self.source]
            self.mask = self.mask[rows]


class Transformer(nn.Module):
    """``vocabulary_size`` tokens, of which ``PAD`` fills up."""

    def __init__(self, shape: Architecture, vocabulary_size: int) -> None:
        super().__init__()
        self.shape, width = shape, shape.d_model
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.num_encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.num_decoder_layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(shape.dropout)
        self._positions = torch.empty(0, width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Last states of the decoder: (b, s), (b, t) -> (b, t, d). Each sees its target up to itself."""
        memory, mask = self.encode(source)
        states = self._embedded(target, 0)
        for layer, seen in zip(self.decoder, self._sources(memory), strict=True):
            states, _ = layer(states, seen, mask)
        normed: Tensor = self.decoder_norm(states)
        return normed

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(b, s) -> states (b, s, d), and the mask of what is no padding, (b, 1, 1, s)."""
        mask = (source != PAD)[:, None, None, :]
        states = self._embedded(source, 0)
        for layer in self.encoder:
            states = layer(states, mask)
        return self.encoder_norm(states), mask

    def logits(self, states: Tensor) -> Tensor:
        """(…, d) -> (…, v)."""
        return functional.linear(states, self.embedding.weight)

    def start(self, source: Tensor) -> Cache:
        """Read sources, (b, s), for ``step``."""
        memory, mask = self.encode(source)
        return Cache(self._sources(memory), mask, [None] * len(self.decoder))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """The logits of what follows one more token of each target: (b,) -> (b, v)."""
        states = self._embedded(tokens.unsqueeze(1), cache.length)
        for number, layer in enumerate(self.decoder):
            states, cache.target[number] = layer(
                states, cache.source[number], cache.mask, cache.target[number]
            )
        cache.length += 1
        return self.logits(self.decoder_norm(states[:, 0]))

    def _sources(self, memory: Tensor) -> list[KeysValues]:
        """Keys and values of the sources, by layer of the decoder."""
        return [cast(DecoderLayer, layer).source_attention.keys_values(memory) for layer in self.decoder]

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        end = start + tokens.shape[1]
        if len(self._positions) < end or self._positions.device != tokens.device:
            self._positions = sinusoids(max(end, 2 * len(self._positions)), self.shape.d_model).to(
                tokens.device
            )
        scaled = self.embedding(tokens) * math.sqrt(self.shape.d_model)
        states: Tensor = self.dropout(scaled + self._positions[start:end])
        return states
