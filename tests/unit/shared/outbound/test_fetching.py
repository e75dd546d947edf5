"""What an input names by URL arrives whole, or the job is told why not: within bounds of size, time and rate."""

from __future__ import annotations

import gzip
import io
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from file_server import Answer, Network, Request, content, redirect, serving, status
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard_shared.errors import CallboardError, JobError
from callboard_shared.outbound import (
    Fetched,
    FetchFailed,
    FetchLimits,
    FetchTimeout,
    FetchTooLarge,
    FetchUnavailable,
    OutboundSettings,
    Policy,
    UrlBlocked,
    UrlNotAllowed,
    fetch,
)

ALLOWING = Policy(allow_private=True)
LIMITS = FetchLimits(max_bytes=1_000_000, total_s=30, window_s=20, answer_s=20)
PUBLIC, OTHER = "93.184.216.34", "93.184.216.35"
NAME = "files.example.com"


@pytest.fixture(scope="module")
def saying() -> Iterator[Callable[[bytes], str]]:
    """A server that says what it is told to, byte for byte, and hangs up."""
    with serving({}) as server:

        def says(raw: bytes) -> str:
            def answer(request: Request) -> None:
                request.wfile.write(raw)

            server.answers["/"] = answer
            return server.url

        yield says


def fetched(answers: dict[str, Answer], path: str = "/", limits: FetchLimits = LIMITS) -> bytes:
    into = io.BytesIO()
    with serving(answers) as server:
        fetch(server.url + path, ALLOWING, limits, into)
    return into.getvalue()


def refused(
    kind: type[CallboardError], answers: dict[str, Answer], limits: FetchLimits = LIMITS
) -> CallboardError:
    into = io.BytesIO()
    with serving(answers) as server, pytest.raises(kind) as caught:
        fetch(f"{server.url}/?token=SECRET", ALLOWING, limits, into)
    assert type(caught.value) is kind
    assert "SECRET" not in f"{caught.value.problem()}", "a URL's query may be a secret"
    assert "127.0.0.1" in caught.value.detail
    return caught.value


def test_a_file_arrives_whole_with_its_name_and_what_the_server_calls_it() -> None:
    data = bytes(range(256)) * 1000
    into = io.BytesIO()
    with serving({"/a%20b/%ED%95%9C.png": content(data, Content_Type="Image/PNG; q=1")}) as server:
        got = fetch(f"{server.url}/a%20b/한.png?x=1", ALLOWING, LIMITS, into)
    assert got == Fetched("한.png", len(data), "image/png")
    assert into.getvalue() == data


@pytest.mark.parametrize(
    ("path", "name"), [("/", "file"), ("/..%2F..%2Fpasswd", "passwd"), ("/a%0D%0Ab", "ab")]
)
def test_a_name_from_a_url_is_made_safe(path: str, name: str) -> None:
    with serving({path: content(b"x")}) as server:
        assert fetch(server.url + path, ALLOWING, LIMITS, io.BytesIO()).name == name


def test_a_body_without_a_length_arrives_whole() -> None:
    def chunked(request: Request) -> None:
        request.head(200, Transfer_Encoding="chunked")
        request.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")

    def until_closed(request: Request) -> None:
        request.head(200)
        request.wfile.write(b"hello")

    assert fetched({"/": chunked}) == fetched({"/": until_closed}) == b"hello"


def test_a_file_of_exactly_the_limit_arrives_and_one_byte_more_does_not() -> None:
    limits = replace(LIMITS, max_bytes=1000)
    assert len(fetched({"/": content(b"x" * 1000)}, limits=limits)) == 1000
    error = refused(FetchTooLarge, {"/": content(b"x" * 1001)}, limits)
    assert (error.problem_code, error.retryable) == ("fetch-too-large", False)


def test_an_announced_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    def announce(request: Request) -> None:
        request.head(200, Content_Length=10**12)
        request.pause(30)

    began = time.monotonic()
    refused(FetchTooLarge, {"/": announce})
    assert time.monotonic() - began < 10


