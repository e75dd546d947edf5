"""What is not JSON, or not allowed in it, is told apart and named."""

from __future__ import annotations

from typing import Any

import pytest

from callboard_gateway.bodies import read_body, require_json
from callboard_shared.documents import check_depth, compact, parse_json
from callboard_shared.errors import Invalid, Malformed, TooLarge, UnsupportedMedia


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


class Body:
    """An ASGI ``receive`` that counts what was taken of it."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        chunk = self.chunks[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": chunk, "more_body": self.taken < len(self.chunks)}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{'a': 1}", b'{"a": }', b"\xff\xfe", b'{"a": 1} x', b"[" * 5000]
)
def test_what_is_no_json_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_not_is_invalid_and_its_field_named(number: str) -> None:
    document = parse_json(f'{{"value": [1, {{"deep": {number}}}]}}'.encode())
    with pytest.raises(Invalid) as caught:
        compact(document, "input")
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "input.value.1.deep"


def test_a_lone_surrogate_is_invalid_and_its_field_named() -> None:
    with pytest.raises(Invalid) as caught:
        compact(parse_json(rb'{"texts": ["fine", "\ud800"]}'), "input")
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "input.texts.1"


def test_a_surrogate_pair_is_a_character() -> None:
    assert compact(parse_json(rb'["\ud83d\ude00"]'), "input") == '["😀"]'.encode()


def test_of_two_equal_names_the_last_counts() -> None:
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}


def test_nesting_has_a_limit() -> None:
    check_depth(parse_json(b"[" * 100 + b"]" * 100))
    with pytest.raises(Malformed):
        check_depth(parse_json(b"[" * 101 + b"]" * 101))


@pytest.mark.parametrize("depth", [1000, 1024, 1025, 3000, 100_000, 1_000_000])
def test_very_deep_nesting_is_malformed_whatever_finds_it(depth: int) -> None:
    with pytest.raises(Malformed):
        check_depth(parse_json(b'{"a":' * depth + b"1" + b"}" * depth))


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    body = Body(b"x" * 11)
    with pytest.raises(TooLarge):
        await read_body(scope(content_length="11"), body, limit=10)
    assert body.taken == 0


async def test_a_chunked_body_is_read_only_as_far_as_its_limit() -> None:
    body = Body(*[b"xxxx"] * 100)
    with pytest.raises(TooLarge):
        await read_body(scope(), body, limit=10)
    assert body.taken == 3


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert await read_body(scope(), Body(b"x" * 4, b"y" * 6), limit=10) == b"xxxxyyyyyy"
    assert await read_body(scope(content_length="10"), Body(b"x" * 10), limit=10) == b"x" * 10


@pytest.mark.parametrize(
    "said", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]
)
def test_json_is_taken_under_its_names(said: str) -> None:
    require_json(scope(content_type=said))


@pytest.mark.parametrize("said", ["text/plain", "application/x-www-form-urlencoded", "application/json5", ""])
def test_other_content_types_are_refused(said: str) -> None:
    with pytest.raises(UnsupportedMedia):
        require_json(scope(content_type=said))
    with pytest.raises(UnsupportedMedia):
        require_json(scope())
