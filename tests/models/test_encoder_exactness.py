"""What the engines compute, against plain transformers."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from callboard_nlp.engines import Encoder, Pooling, open_classifier, open_encoder
from callboard_nlp.engines.batching import TextEncoder
from callboard_nlp.engines.torch_engine import TorchForward, read_vocabulary
from callboard_shared.models import Shelf

pytestmark = pytest.mark.models

TEXTS = [
    "A callboard shows the work that waits.",
    "Crews take their work from it.",
    "no",
    "?",
    "역에서 일하는 사람들은 게시판을 봅니다.",
    "安全第一 — Größe, naïve, façade; Ω≈ç√∫ 🚂🚃🚃",
    "def f(x):\n\treturn x ** 2  # 12,345.67 %",
    "the " * 40,
    "A train is a series of connected vehicles that run along a railway track. " * 12,
    "word " * 3000,
    "https://example.org/a?b=c&d=%20",
    "buffalo " * 8,
    *(
        f"Sentence number {n} tells of {n * 7 % 13} wagons and {'a very ' * (n % 9)}long platform."
        for n in range(40)
    ),
]


@pytest.fixture(scope="session")
def pack() -> Path:
    path = Shelf().resolve("all-MiniLM-L6-v2", "embed").path
    assert path is not None
    return path


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def openvino(pack: Path, kept: Path) -> Encoder:
    encoder = open_encoder(pack, kept, engine="openvino", threads=2)
    assert encoder.engine.startswith("openvino"), "the export failed; its log line says why"
    return encoder


@cache
def reference(folder: Path, text: str, pooling: Pooling) -> Any:
    """As the model's authors do it: one text at a time, float32, nothing padded."""
    tokenizer, model = _plain(folder)
    read = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**read).last_hidden_state
    mask = read["attention_mask"].unsqueeze(-1)
    pooled = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
    return pooled[0].numpy()