def test_an_endless_body_ends_at_the_limit() -> None:
    def endless(request: Request) -> None:
        request.head(200)
        while True:
            request.wfile.write(b"x" * 65536)

    into = io.BytesIO()
    with serving({"/": endless}) as server:
        with pytest.raises(FetchTooLarge):
            fetch(server.url, ALLOWING, LIMITS, into)
        assert server.hung_up.wait(5), "the connection is closed"
    assert len(into.getvalue()) <= LIMITS.max_bytes


def test_a_slow_drip_is_given_up_after_a_window() -> None:
    def drip(request: Request) -> None:
        request.head(200, Content_Length=100_000)
        while True:
            request.wfile.write(b"x")
            request.pause(0.02)

    began = time.monotonic()
    error = refused(FetchTimeout, {"/": drip}, replace(LIMITS, window_s=0.3))
    assert time.monotonic() - began < 10
    assert (error.problem_code, error.retryable) == ("fetch-timeout", False)


def test_a_body_that_stops_is_given_up_after_a_window_also_without_a_minimum() -> None:
    def stop(request: Request) -> None:
        request.head(200, Content_Length=100_000)
        request.wfile.write(b"x" * 50_000)
        request.pause(30)

    error = refused(FetchTimeout, {"/": stop}, replace(LIMITS, window_s=0.3, min_bytes_per_s=0))
    assert "50,000 bytes" in error.detail


def test_a_body_that_is_fast_enough_and_endless_is_given_up_in_the_end() -> None:
    def steady(request: Request) -> None:
        request.head(200)
        while True:
            request.wfile.write(b"x" * 100)
            request.pause(0.01)

    began = time.monotonic()
    refused(FetchTimeout, {"/": steady}, replace(LIMITS, total_s=1, window_s=0.5, min_bytes_per_s=10))
    assert 0.9 < time.monotonic() - began < 10


def test_a_last_part_that_is_small_is_not_too_slow() -> None:
    def late(request: Request) -> None:
        request.head(200, Content_Length=2)
        request.wfile.write(b"a")
        request.pause(0.1)
        request.wfile.write(b"b")

    assert fetched({"/": late}, limits=replace(LIMITS, window_s=3)) == b"ab"


def _no_answer(request: Request) -> None:
    request.pause(30)


