"""What reads things of strangers gives what they mean, or the one error that it is documented to give."""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from search import searched
from spoiling import DIGITS, TEXTS, spoiled
from standardwebhooks import Webhook

from callboard_client import WebhookNotVerified, verify_webhook
from callboard_client._retries import retry_after_s as client_retry_after_s
from callboard_courier.delivery.schedule import MOST_RETRY_AFTER_S, delay_ms
from callboard_courier.delivery.schedule import retry_after_s as courier_retry_after_s
from callboard_gateway.cursors import cursor_of, position_of
from callboard_gateway.multipart import FormReader, boundary_of
from callboard_gateway.routes.files import Span, content_disposition
from callboard_gateway.routes.uploads import _metadata as upload_metadata
from callboard_gateway.uploads import Checksum
from callboard_llm.faults import retry_after_s as provider_retry_after_s
from callboard_shared.addresses import reach
from callboard_shared.documents import compact, parse_json
from callboard_shared.errors import CallboardError, FinalError, Invalid, Malformed, UnsupportedMedia
from callboard_shared.file_names import MAX_NAME_BYTES, clean_name
from callboard_shared.ids import new_id
from callboard_shared.media_types import media_type_of
from callboard_shared.moments import read_time
from callboard_shared.pictures import Base64Content, PictureSettings, judge
from callboard_shared.urls import Policy, check_url
from callboard_shared.videos import container_of
from callboard_vision.data.archive import Archive, Unreadable
from callboard_vision.data.faults import Faults

PICTURES = [
    path.read_bytes()
    for path in sorted(
        Path(__file__).parents[2].glob("shared/src/callboard_shared/jobs/vision/examples/*.jpg")
    )
]


def a_png(width: int = 3, height: int = 2) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (width, height)).save(made, "PNG")
    return made.getvalue()


def a_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.yaml", "names: [a, b]\n")
        archive.writestr("images/1.png", a_png())
        archive.writestr("labels/1.txt", "0 0.5 0.5 0.1 0.1\n" * 20)
    return made.getvalue()


# --- files ---


@searched(100, 5_000)
@given(st.one_of(st.binary(max_size=200), spoiled(PICTURES[0]), spoiled(a_png())))
def test_a_picture_is_judged_or_refused(content: bytes) -> None:
    try:
        head = judge(io.BytesIO(content), PictureSettings())
    except CallboardError as error:
        assert error.status in (413, 415, 422)
    else:
        assert head.width > 0 and head.height > 0


@searched(60, 3_000)
@given(
    st.one_of(
        st.text(max_size=100), st.binary(max_size=100).map(lambda data: base64.b64encode(data).decode())
    )
)
def test_base64_of_a_picture_is_read_or_refused(text: str) -> None:
    try:
        judge(Base64Content(text), PictureSettings())
    except CallboardError as error:
        assert error.status in (413, 415, 422)


@searched(60, 3_000)
@given(st.binary(max_size=400))
def test_every_content_has_a_media_type_and_a_video_a_container(content: bytes) -> None:
    assert media_type_of(content).count("/") == 1
    try:
        assert container_of(io.BytesIO(content)) in ("mov", "matroska")
    except UnsupportedMedia:
        pass


@searched(100, 5_000)
@given(st.one_of(spoiled(a_zip()), st.binary(max_size=100).map(lambda data: b"PK\x03\x04" + data)))
def test_a_zip_is_read_or_refused_and_leads_nowhere_else(content: bytes) -> None:
    try:
        archive = Archive(io.BytesIO(content), Faults())
    except FinalError as error:
        assert error.problem_code == "dataset-invalid"
        return
    for path in archive.paths:
        assert not path.startswith("/") and ".." not in path.split("/") and "\\" not in path
        try:
            archive.read(path)
        except Unreadable:
            pass


