"""Which IP addresses are public, which are this machine, and which are never to be asked for.

``ipaddress.is_global`` is not enough: it calls NAT64 and 6to4 forms of private addresses global, and in some
releases of Python 192.0.0.8 too. So the ranges are spelled out, after the IANA special-purpose registries (RFC 6890;
https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Reach: TypeAlias = Literal["public", "loopback", "refused"]

_REFUSED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for loopback
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is at 100.100.100.200
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "168.63.129.16/32",  # Azure's own services; a public address by its looks
        "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",  # protocols
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4", "240.0.0.0/4",  # multicast; reserved, and broadcast
    )
)  # fmt: skip
_LOOPBACK_V4 = IPv4Network("127.0.0.0/8")

# Outside of 2000::/3 nothing is public: not ::ffff:0:0/96 (mapped), 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64),
# fc00::/7 (private, with fd00:ec2::254, metadata), fe80::/10 (link-local), ff00::/8 (multicast).
_PUBLIC_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocols; with 2001::/32, Teredo, which holds an IPv4 address
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",  # AS112
    )
)  # fmt: skip
_LOOPBACK_V6 = IPv6Address("::1")
_DNS64 = IPv6Network("64:ff9b::/96")


def reach(address: Address) -> Reach:
    """Where the address leads. ``loopback`` is 127.0.0.0/8 and ::1, also as ``::ffff:127.0.0.1``."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return "loopback" if address.ipv4_mapped in _LOOPBACK_V4 else "refused"
        if address == _LOOPBACK_V6:
            return "loopback"
        return "public" if address in _PUBLIC_V6 and not _within(address, _REFUSED_V6) else "refused"
    if address in _LOOPBACK_V4:
        return "loopback"
    return "refused" if _within(address, _REFUSED_V4) else "public"


def resolved_reach(address: Address) -> Reach:
    """As ``reach``, of an address that a resolver gave: networks without IPv4 name public IPv4 addresses by an IPv6
    prefix (DNS64, RFC 6147), and such a one leads where the IPv4 address does."""
    if isinstance(address, IPv6Address) and address in _DNS64:
        return "public" if reach(IPv4Address(int(address) & 0xFFFFFFFF)) == "public" else "refused"
    return reach(address)


def _within(address: Address, networks: tuple[IPv4Network, ...] | tuple[IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)


def written_address(host: str) -> Address | None:
    """The address that a host stands for as it is written; None for a name. IPv4 in every form that C's inet_aton
    reads (fewer parts, octal, hexadecimal), as browsers and resolvers do
    (https://url.spec.whatwg.org/#concept-ipv4-parser). Raises ValueError where it looks like one and is none."""
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone belongs to one network")
        return IPv6Address(host)
    parts = host.split(".")
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", parts[-1]):
        return None
    *leading, last = [_number(part) for part in parts]
    if len(leading) > 3 or any(n > 255 for n in leading) or last >= 256 ** (4 - len(leading)):
        raise ValueError("no address has such numbers")
    return IPv4Address(sum(n << (24 - 8 * i) for i, n in enumerate(leading)) + last)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text.startswith("0") else int(text)
