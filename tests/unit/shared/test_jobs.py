from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from callboard_shared.jobs import (
    CATALOGUE,
    CLASSIFY,
    DETECT,
    ECHO,
    EMBED,
    EVALUATE,
    FINETUNE,
    QUEUES,
    SIMILARITY,
    TRANSFORMER_GENERATE,
    TRANSFORMER_TRAIN,
    WORD2VEC_QUERY,
    WORD2VEC_TRAIN,
    Batch,
    Catalogue,
    Input,
    JobType,
    Output,
)
from callboard_shared.jobs.nlp import MAX_TEXT_CHARS


class Word(Input):
    word: str = "a"


class Said(Output):
    word: str


def a_type(**fields: Any) -> JobType[Any, Any]:
    standard: Mapping[str, Any] = {
        "name": "nlp.say", "queue": "nlp", "input": Word, "output": Said, "summary": "Say it.", "example": {"word": "b"},
    }  # fmt: skip
    return JobType(**{**standard, **fields})


def refused(job_type: JobType[Any, Any], **fields: Any) -> bool:
    try:
        job_type.input.model_validate_json(json.dumps(fields))
    except ValidationError:
        return True
    return False


def test_the_catalogue_holds_the_types_in_order_of_declaration() -> None:
    assert CATALOGUE.names == [
        "nlp.embed", "nlp.similarity", "nlp.classify", "nlp.finetune", "nlp.evaluate", "nlp.word2vec.train",
        "nlp.word2vec.query", "nlp.transformer.train", "nlp.transformer.generate", "llm.chat", "tts.speech",
        "vision.detect", "vision.track", "vision.train", "system.echo",
    ]  # fmt: skip
    assert CATALOGUE.get("nlp.embed") is EMBED and CATALOGUE.get("nlp.embedd") is None
    assert "nlp.embed" in CATALOGUE and "nlp.embedd" not in CATALOGUE


TYPES = {
    one.name: one
    for one in (*CATALOGUE, CLASSIFY, FINETUNE, EVALUATE, TRANSFORMER_TRAIN, TRANSFORMER_GENERATE)
}
"""Those that can be submitted, and those that are declared."""


@pytest.mark.parametrize("job_type", TYPES.values(), ids=TYPES)
def test_schemas_are_valid_and_the_example_is_as_the_input_schema_says(job_type: JobType[Any, Any]) -> None:
    about = job_type.describe()
    for schema in (about["input_schema"], about["output_schema"]):
        jsonschema_rs.meta.validate(schema)
    judge = jsonschema_rs.Draft202012Validator(about["input_schema"])
    assert [error.message for error in judge.iter_errors(about["example"])] == []
    assert not judge.is_valid({**about["example"], "no-such-field": 1})


@pytest.mark.parametrize("job_type", list(CATALOGUE), ids=lambda job_type: job_type.name)
def test_every_type_describes_itself_and_has_a_queue_that_exists(job_type: JobType[Any, Any]) -> None:
    about = json.loads(json.dumps(job_type.describe()))
    assert set(about) == {
        "name", "queue", "summary", "input_schema", "output_schema", "example", "batch", "limits",
    }  # fmt: skip
    assert job_type.queue in QUEUES and job_type.summary.endswith(".")
    assert set(about["example"]) <= set(about["input_schema"]["properties"])
    for name in about["input_schema"].get("required", []):
        assert name in about["example"]


def test_a_name_declared_twice_is_refused() -> None:
    with pytest.raises(TypeError, match="declared twice"):
        Catalogue(ECHO, ECHO)


def test_an_example_that_its_own_input_refuses_is_a_defect_found_at_once() -> None:
    with pytest.raises(ValidationError):
        a_type(example={"wort": "b"})


def test_a_batch_by_a_field_that_the_input_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="names 'wort'"):
        a_type(batch=Batch(max_jobs=2, by=("wort",)))


def test_jobs_share_a_batch_if_the_named_fields_are_equal() -> None:
    job_type = a_type(batch=Batch(max_jobs=2, by=("word",), weigh=lambda value: len(value.word)))
    assert job_type.batch_key(Word(word="x")) == "nlp.say|x"
    assert job_type.weight(Word(word="four")) == 4
    assert (a_type().batch_key(Word()), a_type().weight(Word())) == ("nlp.say", 1)


