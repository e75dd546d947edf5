from __future__ import annotations

from typing import Any

import pytest

from callboard_client.cli.fields import Local, Misuse, fields_of, parse

SCHEMA: dict[str, Any] = {
    "properties": {
        "value": {"description": "Any JSON."},
        "sleep_ms": {"type": "integer", "default": 0},
        "temperature": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "text": {"type": "string"},
        "texts": {"type": "array", "items": {"type": "string"}},
        "pairs": {"anyOf": [{"type": "array", "items": {"type": "array"}}, {"type": "null"}]},
        "classes": {"type": "array", "items": {"type": "integer"}},
        "dataset": {"anyOf": [{"$ref": "#/$defs/FileRef"}, {"type": "array"}]},
        "annotate": {"type": "boolean"},
        "rows": {
            "anyOf": [
                {"oneOf": [{"type": "array", "items": {"type": "object"}}, {"$ref": "#/$defs/Upload"}]},
                {"type": "null"},
            ]
        },
    },
    "$defs": {
        "Upload": {"type": "object", "properties": {"file_id": {}, "base64": {}, "hub": {}}},
        "FileRef": {"type": "object", "properties": {"file_id": {}, "url": {}, "base64": {}}},
    },
}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--value", '{"a": 1}'], {"value": {"a": 1}}),
        (["--value", "plain"], {"value": "plain"}),
        (["--sleep-ms", "5"], {"sleep_ms": 5}),
        (["--sleep_ms=5"], {"sleep_ms": 5}),
        (["--temperature", "-0.5"], {"temperature": -0.5}),
        (["--text", "7"], {"text": "7"}),
        (["--texts", "a", "--texts", "[b]"], {"texts": ["a", "[b]"]}),
        (["--pairs", '["a", "b"]', "--pair", '["c", "d"]'], {"pairs": [["a", "b"], ["c", "d"]]}),
        (["--pairs", '[["a", "b"]]'], {"pairs": [["a", "b"]]}),
        (["--classes", "1", "--classes", "2"], {"classes": [1, 2]}),
        (["--classes", "[1, 2]"], {"classes": [1, 2]}),
        (["--dataset", "train.csv"], {"dataset": Local("train.csv")}),
        (["--dataset", "https://example.org/x"], {"dataset": {"url": "https://example.org/x"}}),
        (["--rows", "train.csv"], {"rows": Local("train.csv")}),
        (["--rows", "file_7"], {"rows": {"file_id": "file_7"}}),
        (["--rows", '{"hub": "imdb"}'], {"rows": {"hub": "imdb"}}),
        (["--rows", '[{"text": "a", "label": 1}]'], {"rows": [{"text": "a", "label": 1}]}),
        (["--rows", "[draft].csv"], {"rows": Local("[draft].csv")}),
        (["--annotate"], {"annotate": True}),
        (["--no-annotate"], {"annotate": False}),
        (["--annotate=false"], {"annotate": False}),
    ],
)
def test_options_become_values_as_the_schema_says(arguments: list[str], given: dict[str, Any]) -> None:
    assert parse(arguments, fields_of(SCHEMA), "a.type") == given


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(Misuse, match="takes a whole number, not 'soon'"):
        parse(["--sleep-ms", "soon"], fields_of(SCHEMA), "a.type")
    with pytest.raises(Misuse):
        parse(["--temperature", "NaN"], fields_of(SCHEMA), "a.type")


def test_a_url_is_refused_where_a_file_cannot_be_given_by_one() -> None:
    with pytest.raises(Misuse, match="--rows takes no URL"):
        parse(["--rows", "https://example.org/x.csv"], fields_of(SCHEMA), "a.type")
    shown = {one.name: one.placeholder for one in fields_of(SCHEMA)}
    assert (shown["rows"], shown["dataset"]) == ("FILE", "FILE|URL")
