"""References in a step's input: how they are written, found, and replaced by what they name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard_shared.errors import FinalError
from callboard_shared.jobs import CHAT, ECHO, EMBED, SIMILARITY, SPEECH
from callboard_shared.pipelines.references import (
    BadReference,
    Reference,
    escape,
    fill,
    look_up,
    parse,
    texts_in,
)
from callboard_shared.pipelines.schemas import missing_part

OUTPUTS: dict[str, Any] = {
    "see": {
        "summary": "two cats",
        "counts": {"cat": 2},
        "boxes": [[0.5, 1], None],
        "sure": True,
        "": {"0": 1},
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)  # fmt: skip


def filled(value: Any, outputs: dict[str, Any] = OUTPUTS, most_bytes: int = 10_000) -> Any:
    return fill(value, lambda reference, at: look_up(outputs, reference, at), most_bytes=most_bytes)


def code_of(value: Any, **more: Any) -> str:
    with pytest.raises(FinalError) as caught:
        filled(value, **more)
    return caught.value.problem_code


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("${see.output.summary}", "two cats"),
        ("${see.output.counts}", {"cat": 2}),
        ("${see.output.counts.cat}", 2),
        ("${see.output.boxes.0.1}", 1),
        ("${see.output.boxes.1}", None),
        ("${see.output.sure}", True),
        ("${see.output}", OUTPUTS["see"]),
        ("I see ${see.output.summary}!", "I see two cats!"),
        ("${see.output.counts} ${see.output.sure} ${see.output.boxes}", '{"cat":2} true [[0.5,1],null]'),
        (" ${see.output.counts.cat}", " 2"),
        ("$${see.output.summary}", "${see.output.summary}"),
        ("$$${", "$${"),
        ("$5 and {braces} and $ {x}", "$5 and {braces} and $ {x}"),
        ("", ""),
    ],
)
def test_a_text_becomes_what_it_refers_to(text: str, given: Any) -> None:
    assert filled(text) == given


def test_a_reference_may_stand_anywhere_in_a_document_but_in_a_name() -> None:
    document = {"a": [{"b": "${see.output.counts.cat}"}, 1.5, None], "${see.output}": "x"}
    assert filled(document) == {"a": [{"b": 2}, 1.5, None], "${see.output}": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "${", "${}", "${see}", "${see.input}", "${see.output", "${see.outputs}", "${1.output}", "${see.output.}",
        "${see.output..a}", "${.output}", "${see output}", "${see.output.a b}", "${see.output.${x.output}}",
        "${ see.output }", "x ${HOME} y", "${" + "s" * 65 + ".output}",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_and_says_how_one_is_written(text: str) -> None:
    with pytest.raises(BadReference, match=r"\$\$\{ for a literal"):
        parse(text)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("summry", "has no 'summry', it has: summary, counts, boxes, sure, "),
        ("summary.0", "is a text, which has no '0'"),
        ("boxes.2", "is a list of 2, which has no item '2'"),
        ("boxes.01", "no item '01'"),
        ("boxes.-1", "no item '-1'"),
        ("boxes.1.x", "see.output.boxes.1 is null"),
        ("counts.cat.x", "is a number"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(path: str, said: str) -> None:
    with pytest.raises(FinalError) as caught:
        fill(["a", f"${{see.output.{path}}}"], lambda one, at: look_up(OUTPUTS, one, at), most_bytes=9)
    assert caught.value.problem_code == "reference-not-found"
    assert said in caught.value.detail
    assert [fault["field"] for fault in caught.value.errors or ()] == ["1"]


def test_what_references_bring_in_is_bounded_however_often_they_stand_there() -> None:
    outputs = {"a": {"b": "x" * 100}}
    assert filled(["${a.output.b}"] * 10, outputs=outputs, most_bytes=1_000) == ["x" * 100] * 10
    assert code_of(["${a.output.b}"] * 11, outputs=outputs, most_bytes=1_000) == "too-large"
    assert code_of("${a.output.b}" * 11, outputs=outputs, most_bytes=1_000) == "too-large"


@given(st.text())
def test_an_escaped_text_comes_out_as_it_was(text: str) -> None:
    assert filled(escape(text)) == text
    assert not [part for part in parse(escape(text)) if isinstance(part, Reference)]


@given(JSON)
def test_a_whole_reference_keeps_any_value_and_its_type(value: Any) -> None:
    given_ = filled("${a.output.v}", outputs={"a": {"v": value}}, most_bytes=10**6)
    assert orjson.dumps(given_) == orjson.dumps(value)


@given(
    JSON,
    st.text(alphabet=st.characters(exclude_characters="${")),
    st.text(alphabet=st.characters(exclude_characters="${")),
)
def test_within_a_text_a_value_is_written_as_it_is_or_as_json(value: Any, before: str, after: str) -> None:
    written = value if isinstance(value, str) else orjson.dumps(value).decode()
    given_ = filled(f"{before}|${{a.output.v}}{after}", outputs={"a": {"v": value}}, most_bytes=10**6)
    assert given_ == f"{before}|{written}{after}"


@given(JSON)
def test_what_a_reference_gave_is_never_read_as_one(value: Any) -> None:
    """What a model wrote into its answer cannot reach into another step's output."""
    outputs = {"a": {"v": ["${b.output}", value]}, "b": "secret"}
    assert filled({"x": "${a.output.v}", "y": "${a.output.v.0}!"}, outputs=outputs, most_bytes=10**6) == {
        "x": ["${b.output}", value],
        "y": "${b.output}!",
    }


@given(JSON)
def test_every_text_with_a_mark_is_found_where_it_stands(value: Any) -> None:
    document = {"a": [value, {"b": "${x.output}"}]}
    found = dict(texts_in(document))
    assert found["a", 1, "b"] == "${x.output}"
    for at, text in found.items():
        here: Any = document
        for part in at:
            here = here[part]
        assert here == text


@pytest.mark.parametrize(
    ("job_type", "path"),
    [
        (CHAT, "message.content"), (CHAT, "message.tool_calls.0.function.name"), (CHAT, "usage.total_tokens"),
        (CHAT, ""), (SPEECH, "file"), (SPEECH, "file.file_id"), (SPEECH, "warnings.3"), (EMBED, "embeddings.0.5"),
        (SIMILARITY, "ranking.0"), (ECHO, "value.any.thing.0"),
    ],
)  # fmt: skip
def test_a_path_that_an_output_can_have_is_taken(job_type: Any, path: str) -> None:
    assert missing_part(job_type, path.split(".") if path else []) is None


@pytest.mark.parametrize(
    ("job_type", "path", "said"),
    [
        (CHAT, "mesage", "the output of llm.chat has no 'mesage'; it has: cost_usd, finish_reason, message"),
        (
            CHAT,
            "message.text",
            "the output.message of llm.chat has no 'text'; it has: content, role, tool_calls",
        ),
        (CHAT, "message.content.0", "the output.message.content of llm.chat has no '0'"),
        (SPEECH, "file.name", "it has: bytes, file_id, media_type, sha256, url"),
        (SPEECH, "warnings.first", "no 'first'"),
        (ECHO, "text", "it has: value"),
    ],
)
def test_a_path_that_no_output_can_have_is_told(job_type: Any, path: str, said: str) -> None:
    missing = missing_part(job_type, path.split("."))
    assert missing is not None and said in missing
