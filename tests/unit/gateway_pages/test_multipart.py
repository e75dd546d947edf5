from __future__ import annotations

import pytest

from callboard_gateway.multipart import Event, FormReader, PartBegin, PartData, PartEnd, boundary_of
from callboard_shared.errors import Malformed, UnsupportedMedia

BODY = (
    b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\ntrain\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="\xed\x95\x9c.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nline\r\n--Bnot\r\n\r\n--B--\r\n"
)


def joined(events: list[Event]) -> list[object]:
    """The events with neighbouring data put together."""
    out: list[object] = []
    for event in events:
        if isinstance(event, PartData) and out and isinstance(out[-1], bytes):
            out[-1] += event.data
        else:
            out.append(event.data if isinstance(event, PartData) else event)
    return out


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_same_form_is_read_however_it_is_cut(size: int) -> None:
    reader = FormReader(b"B")
    events: list[Event] = []
    for start in range(0, len(BODY), size):
        events += reader.feed(BODY[start : start + size])
    reader.close()
    assert joined(events) == [
        PartBegin("purpose", None), b"train", PartEnd(), PartBegin("file", "한.txt"), b"line\r\n--Bnot\r\n", PartEnd(),
    ]  # fmt: skip


def test_a_form_that_is_cut_off_is_malformed() -> None:
    reader = FormReader(b"B")
    reader.feed(BODY[:-10])
    with pytest.raises(Malformed):
        reader.close()


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind",
        b"--B\r\n\r\nno name\r\n--B--\r\n",
        b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"--B\r\nX: " + b"y" * 100_000,
    ],
)
def test_a_broken_or_boundless_head_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        FormReader(b"B").feed(body)


def test_names_are_unescaped_as_browsers_escape_them() -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a%22b%0D%0A%41.txt"\r\n\r\n'
    assert FormReader(b"B").feed(head) == [PartBegin("file", 'a"b\r\n%41.txt')]


@pytest.mark.parametrize("content_type", [None, "", "application/json", "multipart/mixed; boundary=B"])
def test_only_forms_are_read(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        boundary_of(content_type)


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "x" * 300])
def test_a_boundary_is_needed(boundary: str) -> None:
    with pytest.raises(Malformed):
        boundary_of("multipart/form-data" + boundary)