@cache
def _plain(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(
        folder, dtype=torch.float32
    ).eval()


def least_cosine(folder: Path, encoder: Encoder, texts: list[str], pooling: Pooling) -> float:
    ours = encoder.encode(texts, [pooling] * len(texts)).vectors
    theirs = np.stack([reference(folder, text, pooling) for text in texts])
    return float(
        np.min(np.sum(ours * theirs, 1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1))
    )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_fast_engine_gives_the_references_vectors(
    pack: Path, openvino: Encoder, pooling: Pooling
) -> None:
    assert least_cosine(pack, openvino, TEXTS, pooling) >= 0.999


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_torch_on_the_cpu_is_exact(pack: Path, kept: Path, pooling: Pooling) -> None:
    encoder = open_encoder(pack, kept, engine="torch", threads=2)
    texts = TEXTS[:16]
    ours = encoder.encode(texts, [pooling] * len(texts)).vectors
    theirs = np.stack([reference(pack, text, pooling) for text in texts])
    assert encoder.engine == "torch cpu float32"
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_openvino_in_float32_is_exact(pack: Path, kept: Path) -> None:
    encoder = open_encoder(pack, kept, engine="openvino", threads=2, exact=True)
    assert encoder.engine == "openvino float32"
    ours = encoder.encode(TEXTS, ["mean"] * len(TEXTS)).vectors
    np.testing.assert_allclose(ours, np.stack([reference(pack, text, "mean") for text in TEXTS]), atol=5e-5)


def test_sixteen_bit_floats_as_on_a_gpu_stay_the_same_vectors(pack: Path) -> None:
    forward = TorchForward(pack, device="cpu", dtype=torch.bfloat16, threads=2)
    assert least_cosine(pack, TextEncoder(read_vocabulary(pack), forward), TEXTS[:16], "mean") >= 0.999


def test_tokens_and_truncation_are_those_of_the_models_tokenizer(pack: Path, openvino: Encoder) -> None:
    tokenizer, _ = _plain(pack)
    encoded = openvino.encode(TEXTS, ["mean"] * len(TEXTS))
    full = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert encoded.tokens.tolist() == [min(512, length) for length in full]
    assert encoded.truncated.tolist() == [length > 512 for length in full]
    assert encoded.truncated.any()


def test_two_thousand_texts_come_back_in_order(openvino: Encoder) -> None:
    texts = [f"wagon {n}" for n in range(2048)]
    encoded = openvino.encode(texts, ["mean"] * len(texts))
    assert encoded.vectors.shape == (2048, 384) and np.isfinite(encoded.vectors).all()
    for n in (0, 1, 777, 2047):
        alone = openvino.encode([texts[n]], ["mean"]).vectors[0]
        nearest = np.argmax(encoded.vectors @ alone / np.linalg.norm(encoded.vectors, axis=1))
        assert nearest == n


def test_paraphrases_are_near_and_strangers_are_far(openvino: Encoder) -> None:
    vectors = openvino.encode(
        ["I lost my card", "My card is gone", "The cat sleeps on the sofa"], ["mean"] * 3
    ).vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.75 > 0.3 > unit[0] @ unit[2]


def test_the_worker_needs_no_torch_to_run(pack: Path, kept: Path, openvino: Encoder) -> None:
    program = (
        "import sys; from pathlib import Path; from callboard_nlp.engines import open_encoder\n"
        f"e = open_encoder(Path({str(pack)!r}), Path({str(kept)!r}), threads=1, engine='openvino')\n"
        "e.encode(['hello'], ['mean']); assert e.engine.startswith('openvino')\n"
        "assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- any model of the family, by name, from the operator's folder ---


@pytest.fixture(scope="module")
def models_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BertModel with random weights and a window of 32 tokens."""
    root = tmp_path_factory.mktemp("models")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "work",
        "that",
        "waits",
        "on",
        "a",
        "board",
        "역",
    ]
    folder = root / "tiny"
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(folder)
    return root


def test_a_model_in_the_operators_folder_works_by_its_name(models_path: Path, kept: Path) -> None:
    ref = Shelf(models_path=models_path, hub_models=(), made_path=models_path / ".none").resolve(
        "tiny", "embed"
    )
    assert ref.path is not None
    encoder = open_encoder(ref.path, kept, threads=1)
    assert encoder.engine.startswith("openvino")
    texts = ["the work waits", "역", "board", "a board that waits on the work " * 9]
    encoded = encoder.encode(texts, ["mean"] * 4)
    assert encoded.vectors.shape == (4, 32)
    assert encoded.tokens.tolist()[3] == 32 and encoded.truncated.tolist() == [False, False, False, True]
    tokenizer, model = _plain(models_path / "tiny")
    for text, vector in zip(texts, encoded.vectors, strict=True):
        with torch.inference_mode():
            read = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
            expected = model(**read).last_hidden_state.mean(1)[0].numpy()
        assert vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected) >= 0.999


def test_where_nothing_can_be_kept_torch_takes_over(
    models_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    encoder = open_encoder(models_path / "tiny", not_a_folder)
    assert encoder.engine.startswith("torch")
    assert encoder.encode(["the board"], ["mean"]).vectors.shape == (1, 32)


def test_an_export_is_made_once_and_leaves_nothing_half_done(models_path: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from callboard_nlp.engines import open_encoder\n"
        f"print(open_encoder(Path({str(models_path / 'tiny')!r}), Path({str(tmp_path)!r}), engine='openvino').engine)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert all("openvino" in text.splitlines()[-1] for text in said)
    assert sum(text.count("export.done") for text in said) == 1
    folders = [path for path in (tmp_path / "openvino").iterdir() if path.is_dir()]
    assert len(folders) == 1 and not folders[0].name.startswith(".")


def test_a_classifiers_probabilities_are_those_of_transformers_by_every_engine(
    models_path: Path, tmp_path: Path, kept: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path / "labels"
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(
        models_path / "tiny", num_labels=3, id2label={0: "bad", 1: "fair", 2: "good"}
    ).eval()
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(models_path / "tiny")
    tokenizer.save_pretrained(folder)
    texts = ["the work waits", "board", "a board that waits on the work " * 9, "crews"]
    for engine in ("openvino", "torch"):
        classifier = open_classifier(folder, kept, engine=engine, threads=1)  # type: ignore[arg-type]
        assert classifier.engine.startswith(engine)
        assert classifier.labels == ["bad", "fair", "good"]
        found = classifier.classify(texts)
        assert found.truncated.tolist() == [False, False, True, False]
        for text, row in zip(texts, found.probabilities, strict=True):
            with torch.inference_mode():
                read = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
                expected = model(**read).logits.softmax(1)[0].numpy()
            assert np.abs(row - expected).max() <= 0.01