def test_embeddings_of_one_model_share_a_batch_and_weigh_their_estimated_tokens() -> None:
    value = EMBED.input(texts=["ab", "cde"])
    assert EMBED.batch_key(value) == "nlp.embed|all-MiniLM-L6-v2"
    assert EMBED.weight(value) == 4
    assert EMBED.weight(EMBED.input(texts=["word " * 8])) == 12
    assert EMBED.weight(EMBED.input(texts=["가나다라"])) == 5, "a Hangul syllable is three bytes"
    assert EMBED.weight(EMBED.input(texts=["a" * 100_000])) == 512, (
        "what goes beyond the window costs nothing"
    )
    assert EMBED.batch_key(EMBED.input(texts=["a"], model="other")) != EMBED.batch_key(value)


def test_an_input_is_refused_with_unknown_fields_silent_conversions_or_nan() -> None:
    assert refused(EMBED, texts=["a"], text="b")
    assert refused(EMBED, texts=["a"], normalize="yes")
    assert refused(EMBED, texts=[1])
    assert refused(ECHO, sleep_ms=1.5)
    assert not refused(EMBED, texts=["a"])


@pytest.mark.parametrize(
    ("texts", "accepted"),
    [
        ([], False), ([""], False), (["a", ""], False), (["a"] * 2048, True), (["a"] * 2049, False),
        (["a" * MAX_TEXT_CHARS], True), (["a" * (MAX_TEXT_CHARS + 1)], False), (["a" * 1_000_000], False),
        (["안녕"], True),
    ],
)  # fmt: skip
def test_texts_are_one_to_2048_and_none_empty_or_too_long(texts: list[str], accepted: bool) -> None:
    assert refused(EMBED, texts=texts) is not accepted


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValidationError):
        EMBED.input.model_validate_json('{"texts":["\\ud800"]}')


@pytest.mark.parametrize(
    ("asked", "accepted"),
    [
        ({"pairs": [["a", "b"]]}, True),
        ({"query": "a", "candidates": ["b", "c"]}, True),
        ({}, False),
        ({"query": "a"}, False),
        ({"candidates": ["b"]}, False),
        ({"pairs": [["a", "b"]], "query": "a"}, False),
        ({"pairs": [["a", "b"]], "query": "a", "candidates": ["b"]}, False),
        ({"pairs": [["a", "b", "c"]]}, False),
        ({"pairs": []}, False),
        ({"query": "a", "candidates": []}, False),
    ],
)
def test_similarity_is_asked_by_pairs_or_by_a_query_with_candidates(
    asked: dict[str, Any], accepted: bool
) -> None:
    assert refused(SIMILARITY, **asked) is not accepted


def test_similarity_weighs_all_its_texts() -> None:
    assert SIMILARITY.weight(SIMILARITY.input(pairs=[("ab", "c"), ("d", "word word")])) == 10
    assert SIMILARITY.weight(SIMILARITY.input(query="ab", candidates=["c", "word word"])) == 8


