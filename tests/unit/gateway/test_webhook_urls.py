"""Webhooks go to https on public addresses; what is not that is refused in all its spellings."""

from __future__ import annotations

import pytest

from callboard_gateway.webhook_urls import UrlNotAllowed, check_webhook_url

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


@pytest.mark.parametrize("allow_loopback", [True, False])
@pytest.mark.parametrize("url", PUBLIC)
def test_https_to_what_is_public_is_allowed(url: str, allow_loopback: bool) -> None:
    check_webhook_url(url, allow_loopback=allow_loopback)


@pytest.mark.parametrize("url", LOOPBACK)
def test_this_machine_is_allowed_only_by_the_operator(url: str) -> None:
    check_webhook_url(url, allow_loopback=True)
    with pytest.raises(UrlNotAllowed):
        check_webhook_url(url, allow_loopback=False)


@pytest.mark.parametrize("allow_loopback", [True, False])
@pytest.mark.parametrize("url", NEVER, ids=lambda url: url[:50])
def test_everything_else_is_never_allowed(url: str, allow_loopback: bool) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_webhook_url(url, allow_loopback=allow_loopback)
    assert caught.value.problem_code == "url-not-allowed"
    assert caught.value.status == 422
