"""Texts from texts: greedy and beam search, many texts at once, with keys and values kept from token to token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from callboard_nlp.engines.interface import AfterPart, Written
from callboard_nlp.engines.transformer import stored
from callboard_nlp.engines.transformer.batches import padded
from callboard_nlp.engines.transformer.model import Transformer
from callboard_nlp.engines.transformer.threads import threads_for
from callboard_nlp.engines.transformer.tokenizer import BEGIN, END, PAD, PairTokenizer
from callboard_shared.errors import FinalError

PART_TOKENS = 16_384
"""Tokens whose keys and values are kept at once: those of the sources and of the longest answers, for each beam."""
_LENGTH_PENALTY = 0.6
_NEVER = float("-inf")


def normalized(log_likelihood: float, length: int) -> float:
    """A beam's score: its log-likelihood over ((5 + length) / 6)^0.6, the end mark counted (Wu et al. 2016, §7)."""
    return float(log_likelihood / ((5 + length) / 6) ** _LENGTH_PENALTY)


@dataclass(frozen=True, slots=True)
class Answer:
    """``ids`` without marks; ``cut``: it had not ended by the most tokens."""

    ids: list[int]
    score: float
    cut: bool


class TransformerWriter:
    """``window``: tokens of a text that the model reads; ``threads`` of the CPU."""

    def __init__(self, model: Transformer, tokenizer: PairTokenizer, window: int, threads: int) -> None:
        self._threads = threads
        self._parameters = model.shape.parameters(tokenizer.size)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._tokenizer, self.window = model.to(self._device).eval(), tokenizer, window
        self.engine = f"torch {self._device.type} float32"

    def check(self, texts: Sequence[str]) -> None:
        """Raises FinalError ``text-too-long`` for one of more than ``window`` tokens."""
        for number, ids in enumerate(self._tokenizer.encode(texts)):
            if len(ids) > self.window:
                raise FinalError(
                    f"Text {number} (counted from 0) has {len(ids)} tokens; this model was trained to read "
                    f"{self.window} of a text. Cut it into sentences, or train a model with a larger max_length.",
                    code="text-too-long",
                )

    @torch.inference_mode()
    def write(
        self, texts: Sequence[str], max_length: int, beams: int, after_token: AfterPart | None = None
    ) -> Written:
        """Answers to texts that ``check`` took; ``after_token`` may raise to stop between two tokens."""
        ids = self._tokenizer.encode(texts)
        answers: dict[int, Answer] = {}

        def tell(answered: int) -> None:
            if after_token is not None:
                after_token(len(answers) + answered, len(texts))

        for part in _parts([len(tokens) for tokens in ids], max_length, beams):
            sources = padded([[*ids[place], END] for place in part]).to(self._device)
            with threads_for(self._parameters, self._threads):
                search = Search(self._model, sources, max_length, beams)
                while search.advance():
                    tell(search.answered)
            answers |= zip(part, search.answers(), strict=True)
            tell(0)
        ordered = [answers[place] for place in range(len(texts))]
        return Written(
            [self._tokenizer.decode(answer.ids) for answer in ordered],
            [len(answer.ids) for answer in ordered],
            [answer.cut for answer in ordered],
            [answer.score for answer in ordered],
        )


def open_writer(folder: Path, threads: int = 1) -> TransformerWriter:
    """Raises OSError, ValueError, KeyError or RuntimeError where the folder is not whole."""
    return TransformerWriter(*stored.read(folder), threads)


