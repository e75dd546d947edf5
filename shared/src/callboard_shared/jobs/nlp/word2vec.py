"""Word2Vec: train on one's own text, and ask the result."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from callboard_shared.jobs.base import (
    FileInput,
    FileReference,
    Input,
    JobType,
    Limits,
    ModelReference,
    NewModelName,
    Output,
)
from callboard_shared.jobs.nlp.encode import Text

DEFAULT_WORD_VECTORS = "lee-news"
Word = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Tokenizer = Literal["words", "whitespace", "korean"]


class Word2VecTrainInput(Input):
    sentences: list[list[Word]] | None = Field(
        default=None, min_length=1, max_length=200_000, description="Sentences as lists of tokens."
    )
    texts: list[Text] | None = Field(
        default=None, min_length=1, max_length=200_000, description="Texts, which are cut into words here."
    )
    file: FileInput | None = Field(default=None, description="A UTF-8 text file with a sentence a line.")
    tokenizer: Tokenizer = Field(
        default="words",
        description="How texts and lines are cut: `words` (Unicode words, in lower case), `whitespace` (as it "
        "stands) or `korean` (morphemes, if the worker has kiwipiepy). Not for `sentences`.",
    )
    vector_size: int = Field(default=100, ge=1, le=2000, description="Length of each vector.")
    window: int = Field(default=5, ge=1, le=100, description="Words to each side that count as context.")
    min_count: int = Field(default=5, ge=1, description="Words that occur less often are left out.")
    sg: Literal[0, 1] = Field(default=0, description="0: CBOW, 1: skip-gram.")
    negative: int = Field(
        default=5, ge=0, le=100, description="Noise words a word; 0: hierarchical softmax instead."
    )
    sample: float = Field(
        default=1e-3, ge=0, le=1, description="Threshold above which frequent words are thinned."
    )
    learning_rate: float = Field(default=0.025, gt=0, le=1, description="At the start; falls to 0.0001.")
    epochs: int = Field(default=5, ge=1, le=1000)
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        description="With a seed the result is the same each time, on one thread; without, all cores are used.",
    )
    name: NewModelName = Field(default="word2vec", description="The model becomes `name@version`.")

    @model_validator(mode="after")
    def _one_corpus(self) -> Self:
        if sum(given is not None for given in (self.sentences, self.texts, self.file)) != 1:
            raise ValueError("give one of 'sentences', 'texts' and 'file'")
        return self


class Word2VecEpoch(Output):
    epoch: int
    loss: float | None = Field(
        description="The mean over the words that the epoch trained on, as gensim counts it; null if `sample` "
        "left none."
    )


class Word2VecTrainOutput(Output):
    model: str = Field(description="`name@version`, to be named in nlp.word2vec.query and nlp.similarity.")
    vocabulary_size: int
    left_out: int = Field(
        default=0,
        description="Words that occur `min_count` times, and yet are left out: too many for the memory.",
    )
    tokens: int = Field(description="Words of the corpus, rare ones included.")
    sentences: int
    loss: float | None = Field(description="Of the last epoch that trained on any word.")
    history: list[Word2VecEpoch]
    file: FileReference = Field(description="The vectors in the binary format of word2vec.")


class MostSimilar(Input):
    positive: list[Word] = Field(default=[], max_length=1000, description="Words that add.")
    negative: list[Word] = Field(default=[], max_length=1000, description="Words that subtract.")
    topn: int = Field(default=10, ge=1, le=1000)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.positive and not self.negative:
            raise ValueError("give at least one word in 'positive' or 'negative'")
        return self


class Word2VecQueryInput(Input):
    model: ModelReference = Field(default=DEFAULT_WORD_VECTORS, description="A Word2Vec model.")
    vectors: list[Word] | None = Field(
        default=None, min_length=1, max_length=2048, description="Words whose vectors are wanted."
    )
    similarity: list[tuple[Word, Word]] | None = Field(
        default=None, min_length=1, max_length=2048, description="Pairs of words to compare."
    )
    most_similar: MostSimilar | None = None
    doesnt_match: list[Word] | None = Field(
        default=None, min_length=2, max_length=1000, description="Words of which one does not belong."
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        asked = (self.vectors, self.similarity, self.most_similar, self.doesnt_match)
        if sum(one is not None for one in asked) != 1:
            raise ValueError("ask one of 'vectors', 'similarity', 'most_similar' and 'doesnt_match'")
        return self


class Neighbour(Output):
    word: str
    score: float = Field(description="Cosine, −1…1.")


class Word2VecQueryOutput(Output):
    """The field of the question that was asked, and the model."""

    vectors: dict[str, list[float]] | None = Field(default=None, description="By word.")
    similarity: list[float] | None = Field(default=None, description="Cosine of each pair, in order.")
    most_similar: list[Neighbour] | None = Field(default=None, description="Best first.")
    doesnt_match: str | None = None
    model: str


_STORY = (
    "the king rules the land and the queen rules beside the king while the people of the land work and sing"
)

WORD2VEC_TRAIN = JobType(
    name="nlp.word2vec.train",
    queue="nlp-train",
    input=Word2VecTrainInput,
    output=Word2VecTrainOutput,
    summary="Train Word2Vec (CBOW or skip-gram) on token lists, texts or a file.",
    example={
        "texts": [_STORY, f"long ago {_STORY}"],
        "vector_size": 32,
        "min_count": 1,
        "epochs": 20,
        "seed": 1,
    },
    limits=Limits(timeout_s=86_400),
)

WORD2VEC_QUERY = JobType(
    name="nlp.word2vec.query",
    queue="nlp",
    input=Word2VecQueryInput,
    output=Word2VecQueryOutput,
    summary="Ask a Word2Vec model: vectors, similarity, nearest words, the odd one out.",
    example={"most_similar": {"positive": ["government"], "topn": 5}},
    models={"model": ("word2vec",)},
)