@searched(60, 3_000)
@given(st.text(max_size=400))
@example("../../etc/passwd")
@example("a" * 300 + ".tar.gz")
def test_a_file_name_is_safe_whatever_was_given(name: str) -> None:
    safe = clean_name(name)
    assert safe and len(safe.encode("utf-8", "ignore")) <= MAX_NAME_BYTES
    assert "/" not in safe and "\\" not in safe and safe.isprintable() and safe not in (".", "..")
    header = content_disposition(safe)
    assert "\r" not in header and "\n" not in header
    header.encode("latin-1")


@searched(60, 3_000)
@given(st.lists(st.binary(max_size=60), max_size=4), st.binary(min_size=1, max_size=30))
def test_a_form_is_read_or_malformed_however_it_is_cut(chunks: list[bytes], boundary: bytes) -> None:
    try:
        reader = FormReader(boundary_of(b"multipart/form-data; boundary=".decode() + boundary.hex()))
        for chunk in chunks:
            reader.feed(chunk)
        reader.close()
    except Malformed:
        pass


# --- addresses ---

INSIDE = st.one_of(
    st.sampled_from(
        ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8",
         "198.18.0.1", "224.0.0.1", "255.255.255.255"]
    ).map(ipaddress.IPv4Address),
    *(st.ip_addresses(network=net) for net in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")),
)  # fmt: skip
WAYS = st.sampled_from(
    [
        lambda a: str(a),
        lambda a: str(int(a)),
        lambda a: hex(int(a)),
        lambda a: ".".join(oct(part).replace("0o", "0") for part in a.packed),
        lambda a: ".".join(hex(part) for part in a.packed),
        lambda a: f"{a.packed[0]}.{int.from_bytes(a.packed[1:])}",
        lambda a: f"{a.packed[0]}.{a.packed[1]}.{int.from_bytes(a.packed[2:])}",
        lambda a: f"{a}.",
        lambda a: f"[::ffff:{a}]",
        lambda a: f"[64:ff9b::{a}]",
        lambda a: f"[2002:{a.packed[0]:02x}{a.packed[1]:02x}:{a.packed[2]:02x}{a.packed[3]:02x}::1]",
        lambda a: str(a).translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        lambda a: str(a).replace(".", "。"),
    ]
)


@searched(200, 5_000)
@given(INSIDE, WAYS, st.sampled_from(["", ":443", ":8443"]), st.sampled_from(["", "/", "/a?b=c#d"]))
def test_no_address_inside_is_let_through_however_it_is_written(
    address: ipaddress.IPv4Address, way: object, port: str, path: str
) -> None:
    with pytest.raises(Invalid):
        check_url(f"https://{way(address)}{port}{path}", Policy())  # type: ignore[operator]


@searched(100, 5_000)
@given(st.ip_addresses(v=6))
@example(ipaddress.IPv6Address("64:ff9b::a9fe:a9fe"))
@example(ipaddress.IPv6Address("2002:7f00:1::"))
def test_what_python_calls_private_is_never_public(address: ipaddress.IPv6Address) -> None:
    if not address.is_global:
        assert reach(address) != "public"


@searched(100, 5_000)
@given(
    st.one_of(
        TEXTS,
        TEXTS.map(lambda text: f"https://{text}"),
        st.text("ax.:/[]@%#?\\１。 ", max_size=30).map("https://{}".format),
    )
)
@example("https://[::1")
@example("https://xn--/")
def test_a_url_is_taken_in_one_form_or_refused(url: str) -> None:
    try:
        taken = check_url(url, Policy())
    except Invalid as error:
        assert error.errors
    else:
        assert check_url(taken, Policy()) == taken
        assert httpx.URL(taken).scheme == "https"


# --- documents, headers, cursors ---

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@searched(100, 5_000)
@given(
    st.one_of(
        st.binary(max_size=100),
        JSON.map(lambda value: json.dumps(value).encode()),
        st.just(b"[" * 100_000),
        st.just(b"9" * 5_000),
    )
)
def test_json_is_read_and_written_again_or_refused(body: bytes) -> None:
    try:
        written = compact(parse_json(body), "input")
    except (Malformed, Invalid):
        return
    assert parse_json(written) is not None or written == b"null"


