"""A submission becomes a job for the ledger, or a problem that names every fault."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from callboard_shared import submission
from callboard_shared.errors import Invalid, Malformed, RequestError, TooLarge, UnsupportedMedia
from callboard_shared.jobs import (
    CATALOGUE,
    DETECT,
    EVALUATE,
    FINETUNE,
    TRANSFORMER_TRAIN,
    UNION_TAGS,
    WORD2VEC_TRAIN,
    Catalogue,
)
from callboard_shared.ledger import NewJob
from callboard_shared.ledger.records import Named
from callboard_shared.pictures import PictureSettings
from callboard_shared.submission import Reader
from callboard_shared.urls import Policy, UrlNotAllowed

ECHO: dict[str, Any] = {"type": "system.echo", "input": {"value": 1}}


def read(document: Any, **settings: Any) -> NewJob:
    return Reader(**settings).read(document, "key_x")


def faults(document: Any, **settings: Any) -> dict[str, str]:
    """Field and code of each fault."""
    with pytest.raises(Invalid) as caught:
        read(document, **settings)
    return {fault["field"]: fault["code"] for fault in caught.value.errors or ()}


def test_the_least_submission_has_the_types_own_limits() -> None:
    job = read(ECHO)
    assert (job.type, job.queue, job.owner) == ("system.echo", "system", "key_x")
    assert (job.priority, job.timeout_ms, job.max_attempts) == (0, 900_000, 3)
    assert (job.retention_ms, job.expires_in_ms, job.run_at_ms) == (604_800_000, 86_400_000, None)
    assert job.spec == b'{"input":{"value":1}}'


@pytest.mark.parametrize("job_type", list(CATALOGUE), ids=lambda one: one.name)
def test_the_example_of_every_type_is_taken(job_type: Any) -> None:
    job = read({"type": job_type.name, "input": dict(job_type.example)})
    assert job.queue == job_type.queue
    assert orjson.loads(job.spec)["input"] == job_type.example


def test_everything_that_can_be_said_is_kept() -> None:
    other = "job_01m82k33kretkv5g41ez9s8tdg"
    job = read(
        ECHO
        | {
            "priority": -10, "run_at": "2099-01-01T00:00:00+09:00", "expires_in_s": 1.5, "timeout_s": 2,
            "max_attempts": 1, "after": [other, other], "metadata": {"order": "17"}, "retention_s": 60,
            "webhook": {"url": "https://example.com/hook", "events": ["job.succeeded", "job.failed"]},
        }
    )  # fmt: skip
    assert (job.priority, job.run_at_ms, job.expires_in_ms) == (-10, 4070876400000, 1500)
    assert (job.timeout_ms, job.max_attempts, job.after, job.retention_ms) == (2000, 1, (other,), 60_000)
    assert job.hook == "succeeded,failed https://example.com/hook"
    spec = orjson.loads(job.spec)
    assert spec["metadata"] == {"order": "17"}
    assert spec["webhook"] == {"url": "https://example.com/hook", "events": ["job.succeeded", "job.failed"]}
    assert spec["after"] == [other, other]


def test_a_webhook_without_events_hears_of_every_end() -> None:
    job = read(ECHO | {"webhook": {"url": "https://example.com/hook"}})
    assert job.hook == "succeeded,failed,canceled,expired https://example.com/hook"


def test_null_expiry_means_never() -> None:
    assert read(ECHO | {"expires_in_s": None}).expires_in_ms is None
    assert read(ECHO, expires_s=None).expires_in_ms is None


def test_a_misspelt_type_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(Invalid) as caught:
        read({"type": "nlp.embedd", "input": {}})
    assert "did you mean 'nlp.embed'?" in caught.value.detail
    for name in CATALOGUE.names:
        assert name in caught.value.detail


@pytest.mark.parametrize("wrong", [None, 7, ["system.echo"], {}, "x" * 10_000, "\ud800"])
def test_a_type_of_any_other_kind_is_refused(wrong: Any) -> None:
    assert faults({"type": wrong, "input": {}}).keys() == {"type"}


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_job_is_an_object(document: Any) -> None:
    with pytest.raises(Invalid):
        read(document)


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        {"type": "nlp.embed", "input": {"texts": ["ok", ""], "wat": 1}, "priority": 11, "color": "red"}
    )
    assert found == {
        "priority": "less_than_equal",
        "color": "extra_forbidden",
        "input.texts.1": "string_too_short",
        "input.wat": "extra_forbidden",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "1"), ("priority", 1.5), ("priority", True), ("run_at", "tomorrow"), ("run_at", 1763803800),
        ("run_at", "2026-11-22T09:30:00"), ("expires_in_s", 0), ("expires_in_s", "1"), ("timeout_s", -1),
        ("max_attempts", 0), ("max_attempts", 21), ("retention_s", 0), ("after", "job_x"), ("metadata", []),
    ],
)  # fmt: skip
def test_wrong_options_are_named(field: str, value: Any) -> None:
    assert faults(ECHO | {field: value}).keys() == {field}


def test_metadata_is_text() -> None:
    assert faults(ECHO | {"metadata": {"order": 17}}).keys() == {"metadata.order"}
    assert faults(ECHO | {"metadata": {"a": "x" * 513}}).keys() == {"metadata.a"}
    assert faults(ECHO | {"metadata": {str(n): "" for n in range(51)}}).keys() == {"metadata"}
    assert faults(ECHO | {"metadata": {"a": "\ud800"}}).keys() == {"metadata.a"}


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_an_input_is_an_object(value: Any) -> None:
    assert faults({"type": "system.echo", "input": value}).keys() == {"input"}


def test_an_input_is_needed() -> None:
    assert faults({"type": "system.echo"}) == {"input": "missing"}


def test_a_text_of_a_megabyte_is_too_long() -> None:
    assert faults({"type": "nlp.embed", "input": {"texts": ["x" * 1_000_000]}}) == {
        "input.texts.0": "string_too_long"
    }


def test_a_rule_over_several_fields_is_told_of_the_input() -> None:
    assert faults({"type": "nlp.similarity", "input": {"query": "a"}}) == {"input": "value_error"}


@pytest.mark.parametrize(
    ("dataset", "fields"),
    [
        ([{"text": "a", "label": "x"}, {"text": "a"}], {"dataset.1.label"}),
        ([{"text": "a", "label": "x" * 201}, {"text": 1, "label": None}],
         {"dataset.0.label", "dataset.1.text", "dataset.1.label"}),
        ([{"text": "a", "label": 1, "split": "train"}], {"dataset.0.split"}),
        ([{"text": "a", "label": 1}, 3], {"dataset.1"}),
        ([], {"dataset"}),
        ({"hub": 3}, {"dataset.hub"}),
        ({"hub": "imdb", "wat": 1}, {"dataset.wat"}),
        ({"hub": "imdb", "file_id": "file_1"}, {"dataset"}),
        ({}, {"dataset"}),
        ("imdb", {"dataset"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("job_type", "name"), [(FINETUNE, "dataset"), (FINETUNE, "eval_dataset"), (EVALUATE, "dataset")]
)
def test_a_fault_within_a_list_or_an_object_is_named_by_its_path_in_the_document(
    monkeypatch: pytest.MonkeyPatch, job_type: Any, name: str, dataset: Any, fields: set[str]
) -> None:
    monkeypatch.setattr(submission, "CATALOGUE", Catalogue(job_type))
    given = {"dataset": [{"text": "a", "label": 1}], name: dataset}
    with pytest.raises(Invalid) as caught:
        read({"type": job_type.name, "input": given})
    found = {fault["field"] for fault in caught.value.errors or ()}
    assert found == {f"input.{field.replace('dataset', name, 1)}" for field in fields}
    assert not any(tag in str(caught.value.problem()) for tag in UNION_TAGS)


def test_deep_nesting_is_malformed() -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(Malformed):
        read({"type": "system.echo", "input": {"value": deep}})


def test_a_model_that_not_everybody_may_name_and_every_file_are_left_to_be_looked_up() -> None:
    def knows(job_type: Any, field: str, name: str) -> bool:
        return name != "mine@1"

    job = read({"type": "nlp.embed", "input": {"texts": ["a"], "model": "mine@1"}}, knows_model=knows)
    assert job.names == (Named("model", "input.model", "mine@1", ("embed",)),)
    job = read({"type": "nlp.word2vec.train", "input": {"file": {"file_id": "file_1"}}}, knows_model=knows)
    assert job.names == (Named("file", "input.file.file_id", "file_1"),)
    assert read(ECHO, knows_model=knows).names == ()
    assert read({"type": "nlp.embed", "input": {"texts": ["a"]}}, knows_model=knows).names == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/corpus.txt",
        "file:///etc/passwd",
        "https://user:word@example.com/",
        "https://example.com:6379/",
        "http://127.1/",
        "https://0x7f000001/",
        "https://169.254.169.254/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[fd00::1]/",
        "data:text/plain,hello",
    ],
)
def test_the_url_of_a_file_is_judged_at_submission_and_named_by_its_path(url: str) -> None:
    for job_type, name in ((WORD2VEC_TRAIN, "file"), (FINETUNE, "dataset"), (TRANSFORMER_TRAIN, "file")):
        with pytest.raises(Invalid) as caught:
            read({"type": job_type.name, "input": {name: {"url": url}}})
        assert caught.value.problem_code == "url-not-allowed" and caught.value.status == 422
        assert [fault["field"] for fault in caught.value.errors or ()] == [f"input.{name}.url"]


def test_the_url_of_a_file_is_https_or_this_machine_where_the_operator_allows_it() -> None:
    document = {"type": "nlp.word2vec.train", "input": {"file": {"url": "http://127.0.0.1:9000/corpus.txt"}}}
    assert read(document, urls=Policy(allow_private=True)).names == ()
    document["input"] = {"file": {"url": "https://example.com/corpus.txt?signature=x"}}
    assert orjson.loads(read(document).spec)["input"] == document["input"]


def test_a_picture_in_a_chat_is_judged_too_unless_its_url_holds_it() -> None:
    def chat(url: str) -> Any:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"type": "llm.chat", "input": {"messages": [{"role": "user", "content": [part]}]}}

    read(chat("https://example.com/a.png"))
    read(chat("data:image/png;base64,iVBORw0KGgo="))
    with pytest.raises(UrlNotAllowed) as caught:
        read(chat("https://169.254.169.254/a.png"))
    assert (caught.value.errors or [])[0]["field"] == "input.messages.0.content.0.image_url.url"


SIGN = DETECT.example["image"]["base64"]


def test_a_picture_within_the_request_is_judged_and_an_uploaded_one_is_left_to_be_looked_up() -> None:
    given = {"images": [{"base64": SIGN}, {"file_id": "file_1"}]}
    job = read({"type": "vision.detect", "input": given})
    assert job.names == (Named("picture", "input.images.1.file_id", "file_1"),)
    assert read({"type": "vision.detect", "input": {"image": {"base64": SIGN}}}).names == ()


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("aGVsbG8gd29ybGQ=", UnsupportedMedia, "unsupported-media-type"),
        (SIGN[:4000], UnsupportedMedia, "image-damaged"),
        ("", UnsupportedMedia, "unsupported-media-type"),
        (f"data:image/jpeg;base64,{SIGN}", Invalid, "invalid-base64"),
        (SIGN, Invalid, "image-too-large"),
    ],
)
def test_a_picture_that_is_none_is_named(text: str, kind: type[RequestError], code: str) -> None:
    small = PictureSettings(picture_max_pixels=1000 if code == "image-too-large" else 10**6)
    with pytest.raises(kind) as caught:
        read({"type": "vision.detect", "input": {"images": [{"base64": text}]}}, pictures=small)
    assert caught.value.problem_code == code
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "input.images.0.base64"


BROKEN = [
    (SIGN[:30_000] + "!" + SIGN[30_001:], "in the middle, where no judge looks"),
    (SIGN[1:], "one character too few"),
    (SIGN.rstrip("=") + "=" * 4, "more padding than there can be"),
    (SIGN[:30_000] + "==" + SIGN[30_002:], "padding in the middle"),
    ("\n".join(SIGN[at : at + 76] for at in range(0, len(SIGN), 76)), "lines"),
    ("사진", "not ASCII"),
]


@pytest.mark.parametrize("text", [text for text, _ in BROKEN], ids=[why for _, why in BROKEN])
def test_base64_that_is_broken_anywhere_is_named_at_submission(text: str) -> None:
    given: list[tuple[str, dict[str, Any], str]] = [
        ("vision.detect", {"images": [{"base64": SIGN}, {"base64": text}]}, "input.images.1.base64"),
        ("vision.track", {"video": {"base64": text}}, "input.video.base64"),
        ("vision.train", {"dataset": {"base64": text}, "name": "a"}, "input.dataset.base64"),
        ("llm.chat", {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"base64": text}}]}]},
         "input.messages.0.content.0.image_url.base64"),
    ]  # fmt: skip
    for name, value, field in given:
        with pytest.raises(Invalid) as caught:
            read({"type": name, "input": value})
        assert (caught.value.problem_code, (caught.value.errors or [])[0]["field"]) == (
            "invalid-base64",
            field,
        )


def test_the_base64_of_a_data_url_is_judged_too() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGg"}}
    with pytest.raises(Invalid) as caught:
        read({"type": "llm.chat", "input": {"messages": [{"role": "user", "content": [part]}]}})
    assert caught.value.problem_code == "invalid-base64"
    assert (caught.value.errors or [])[0]["field"] == "input.messages.0.content.0.image_url.url"


def test_a_picture_of_too_many_bytes_is_refused_before_any_of_it_is_decoded() -> None:
    with pytest.raises(TooLarge) as caught:
        read(
            {"type": "vision.detect", "input": {"image": {"base64": "?" * 4000}}},
            pictures=PictureSettings(picture_max_bytes=2000),
        )
    assert (caught.value.errors or [])[0]["field"] == "input.image.base64"


def test_a_trace_goes_on_with_the_job() -> None:
    job = Reader().read(ECHO, "key_x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert orjson.loads(job.spec)["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
