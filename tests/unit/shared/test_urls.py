"""What users name by URL is on https at public addresses; what is not that is refused in all its spellings."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard_shared.urls import Policy, UrlNotAllowed, check_url, shown_host

PUBLIC = [
    "https://example.com/hook",
    "https://example.com:443/",
    "https://example.com:8443/",
    "https://EXAMPLE.com./a?b=c#d",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://한국.kr/",
    "https://xn--3e0b707e.kr/",
]
LOOPBACK = [
    "http://127.0.0.1:9000/hook",
    "https://127.0.0.1/",
    "http://127.1/",
    "http://127.1:8080/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://localhost:3000/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "http://[::1]:9000/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://127.0.0.1:22/",
    "http://１２７.０.０.１/",
]
NEVER = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/",
    "example.com/hook",
    "",
    "https://",
    "https:///x",
    "https://user:pass@example.com/",
    "https://user@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:22/",
    "https://example.com:6379/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[fd00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[ff02::1]/",
    "https://[::]/",
    "https://[::a00:1]/",
    "https://0.0.0.0/",
    "https://0/",
    "https://10.0.0.1/",
    "https://10.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://192.168.257/",
    "https://100.64.0.1/",
    "https://192.0.0.8/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://256.1.1.1/",
    "https://1.2.3.4.5/",
    "https://0x/",
    "https://09.1.1.1/",
    "https://redis/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com/\r\nHost: x",
    "https://example.com/\t",
    "https://-bad-.com/",
    "https://example..com/",
    "https://[::1/",
    "https://" + "a" * 2048 + ".com/",
]


ALLOWING, REFUSING = Policy(allow_private=True), Policy()


@pytest.mark.parametrize("policy", [ALLOWING, REFUSING])
@pytest.mark.parametrize("url", PUBLIC)
def test_https_to_what_is_public_is_allowed(url: str, policy: Policy) -> None:
    check_url(url, policy)


@pytest.mark.parametrize("url", LOOPBACK)
def test_this_machine_is_allowed_only_by_the_operator(url: str) -> None:
    check_url(url, ALLOWING)
    with pytest.raises(UrlNotAllowed, match="CALLBOARD_WEBHOOK_ALLOW_PRIVATE"):
        check_url(url, REFUSING)


@pytest.mark.parametrize("policy", [ALLOWING, REFUSING])
@pytest.mark.parametrize("url", NEVER, ids=lambda url: url[:50])
def test_everything_else_is_never_allowed(url: str, policy: Policy) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_url(url, policy, "input.file.url")
    assert caught.value.problem_code == "url-not-allowed"
    assert caught.value.status == 422
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "input.file.url"


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("HTTPS://EXAMPLE.com.", "https://example.com/"),
        ("https://example.com:8443/a%20b?c=d#e", "https://example.com:8443/a%20b?c=d"),
        ("https://한국.kr/그림.png", "https://xn--3e0b707e.kr/그림.png"),
        ("https://faß.de/", "https://xn--fa-hia.de/"),
        ("http://0x7f.1:8080/", "http://127.0.0.1:8080/"),
        ("http://１２７.１/", "http://127.0.0.1/"),
        ("http://[::ffff:7f00:1]/", "http://127.0.0.1/"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]:80/"),
        ("https://134744072/", "https://8.8.8.8/"),
    ],
)
def test_a_url_is_asked_for_in_the_form_in_which_it_was_judged(url: str, form: str) -> None:
    assert check_url(url, ALLOWING) == form
    assert check_url(form, ALLOWING) == form


@pytest.mark.parametrize(
    "url", ["https://example.com/x?key=SECRET", "https://u:SECRET@example.com/", "https://SECRET bad/"]
)
def test_what_is_said_of_a_url_holds_no_more_than_its_host(url: str) -> None:
    assert shown_host(url) in ("example.com", "the server")
    with pytest.raises(UrlNotAllowed) as caught:
        check_url(url.replace("https", "ftp"), ALLOWING)
    assert "SECRET" not in f"{caught.value.problem()}{caught.value!r}"


_LABELS = st.sampled_from(
    [
        "a",
        "example",
        "com",
        "한국",
        "faß",
        "xn--3e0b707e",
        "127",
        "0x7f",
        "1",
        "10",
        "localhost",
        "８",
        "e\u0301",
        "a_b",
        "2130706433",
    ]
)
_HOSTS = st.lists(_LABELS, min_size=1, max_size=4).map(".".join) | st.sampled_from(
    ["[::1]", "[::ffff:7f00:1]", "[2606:4700::1]"]
)
_ENDS = st.text("/?#@:;&=%+~.[]\\０。＠／é0123456789 -\u200d", max_size=6)


@given(
    st.sampled_from(["https://", "http://", "HTTPS://"]),
    _HOSTS,
    st.sampled_from(["", ".", "。", ":443", ":80", "@"]),
    _ENDS,
)
def test_who_asks_reads_the_same_host_and_port_that_were_judged(
    scheme: str, host: str, more: str, end: str
) -> None:
    """Two parsers that disagree on a URL are a way around the judgement."""
    try:
        form = check_url(scheme + host + more + end, ALLOWING)
    except UrlNotAllowed:
        return
    parts = urlsplit(form)
    try:
        asked = httpx.URL(form)
    except httpx.InvalidURL:
        return  # then nobody asks
    assert asked.raw_host.decode() == parts.hostname
    assert asked.port in (parts.port, None)
    assert not asked.userinfo
    assert urlsplit(check_url(str(asked), ALLOWING)).hostname == parts.hostname