NLP_INPUTS: list[tuple[JobType[Any, Any], dict[str, Any], bool]] = [
    (CLASSIFY, {"texts": ["a"]}, True),
    (CLASSIFY, {"texts": []}, False),
    (WORD2VEC_TRAIN, {"texts": ["a b"]}, True),
    (WORD2VEC_TRAIN, {"sentences": [["a", "b"]]}, True),
    (WORD2VEC_TRAIN, {"file": {"file_id": "file_x"}}, True),
    (WORD2VEC_TRAIN, {"file": {"base64": "YQ=="}}, True),
    (WORD2VEC_TRAIN, {"file": {"url": "https://example.com/corpus.txt"}}, True),
    (WORD2VEC_TRAIN, {"file": {"file_id": "file_x", "base64": "YQ=="}}, False),
    (WORD2VEC_TRAIN, {"file": {"url": "https://example.com/", "base64": "YQ=="}}, False),
    (WORD2VEC_TRAIN, {"file": {"url": "https://example.com/" + "a" * 2048}}, False),
    (WORD2VEC_TRAIN, {"file": {}}, False),
    (WORD2VEC_TRAIN, {}, False),
    (WORD2VEC_TRAIN, {"texts": ["a"], "sentences": [["a"]]}, False),
    (WORD2VEC_TRAIN, {"texts": ["a"], "sg": 2}, False),
    (WORD2VEC_TRAIN, {"texts": ["a"], "name": "../up"}, False),
    (WORD2VEC_TRAIN, {"texts": ["a"], "name": "own@1"}, False),
    (WORD2VEC_QUERY, {"vectors": ["a"]}, True),
    (WORD2VEC_QUERY, {"similarity": [["a", "b"]]}, True),
    (WORD2VEC_QUERY, {"similarity": [["a"]]}, False),
    (WORD2VEC_QUERY, {"doesnt_match": ["a", "b", "c"]}, True),
    (WORD2VEC_QUERY, {"most_similar": {"positive": ["a"]}}, True),
    (WORD2VEC_QUERY, {"most_similar": {}}, False),
    (WORD2VEC_QUERY, {}, False),
    (WORD2VEC_QUERY, {"vectors": ["a"], "doesnt_match": ["a", "b"]}, False),
    (FINETUNE, {"dataset": [{"text": "a", "label": 1}]}, True),
    (FINETUNE, {"dataset": [{"text": "a", "label": "1"}]}, True),
    (FINETUNE, {"dataset": [{"text": "a", "label": True}]}, False),
    (FINETUNE, {"dataset": [{"text": "a"}]}, False),
    (FINETUNE, {"dataset": {"hub": "imdb"}}, True),
    (FINETUNE, {"dataset": {"hub": "imdb", "file_id": "file_x"}}, False),
    (FINETUNE, {"dataset": {"url": "https://example.com/reviews.csv"}}, True),
    (FINETUNE, {"dataset": {"hub": "imdb", "url": "https://example.com/reviews.csv"}}, False),
    (FINETUNE, {"dataset": {"file_id": "file_x"}, "epochs": 0}, False),
    (FINETUNE, {"dataset": {"file_id": "file_x"}, "train_batch_size": 0}, False),
    (FINETUNE, {}, False),
    (EVALUATE, {"dataset": {"file_id": "file_x"}}, True),
    (TRANSFORMER_TRAIN, {"pairs": [["a", "b"]]}, True),
    (TRANSFORMER_TRAIN, {"pairs": [["a", "b"]], "d_model": 100, "nhead": 8}, False),
    (TRANSFORMER_TRAIN, {"pairs": [["a", ""]]}, False),
    (TRANSFORMER_TRAIN, {"pairs": [["a"]]}, False),
    (TRANSFORMER_TRAIN, {"pairs": [["a", "b"]], "file": {"file_id": "file_x"}}, False),
    (TRANSFORMER_TRAIN, {"file": {"file_id": "file_x"}, "label_smoothing": 0.1, "warmup_steps": 4000}, True),
    (TRANSFORMER_TRAIN, {"pairs": [["a", "b"]], "vocabulary_size": 258}, False),
    (TRANSFORMER_TRAIN, {"pairs": [["a", "b"]], "learning_rate_decay": "sometimes"}, False),
    (TRANSFORMER_TRAIN, {}, False),
    (TRANSFORMER_GENERATE, {"texts": ["a"], "beams": 0}, False),
    (TRANSFORMER_GENERATE, {"texts": ["a"]}, True),
]


@pytest.mark.parametrize(
    ("job_type", "value", "accepted"), NLP_INPUTS, ids=lambda one: str(getattr(one, "name", one))[:60]
)
def test_inputs_of_models_and_training_are_judged(
    job_type: JobType[Any, Any], value: dict[str, Any], accepted: bool
) -> None:
    assert refused(job_type, **value) is not accepted


@pytest.mark.parametrize(
    ("label", "kept"),
    [("good", "good"), (1, "1"), (-1, "-1"), (1.0, "1"), ("", ""), ("x" * 200, "x" * 200), ("x" * 201, None),
     (1.5, None), (True, None), (None, None), (["good"], None)],
)  # fmt: skip
def test_a_label_is_a_text_or_an_integer_to_the_schema_and_to_us_alike(label: Any, kept: str | None) -> None:
    value = {"dataset": [{"text": "a", "label": label}]}
    judge = jsonschema_rs.Draft202012Validator(FINETUNE.describe()["input_schema"])
    assert (judge.is_valid(value), refused(FINETUNE, **value)) == (kept is not None, kept is None)
    if kept is not None:
        assert FINETUNE.input.model_validate_json(json.dumps(value)).dataset[0].label == kept


