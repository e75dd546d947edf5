"""Which URLs a user may give, for webhooks and as inputs, judged by what is written: https to a public name or address.

Here only what can be seen in the text is refused, at submission. The connection is judged again when it is made, by
the addresses that the name has then: see ``callboard_shared.outbound``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit, urlunsplit

from callboard_shared.addresses import Address, reach, written_address
from callboard_shared.errors import Invalid

MAX_URL = 2048
PUBLIC_PORTS = frozenset({None, 443, 8443})

_ODD = re.compile(r"[ \\<>\"'`{}|^]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PRIVATE_SUFFIXES = (
    ".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp", ".home", ".localdomain",
)  # fmt: skip
_THIS_MACHINE = "it leads to this machine; the operator may allow that (CALLBOARD_WEBHOOK_ALLOW_PRIVATE)"


class UrlNotAllowed(Invalid):
    code = "url-not-allowed"
    title = "This URL is not allowed"


@dataclass(frozen=True, slots=True)
class Policy:
    """``allow_private``: http and https to this machine's own addresses, on any port. Nothing else that is not public
    is ever allowed."""

    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """``name``: in ASCII and lower case; of an address its usual form. ``is_loopback``: this machine, as written."""

    name: str
    address: Address | None
    is_loopback: bool


def check_url(url: str, policy: Policy, field: str = "url") -> str:
    """The URL in the form in which it is to be asked for: its host in ASCII, an address in its usual form, without a
    fragment. Raises UrlNotAllowed, naming ``field``. Asks no resolver."""
    try:
        parts, host = _read(url)
        _judge(parts, host, policy)
    except ValueError as why:
        raise UrlNotAllowed(
            f"The URL is not allowed: {why}.",
            errors=[{"field": field, "message": str(why), "code": UrlNotAllowed.code}],
        ) from None
    name = f"[{host.name}]" if ":" in host.name else host.name
    netloc = name if parts.port is None else f"{name}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))


def shown_host(url: str) -> str:
    """What of a URL may stand in logs and errors: its host alone, since the rest may hold secrets."""
    try:
        return _read(url)[1].name[:255]
    except ValueError:
        return "the server"


def read_host(text: str) -> Host:
    """A host as resolvers see it. ``localhost``, ``127.1``, ``0x7f000001``, ``::ffff:127.0.0.1``, … are loopback.
    Raises ValueError with the reason where it is none."""
    name = text if ":" in text else _ascii_name(text)
    try:
        address = written_address(name)
    except ValueError:
        raise ValueError("its address cannot be read") from None
    if address is None:
        return Host(name, None, name == "localhost" or name.endswith(".localhost"))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and reach(address) == "loopback":
        address = address.ipv4_mapped
    return Host(str(address), address, reach(address) == "loopback")


def _read(url: str) -> tuple[SplitResult, Host]:
    if len(url) > MAX_URL or not url.isprintable() or _ODD.search(url):
        raise ValueError(f"it must be a URL of at most {MAX_URL} printable characters")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("it cannot be read") from None
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise ValueError("it must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("it must not hold a user name or password")
    return parts, read_host(parts.hostname or "")


def _judge(parts: SplitResult, host: Host, policy: Policy) -> None:
    if host.is_loopback:
        if not policy.allow_private:
            raise ValueError(_THIS_MACHINE)
        return
    if parts.scheme != "https":
        raise ValueError("it must begin with https://")
    if parts.port not in PUBLIC_PORTS:
        raise ValueError("its port must be 443 or 8443")
    if host.address is not None:
        if reach(host.address) != "public":
            raise ValueError("its address is not public")
    elif "." not in host.name or host.name.endswith(_PRIVATE_SUFFIXES):
        raise ValueError("its host is a name of a private network")


def _ascii_name(name: str) -> str:
    """Full-width digits and the like become plain (UTS 46), one trailing dot goes."""
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode()
        except UnicodeError:
            raise ValueError("its host is not a name") from None
    plain = name.lower().removesuffix(".")
    if len(plain) > 253 or not all(_LABEL.fullmatch(label) for label in plain.split(".")):
        raise ValueError("its host is not a name")
    return plain
