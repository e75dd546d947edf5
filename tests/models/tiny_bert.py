"""A BERT of 20,000 random parameters whose vocabulary is a list of words, and rows that it can learn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random

GOOD = ("lovely", "warm", "funny", "wise", "clever", "kind")
BAD = ("dull", "loud", "slow", "stale", "cruel", "sad")
PLAIN = ("the", "film", "was", "and", "a", "very", "plot", "scene", "actor", "music")


def tiny_bert(folder: Path, words: Iterable[str] = (*GOOD, *BAD, *PLAIN), dropout: float = 0.1) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def reviews(rows: int, seed: int = 0) -> list[dict[str, str]]:
    """Texts of one good or bad word among plain ones, half of each."""
    random = Random(seed)

    def text(words: tuple[str, ...]) -> str:
        plain = random.choices(PLAIN, k=random.randint(3, 12))
        return " ".join([*plain[:2], random.choice(words), *plain[2:]])

    return [
        {"text": text(GOOD if row % 2 else BAD), "label": "good" if row % 2 else "bad"} for row in range(rows)
    ]
