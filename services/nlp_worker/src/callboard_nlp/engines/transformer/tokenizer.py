"""Texts as numbers and back: byte-level BPE, learned from the pairs.

Every byte has a number of its own, so no text is unknown: what was never seen is spelled in bytes. Frequent runs of
bytes within a word become one token (Sennrich et al. 2016; Radford et al. 2019). Digits stand alone, so that a number
is read by its places. ``decode(encode(text))`` is the text in Unicode's form NFC, spaces and line ends included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, BEGIN, END = 0, 1, 2
_MARKS = ["<pad>", "<begin>", "<end>"]
_LEAST_COUNT = 2
_LONGEST_TOKEN = 32
"""Characters; a run that never parts its words would become tokens of whole lines."""
_WORDS = Regex(r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
"""GPT-2's, but each digit alone and without English contractions."""


class PairTokenizer:
    """One vocabulary for both sides."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # "<end>" in a text is five letters, not the mark.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def learned(cls, texts: Iterable[str], size: int) -> Self:
        """At most ``size`` tokens: the 256 bytes, three marks, and what is frequent in the texts."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(_WORDS, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=_LEAST_COUNT, special_tokens=_MARKS, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=_LONGEST_TOKEN,
        )  # fmt: skip
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def opened(cls, path: Path) -> Self:
        """Raises OSError or ValueError."""
        try:
            return cls(Tokenizer.from_str(path.read_text("utf-8")))
        except OSError:
            raise
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"tokenizer.json cannot be read: {error}") from error

    def save(self, path: Path) -> None:
        path.write_text(self._tokenizer.to_str(), "utf-8")

    @property
    def size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers by text, without marks."""
        return [
            encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """What is no UTF-8 becomes U+FFFD."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