@searched(60, 2_000)
@given(
    st.one_of(
        TEXTS, DIGITS, st.datetimes().map(str), st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    )
)
@example("9999-12-31T23:59:59-14:00")
@example("0001-01-01T00:00:00+14:00")
def test_a_time_can_be_reckoned_with_or_is_refused(text: str) -> None:
    try:
        moment = read_time(text)
    except ValueError:
        return
    assert (moment.astimezone(UTC) + timedelta(days=400)).isoformat()


@searched(60, 2_000)
@given(st.one_of(TEXTS, DIGITS, st.datetimes().map(lambda at: format_datetime(at))))
@example("Mon, 01 Jan 0001 00:00:00 +9999")
@example("Fri, 31 Dec 9999 23:59:59 -9999")
def test_retry_after_is_understood_or_passed_over(text: str) -> None:
    latin = text.encode("latin-1", "ignore").decode("latin-1").replace("\r", "").replace("\n", "")
    courier = courier_retry_after_s(latin, 1_764_000_000_000)
    assert 0 <= delay_ms(0, courier) <= 1000 * MOST_RETRY_AFTER_S + 10_000
    client = client_retry_after_s(httpx.Response(429, headers=[(b"retry-after", latin.encode("latin-1"))]))
    assert client is None or client >= 0
    provider = provider_retry_after_s({"retry-after": latin})
    assert provider is None or 0 <= provider <= 7_200


@searched(60, 2_000)
@given(
    st.one_of(TEXTS, st.text("bytes=0123456789-, ", max_size=30), DIGITS.map(lambda text: f"bytes=0-{text}")),
    st.integers(0, 10_000),
)
def test_a_range_lies_in_the_content_or_outside(header: str, size: int) -> None:
    span = Span.parse(header, size)
    assert span is None or (span.start >= 0 and span.length >= 0 and span.start + span.length <= size)


@searched(60, 2_000)
@given(st.one_of(TEXTS, st.sampled_from(["sha256 ", "sha1 "]).flatmap(lambda kind: TEXTS.map(kind.__add__))))
def test_checksums_and_metadata_of_uploads_are_read_or_malformed(header: str) -> None:
    for read in (Checksum.parse, upload_metadata):
        try:
            read(header)
        except Malformed:
            pass


@searched(60, 2_000)
@given(st.one_of(TEXTS, DIGITS))
def test_a_cursor_is_one_of_ours_or_refused(cursor: str) -> None:
    try:
        position = position_of(cursor, "job")
    except Invalid:
        return
    assert cursor_of(position) is not None


def test_a_cursor_leads_back_to_its_place() -> None:
    place = (1_764_000_000_000, new_id("job"))
    assert position_of(cursor_of(place), "job") == place


SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


@searched(100, 3_000)
@given(
    st.binary(max_size=100),
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), TEXTS),
    TEXTS,
)
def test_no_webhook_is_believed_that_was_not_signed(
    payload: bytes, headers: dict[str, str], secret: str
) -> None:
    for key in (SECRET, secret, f"whsec_{secret}"):
        with pytest.raises(WebhookNotVerified):
            verify_webhook(payload, headers, key)


@searched(30, 1_000)
@given(JSON.filter(lambda value: isinstance(value, dict)), st.integers(0, 200))
def test_a_signed_webhook_is_believed_and_a_changed_one_is_not(data: dict[str, object], at: int) -> None:
    body = json.dumps({"type": "job.succeeded", "data": data}).encode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body.decode()),
    }
    assert verify_webhook(body, headers, SECRET)["type"] == "job.succeeded"
    changed = bytearray(body)
    changed[at % len(body)] ^= 1
    with pytest.raises(WebhookNotVerified):
        verify_webhook(bytes(changed), headers, SECRET)