def _dripped_head(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.wfile.write(b"X-More: x\r\n")
        request.pause(0.02)


def _hints_for_ever(request: Request) -> None:
    while True:
        request.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        request.pause(0.02)


@pytest.mark.parametrize("silence", [_no_answer, _dripped_head, _hints_for_ever])
def test_an_answer_that_does_not_begin_is_not_waited_for(silence: Answer) -> None:
    began = time.monotonic()
    refused(FetchTimeout, {"/": silence}, replace(LIMITS, answer_s=0.3))
    assert time.monotonic() - began < 10


def test_a_head_without_an_end_is_a_failure() -> None:
    def head(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            request.wfile.write(b"X-More: " + b"x" * 10_000 + b"\r\n")

    refused(FetchUnavailable, {"/": head})


def test_a_body_shorter_than_announced_is_tried_again() -> None:
    def cut(request: Request) -> None:
        request.head(200, Content_Length=100)
        request.wfile.write(b"x" * 50)

    error = refused(FetchUnavailable, {"/": cut})
    assert (error.problem_code, error.retryable) == ("fetch-failed", True)


def test_a_body_longer_than_announced_ends_where_it_was_announced_to() -> None:
    def more(request: Request) -> None:
        request.head(200, Content_Length=5)
        request.wfile.write(b"hello, and what nobody asked for")

    assert fetched({"/": more}) == b"hello"


def test_a_compressed_answer_is_refused_and_never_unpacked() -> None:
    bomb = gzip.compress(b"0" * 100_000_000, 9)
    error = refused(FetchFailed, {"/": content(bomb, Content_Encoding="gzip")})
    assert error.retryable is False


@pytest.mark.parametrize("code", [201, 204, 206, 304, 400, 401, 403, 404, 410])
def test_an_answer_that_says_no_is_final(code: int) -> None:
    error = refused(FetchFailed, {"/": status(code)})
    assert str(code) in error.detail and error.retryable is False


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_when_it_says(code: int) -> None:
    error = refused(FetchUnavailable, {"/": status(code, Retry_After="7")})
    assert error.retryable and error.retry_after_s == 7
    for odd in ("-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert refused(FetchUnavailable, {"/": status(code, Retry_After=odd)}).retry_after_s is None
    assert refused(FetchUnavailable, {"/": status(code, Retry_After="9" * 9)}).retry_after_s == 120


_HEADS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 307\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/0.9 200\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n", b"Location: http://[\r\n", b"Location: \xff\xfe://\r\n", b"Location: https://\xed\x95\x9c..kr/\r\n",
        b"Location: //u:p@x.com:99999/\r\n", b"Location:\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 1, 2\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Content-Encoding: br\r\n",
        b"Set-Cookie: \x00\r\n", b": x\r\n", b" folded\r\n", b"\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"FFFFFFFFFFFFFFFFFFFFF\r\n", b"hello",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(_HEADS, max_size=8).map(b"".join) | st.binary(max_size=60))
def test_whatever_a_server_says_the_job_gets_bytes_or_an_error_with_a_cure(
    saying: Callable[[bytes], str], said: bytes
) -> None:
    outcome = "bytes"
    try:
        fetch(saying(said), ALLOWING, LIMITS, io.BytesIO())
    except JobError as error:
        outcome = error.problem_code
    assert outcome in {"bytes", "fetch-failed", "fetch-too-large", "url-blocked"}


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    chain = {
        "/": redirect("/1"),
        "/1": redirect("2", 301),
        "/2": redirect("/3", 307),
        "/3": content(b"there"),
    }
    assert fetched(chain) == b"there"
    error = refused(FetchFailed, {**chain, "/3": redirect("/4", 308), "/4": content(b"there")})
    assert "3 redirects" in error.detail


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "http://example.com/",
        "https://example.com:22/",
        "file:///etc/passwd",
        "https://user:SECRET@example.com/",
        "//[64:ff9b::a9fe:a9fe]/",
        "http://[",
    ],
)
def test_a_redirect_to_what_is_not_allowed_is_refused_and_nothing_is_sent_there(to: str) -> None:
    with serving({"/": redirect(to)}) as server:
        network = Network({"example.com": [[PUBLIC]]}, {"127.0.0.1": server.server_port})
        with pytest.raises((UrlBlocked, FetchUnavailable)) as caught:
            fetch(server.url, ALLOWING, LIMITS, io.BytesIO(), resolve=network.resolve, network=network)
    assert "SECRET" not in caught.value.detail
    assert caught.value.problem_code == "url-blocked" or to == "http://["
    assert network.dialled == [("127.0.0.1", server.server_port)] and network.resolved == []


def test_a_redirect_leads_from_elsewhere_to_this_machine_never(tls: Any) -> None:
    with serving({"/": redirect("http://127.0.0.1:6379/")}, tls.server) as server:
        network = Network({NAME: [[PUBLIC]]}, {PUBLIC: server.server_port})
        with pytest.raises(UrlBlocked):
            fetch(
                f"https://{NAME}/",
                ALLOWING,
                LIMITS,
                io.BytesIO(),
                tls=tls.trusting,
                resolve=network.resolve,
                network=network,
            )
    assert network.dialled == [(PUBLIC, 443)]


def test_each_hop_is_resolved_and_judged_anew(tls: Any) -> None:
    with serving({"/": redirect("/next")}, tls.server) as server:
        server.answers["/next"] = redirect("https://private.example.com/")
        network = Network(
            {NAME: [[PUBLIC], [PUBLIC]], "private.example.com": [[PUBLIC, "10.0.0.1"]]},
            {PUBLIC: server.server_port},
        )
        with pytest.raises(UrlBlocked, match=r"private\.example\.com"):
            fetch(
                f"https://{NAME}/",
                Policy(),
                LIMITS,
                io.BytesIO(),
                tls=tls.trusting,
                resolve=network.resolve,
                network=network,
            )
    assert all(address == PUBLIC for address, _ in network.dialled)
    assert [path for path, _ in server.asked] == ["/", "/next"]


def test_a_file_over_tls_is_asked_for_by_name_at_the_address_that_was_judged(tls: Any) -> None:
    into = io.BytesIO()
    with serving({"/a": content(b"hello")}, tls.server) as server:
        network = Network({NAME: [[PUBLIC], ["127.0.0.1"]]}, {PUBLIC: server.server_port})
        fetch(
            f"https://{NAME}/a",
            Policy(),
            LIMITS,
            into,
            tls=tls.trusting,
            resolve=network.resolve,
            network=network,
        )
    assert into.getvalue() == b"hello"
    assert (network.resolved, network.dialled) == ([NAME], [(PUBLIC, 443)])


def test_a_wrong_certificate_is_final(tls: Any) -> None:
    with serving({"/": content(b"hello")}, tls.server) as server:
        network = Network({"other.example.com": [[PUBLIC]]}, {PUBLIC: server.server_port})
        with pytest.raises(FetchFailed, match=r"certificate of other\.example\.com"):
            fetch(
                "https://other.example.com/",
                Policy(),
                LIMITS,
                io.BytesIO(),
                tls=tls.trusting,
                resolve=network.resolve,
                network=network,
            )
    assert server.asked == []


@pytest.mark.parametrize(
    ("errno", "kind"), [(socket.EAI_NONAME, FetchFailed), (socket.EAI_AGAIN, FetchUnavailable)]
)
def test_a_host_that_does_not_exist_is_final_and_a_resolver_that_is_away_is_not(
    errno: int, kind: type[JobError]
) -> None:
    async def resolve(name: str, port: int) -> Sequence[str]:
        raise socket.gaierror(errno, "said the resolver")

    with pytest.raises(kind, match=r"example\.com"):
        fetch("https://example.com/", Policy(), LIMITS, io.BytesIO(), resolve=resolve, network=Network())


def test_a_server_that_is_away_is_tried_again() -> None:
    with serving({}) as server:
        gone = server.url
    with pytest.raises(FetchUnavailable):
        fetch(gone, ALLOWING, LIMITS, io.BytesIO())


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://10.0.0.1/", "http://127.0.0.1:1/", "ftp://x.y/"]
)
def test_a_url_that_should_not_have_been_accepted_is_not_fetched(url: str) -> None:
    network = Network()
    with pytest.raises(UrlNotAllowed):
        fetch(url, Policy(), LIMITS, io.BytesIO(), resolve=network.resolve, network=network)
    assert network.dialled == [] and network.resolved == []


class Canceled(Exception):
    pass


def canceling(after: int) -> Callable[[], None]:
    calls = iter(range(after))

    def check() -> None:
        if next(calls, None) is None:
            raise Canceled

    return check


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_cancel_is_heard_while_nothing_arrives(after: int) -> None:
    began = time.monotonic()
    with serving({"/": _no_answer}) as server, pytest.raises(Canceled):
        fetch(server.url, ALLOWING, LIMITS, io.BytesIO(), check=canceling(after))
    assert time.monotonic() - began < 10


def test_a_disk_that_is_full_says_so() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with serving({"/": content(b"hello")}) as server, pytest.raises(OSError, match="No space left"):
        fetch(server.url, ALLOWING, LIMITS, Full())


def test_the_limits_are_the_operators_unless_a_use_has_less() -> None:
    settings = OutboundSettings(fetch_max_bytes=1000, fetch_timeout_s=9, fetch_min_bytes_per_s=5)
    assert FetchLimits.of(settings) == FetchLimits(1000, 9, 5)
    assert FetchLimits.of(settings, 10).max_bytes == 10
    assert FetchLimits.of(settings, 10_000).max_bytes == 1000