def test_the_defaults_of_fine_tuning_are_the_usual_recipe() -> None:
    value = FINETUNE.input(dataset=[{"text": "a", "label": 1}])
    assert (value.epochs, value.train_batch_size, value.eval_batch_size, value.learning_rate) == (
        3,
        8,
        8,
        5e-5,
    )
    assert (value.max_length, value.train_samples, value.eval_samples, value.seed) == (512, 1000, 500, 42)
    assert (value.save_steps, value.save_total_limit) == (10_000, 2)
    transformer = TRANSFORMER_TRAIN.input(pairs=[("a", "b")])
    assert (transformer.d_model, transformer.nhead, transformer.learning_rate) == (512, 8, 1e-4)
    assert transformer.num_encoder_layers == transformer.num_decoder_layers == 6
    assert (transformer.dim_feedforward, transformer.dropout) == (2048, 0.1)
    assert (transformer.warmup_steps, transformer.label_smoothing, transformer.learning_rate_decay) == (
        0,
        0,
        "none",
    )


def test_training_and_evaluation_never_run_on_the_queue_of_embeddings() -> None:
    for job_type in (WORD2VEC_TRAIN, FINETUNE, EVALUATE, TRANSFORMER_TRAIN):
        assert job_type.queue == "nlp-train"
    for job_type in (EMBED, SIMILARITY, CLASSIFY, WORD2VEC_QUERY, TRANSFORMER_GENERATE):
        assert job_type.queue == "nlp"


def test_a_type_tells_which_models_and_files_an_input_names() -> None:
    value = FINETUNE.input(
        dataset={"file_id": "file_a"}, eval_dataset={"file_id": "file_b"}, base_model="mine"
    )
    assert FINETUNE.models_of(value) == {"base_model": "mine"}
    assert FINETUNE.files_of(value) == {"dataset.file_id": "file_a", "eval_dataset.file_id": "file_b"}
    assert FINETUNE.takes_files and not EMBED.takes_files
    elsewhere = FINETUNE.input(
        dataset={"url": "https://example.com/a.csv"}, eval_dataset={"file_id": "file_b"}
    )
    assert FINETUNE.urls_of(elsewhere) == {"dataset.url": "https://example.com/a.csv"}
    assert FINETUNE.files_of(elsewhere) == {"eval_dataset.file_id": "file_b"}
    assert [one.url for one in FINETUNE.distant_of(elsewhere)] == ["https://example.com/a.csv"]
    twice = DETECT.input.model_validate(
        {
            "images": [
                {"url": "https://example.com/a.png"},
                {"base64": "aaaa"},
                {"url": "https://example.com/a.png"},
            ]
        }
    )
    assert [one.url for one in DETECT.distant_of(twice)] == ["https://example.com/a.png"], "once"
    assert DETECT.within_of(twice) == {"images.1.base64": ("aaaa", "picture")}
    inline = FINETUNE.input(dataset=[{"text": "a", "label": "b"}])
    assert FINETUNE.files_of(inline) == {}
    with pytest.raises(TypeError, match="modell"):
        a_type(models={"modell": ("embed",)})


def test_the_catalogue_is_imported_with_nothing_but_pydantic() -> None:
    heavy = "{'celery', 'redis', 'fastapi', 'kombu', 'torch', 'numpy', 'transformers', 'structlog'}"
    code = f"import sys, callboard_shared.jobs; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_an_output_says_of_a_file_may_stand_where_an_input_takes_one() -> None:
    said = {
        "file_id": "file_1",
        "media_type": "text/plain",
        "bytes": 3,
        "sha256": "0",
        "url": "/v1/files/file_1/content",
    }
    value = WORD2VEC_TRAIN.input.model_validate_json(json.dumps({"file": said, "name": "a"}))
    assert WORD2VEC_TRAIN.files_of(value) == {"file.file_id": "file_1"}
    assert refused(WORD2VEC_TRAIN, file={**said, "more": 1})
    assert refused(WORD2VEC_TRAIN, file={"file_id": "file_1", "bytes": 3})
