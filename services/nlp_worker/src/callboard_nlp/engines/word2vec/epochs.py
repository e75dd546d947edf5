"""The epochs of Word2Vec: gensim's compiled kernels, led by threads of our own.

gensim's threads each read their part of the file to its end: deaf to a cancel for a whole epoch, with nothing to do
for most of them when the file is small, and with one sum of the loss that they overwrite for each other. Here the
threads take blocks of sentences, one after the other from one reader, and each block is a call of the same kernel with
a loss, a learning rate and random numbers of its own.
"""

from __future__ import annotations

import copy
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
from gensim.matutils import zeros_aligned
from gensim.models.word2vec import Word2Vec, train_epoch_cbow, train_epoch_sg
from gensim.models.word2vec_corpusfile import CythonVocab

from callboard_nlp.engines.word2vec.blocks import Block, Blocks

_LOOK_UP_S = 0.1
_TELL_S = 1.0
_LAST_RATE = 1e-4


class Watcher:
    """Is told how the training goes; each of its methods may raise, which ends the training."""

    def check(self) -> None:
        """Called several times a second."""

    def read(self, words: int) -> None:
        """So many words of the corpus were read."""

    def trained(self, epoch: int, words: int, of: int) -> None:
        """Within an epoch (from 1): about once a second, and each percent at the most."""

    def epoch_ended(self, epoch: int, loss: float | None) -> None:
        """``loss`` as ``Epochs.run`` says."""

    def warn(self, message: str) -> None:
        """What the owner of the model should know."""


class _Drawn:
    """What a kernel takes for a source of random numbers: it asks for two, to seed its own. Drawn beforehand, since
    seeding a real one takes longer than a tenth of a small block."""

    BELOW = 2**24

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = iter(numbers)

    def randint(self, low: int, high: int) -> int:
        return low + next(self._numbers) % (high - low)


class Epochs:
    """``model``: with its vocabulary built; ``blocks``: the whole corpus."""

    def __init__(self, model: Word2Vec, blocks: Blocks, threads: int) -> None:
        self._model, self._blocks = model, blocks
        self._vocabulary = CythonVocab(model.wv, hs=model.hs)
        self._threads = min(threads, len(blocks))
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, watcher: Watcher) -> list[float | None]:
        """Train all epochs. Returns each one's loss: the mean over the words it trained on, summed in 64 bits over
        the blocks; None where thinning left no word.

        When ``watcher`` raises, the threads have ended before this is left.
        """
        losses = []
        with ThreadPoolExecutor(self._threads, "word2vec") as pool:
            try:
                for epoch in range(1, self._model.epochs + 1):
                    losses.append(self._epoch(epoch, pool, watcher))
                    watcher.epoch_ended(epoch, losses[-1])
            finally:
                self._stopped = True
        return losses

    def _epoch(self, epoch: int, pool: ThreadPoolExecutor, watcher: Watcher) -> float | None:
        self._done = self._trained = 0
        self._loss = 0.0
        draw = np.random.RandomState([self._model.seed, epoch])
        self._draws = draw.randint(0, _Drawn.BELOW, (len(self._blocks), 2)).tolist()
        told_at, told, tokens = time.monotonic(), 0, self._blocks.tokens
        blocks = self._blocks.read()
        pending = {pool.submit(self._train_blocks, epoch, blocks) for _ in range(self._threads)}
        while pending:
            ended, pending = wait(pending, _LOOK_UP_S, FIRST_EXCEPTION)
            for future in ended:
                future.result()
            watcher.check()
            now = time.monotonic()
            if now - told_at >= _TELL_S and self._done - told >= tokens / 100:
                told_at, told = now, self._done
                watcher.trained(epoch, told, tokens)
        return self._loss / self._trained if self._trained else None

    def _train_blocks(self, epoch: int, blocks: Iterator[Block]) -> None:
        """A thread's part of an epoch."""
        width = self._model.layer1_size
        work, context = zeros_aligned(width, np.float32), zeros_aligned(width, np.float32)
        view = copy.copy(self._model)  # shares the weights; each block is its only epoch
        view.workers = view.epochs = 1
        view.sample = 1  # not how much, which the vocabulary knows: only then are the random numbers seeded
        train = train_epoch_sg if view.sg else train_epoch_cbow
        # The kernels open a path: a small file that is written over again and again does not leave the page cache.
        with tempfile.NamedTemporaryFile(prefix="callboard-word2vec-", buffering=0) as own:
            while (block := self._next(blocks)) is not None:
                own.seek(0)
                own.write(block.sentences)
                own.truncate()
                view.running_training_loss = 0.0
                view.alpha = self._rate(epoch, block.before)
                view.min_alpha = self._rate(epoch, block.before + block.words)
                view.random = _Drawn(self._draws[block.number])
                _, trained, _ = train(
                    view, own.name, 0, self._vocabulary, 0, None, block.words, work, context, True
                )
                with self._lock:
                    self._loss += float(view.running_training_loss)
                    self._trained += trained
                    self._done += block.words

    def _next(self, blocks: Iterator[Block]) -> Block | None:
        with self._lock:
            return None if self._stopped else next(blocks, None)

    def _rate(self, epoch: int, words: int) -> float:
        done = (epoch - 1 + words / self._blocks.tokens) / self._model.epochs
        return float(self._model.alpha - (self._model.alpha - _LAST_RATE) * done)