def _parts(lengths: Sequence[int], max_length: int, beams: int) -> Iterator[list[int]]:
    """Places of the texts that are worked on together, of like length, longest first."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        rows = max(1, PART_TOKENS // ((lengths[order[start]] + max_length) * beams))
        yield order[start : start + rows]
        start += rows


@dataclass(slots=True)
class _Best:
    """Of one text: the best answer that has ended, and how many beams have not."""

    open: int
    ids: list[int] = field(default_factory=list)
    score: float = _NEVER
    cut: bool = True


class Search:
    """Beam search for a batch of sources, (b, s); with one beam it is greedy.

    A beam that writes the end mark leaves, and its place with it (Sutskever et al. 2014). A text is answered when it
    has no beam left, or when none of those left can beat its best answer, however it goes on: a log-likelihood only
    falls. The greedy answer always keeps a place, so more beams never score worse than one. Scores: ``normalized``.
    """

    def __init__(self, model: Transformer, sources: Tensor, max_length: int, beams: int) -> None:
        # One token more than an answer may have: whether it is the end mark says whether the answer is whole.
        self._model, self._most, self._beams = model, max_length + 1, beams
        count, device = len(sources), sources.device
        self._best = [_Best(beams) for _ in range(count)]
        self._texts = list(range(count))  # which are still worked on, in the order of the rows
        self._cache = model.start(sources)
        if beams > 1:
            self._cache.select(torch.arange(count, device=device).repeat_interleave(beams), True)
        self._ids = torch.full((count, beams, 1), BEGIN, device=device)
        # All beams of a text begin alike: all but the first would only repeat it.
        self._likely = torch.full((count, beams), _NEVER, device=device)
        self._likely[:, 0] = 0.0
        self._greedy = torch.zeros(count, dtype=torch.int64, device=device)  # its place; -1 once it has ended

    @property
    def answered(self) -> int:
        return len(self._best) - len(self._texts)

    def answers(self) -> list[Answer]:
        """In the order of the sources."""
        return [Answer(best.ids, best.score, best.cut) for best in self._best]

    def advance(self) -> bool:
        """One token more for each text that has no answer yet; False when all have."""
        likely, beam, token = self._chosen()
        self._ids = torch.cat(
            [self._ids.gather(1, beam.unsqueeze(-1).expand(-1, -1, self._ids.shape[2])), token.unsqueeze(-1)],
            2,
        )
        self._likely = likely
        kept = self._settle()
        if not kept:
            self._texts = []
            return False
        self._go_on(kept, beam)
        return True

    def _chosen(self) -> tuple[Tensor, Tensor, Tensor]:
        """(log-likelihood, beam that goes on, token), each (texts, beams), best first; what is too many at -inf."""
        texts, beams = self._likely.shape
        logits = self._model.step(self._ids[:, :, -1].reshape(-1), self._cache).float()
        logits[:, [PAD, BEGIN]] = _NEVER
        following = torch.log_softmax(logits, -1).view(texts, beams, -1)
        size = following.shape[-1]
        each = (self._likely.unsqueeze(-1) + following).view(texts, -1)
        likely, place = each.topk(beams, dim=1)
        open_ = torch.tensor([self._best[text].open for text in self._texts], device=likely.device)
        rank = torch.arange(beams, device=likely.device).expand(texts, -1)
        likely = likely.masked_fill(rank >= open_.unsqueeze(1), _NEVER)
        rows = torch.arange(texts, device=likely.device)
        greedy = self._greedy.clamp(min=0)
        wanted = greedy * size + following[rows, greedy].argmax(-1)
        missing = (self._greedy >= 0) & ~((place == wanted.unsqueeze(1)) & (rank < open_.unsqueeze(1))).any(1)
        last = missing.unsqueeze(1) & (rank == open_.unsqueeze(1) - 1)
        place = torch.where(last, wanted.unsqueeze(1), place)
        likely = torch.where(last, each.gather(1, wanted.unsqueeze(1)), likely)
        self._greedy = torch.where(self._greedy >= 0, (place == wanted.unsqueeze(1)).int().argmax(1), -1)
        return likely, place // size, place % size

    def _settle(self) -> list[int]:
        """Take down what has ended; gives the rows whose texts go on."""
        length = self._ids.shape[2] - 1
        ended, likely = self._ids[:, :, -1] == END, self._likely.tolist()
        kept = []
        for row, (text, ends) in enumerate(zip(self._texts, ended.tolist(), strict=True)):
            best = self._best[text]
            for beam, end in enumerate(ends):
                if likely[row][beam] == _NEVER:
                    continue
                if end:
                    best.open -= 1
                if end or length >= self._most:
                    self._take(best, row, beam, normalized(likely[row][beam], length), cut=not end)
            left = [value for value, end in zip(likely[row], ends, strict=True) if not end]
            hope = normalized(max(left, default=_NEVER), self._most)
            if length < self._most and best.open and hope > best.score:
                kept.append(row)
        self._likely = self._likely.masked_fill(ended, _NEVER)
        rows = torch.arange(len(self._texts), device=ended.device)
        self._greedy = torch.where(ended[rows, self._greedy.clamp(min=0)], -1, self._greedy)
        return kept

    def _take(self, best: _Best, row: int, beam: int, score: float, *, cut: bool) -> None:
        if score > best.score:
            best.ids, best.score, best.cut = self._ids[row, beam, 1:-1].tolist(), score, cut

    def _go_on(self, kept: list[int], beam: Tensor) -> None:
        """The caches of the beams that go on, without the texts that are answered."""
        fewer = len(kept) < len(self._texts)
        if not fewer and self._beams == 1:
            return
        rows = torch.tensor(kept, device=beam.device)
        if fewer:
            self._texts = [self._texts[row] for row in kept]
            self._ids, self._likely, self._greedy = self._ids[rows], self._likely[rows], self._greedy[rows]
        self._cache.select((rows.unsqueeze(1) * self._beams + beam[rows]).reshape(-1), fewer)
