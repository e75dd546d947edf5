"""Which URLs a webhook may have, judged by what is written: https to a public name or address.

Names are resolved and judged again when a delivery is made, and the connection goes to the address that was
judged; here only what can be seen in the text is refused. ``ipaddress.is_global`` is not enough (it calls NAT64
and 6to4 forms of private addresses global), so the ranges are spelled out (IANA special-purpose registries, RFC 6890).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from callboard_shared.errors import Invalid

MAX_URL = 2048
PUBLIC_PORTS = frozenset({None, 443, 8443})

_NOT_PUBLIC_V4 = [
    IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = [IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
_LOOPBACK_V4 = IPv4Network("127.0.0.0/8")

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PRIVATE_SUFFIXES = (
    ".local",
    ".internal",
    ".lan",
    ".home.arpa",
    ".intranet",
    ".corp",
    ".home",
    ".localdomain",
)


class UrlNotAllowed(Invalid):
    code = "url-not-allowed"
    title = "This URL is not allowed"


def check_webhook_url(url: str, *, allow_loopback: bool) -> None:
    """Raise UrlNotAllowed unless ``url`` is https to what may be public, or loopback where that is allowed."""
    if len(url) > MAX_URL or not url.isprintable() or any(c in url for c in " \\<>\"'`{}|^"):
        raise _refuse(f"it must be a URL of at most {MAX_URL} printable characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refuse("it cannot be read") from None
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise _refuse("it must begin with https://")
    if "@" in parts.netloc:
        raise _refuse("it must not hold a user name or password")
    host = _ascii_host(parts.hostname or "")
    if is_loopback(host):
        if not allow_loopback:
            raise _refuse(
                "it leads to this machine; the operator may allow that (CALLBOARD_WEBHOOK_ALLOW_PRIVATE)"
            )
        return
    if parts.scheme != "https":
        raise _refuse("it must begin with https://")
    if port not in PUBLIC_PORTS:
        raise _refuse("its port must be 443 or 8443")
    _check_public(host)


def is_loopback(host: str) -> bool:
    """Whether the host, as written, is this machine: ``localhost``, ``127.1``, ``::1``, ``::ffff:127.0.0.1``, …"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return address == IPv6Address("::1") or (mapped is not None and mapped in _LOOPBACK_V4)
    return address is not None and address in _LOOPBACK_V4


def _check_public(host: str) -> None:
    address = _address(host)
    if isinstance(address, IPv6Address):
        if address not in _PUBLIC_V6 or any(address in net for net in _NOT_PUBLIC_V6):
            raise _refuse("its address is not public")
    elif isinstance(address, IPv4Address):
        if any(address in net for net in _NOT_PUBLIC_V4):
            raise _refuse("its address is not public")
    elif "." not in host or host.endswith(_PRIVATE_SUFFIXES):
        raise _refuse("its host is a name of a private network")


def _ascii_host(host: str) -> str:
    """The host as resolvers see it: full-width digits and the like become plain, one trailing dot goes."""
    if ":" in host:
        return host
    try:
        plain = host.encode("idna").decode().lower().removesuffix(".") if not host.isascii() else host.lower()
    except UnicodeError:
        raise _refuse("its host is not a name") from None
    plain = plain.removesuffix(".")
    if len(plain) > 253 or not all(_LABEL.fullmatch(label) for label in plain.split(".")):
        raise _refuse("its host is not a name")
    return plain


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address a literal host stands for; None for a name. IPv4 in every form that C's inet_aton reads
    (fewer parts, octal, hexadecimal), as browsers and resolvers do (https://url.spec.whatwg.org/#concept-ipv4-parser)."""
    if ":" in host:
        try:
            return IPv6Address(host.partition("%")[0])
        except ValueError:
            raise _refuse("its address cannot be read") from None
    parts = host.split(".")
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", parts[-1]):
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        raise _refuse("its address cannot be read") from None
    *leading, last = numbers
    if len(numbers) > 4 or any(n > 255 for n in leading) or last >= 256 ** (5 - len(numbers)):
        raise _refuse("its address cannot be read")
    return IPv4Address(sum(n << (24 - 8 * i) for i, n in enumerate(leading)) + last)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text.startswith("0") else int(text)


def _refuse(why: str) -> UrlNotAllowed:
    return UrlNotAllowed(
        f"The webhook's URL is not allowed: {why}.",
        errors=[{"field": "webhook.url", "message": why, "code": "url-not-allowed"}],
    )
