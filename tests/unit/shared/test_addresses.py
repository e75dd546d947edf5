"""Every address is public, this machine, or refused; and no way of writing it down changes that."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard_shared.addresses import reach, resolved_reach, written_address
from callboard_shared.urls import Policy, UrlNotAllowed, check_url

v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(IPv6Address)

REFUSED = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "169.254.0.1", "169.254.169.254", "168.63.129.16",
    "172.31.255.255", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::7f00:1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "fc00::1", "fd00::8", "fd00:ec2::254", "fd20:ce::254", "fe80::1",
    "fec0::1", "ff02::1", "fe80::1%eth0",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_public_is_refused(text: str) -> None:
    assert reach(ip_address(text)) == "refused"


@pytest.mark.parametrize("text", PUBLIC)
def test_what_anybody_can_reach_is_public(text: str) -> None:
    assert reach(ip_address(text)) == "public"


@pytest.mark.parametrize("text", LOOPBACK)
def test_this_machine_is_told_apart(text: str) -> None:
    assert reach(ip_address(text)) == "loopback"


@given(v4 | v6)
def test_nothing_that_python_knows_to_be_private_is_public(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_link_local or address.is_loopback:
        assert reach(address) != "public"


@given(v4)
def test_an_ipv4_address_within_an_ipv6_one_is_never_public(address: IPv4Address) -> None:
    inner = int(address)
    carriers = [
        int(IPv6Address("::ffff:0:0")) + inner,
        int(IPv6Address("64:ff9b::")) + inner,
        int(IPv6Address("64:ff9b:1::")) + inner,
        inner,
        int(IPv6Address("2002::")) + (inner << 80),
        int(IPv6Address("2001::")) + (inner << 64),
        int(IPv6Address("2001::")) + (inner ^ 0xFFFFFFFF),
    ]
    for carrier in carriers:
        assert reach(IPv6Address(carrier)) != "public"


@given(v4)
def test_what_dns64_makes_of_an_ipv4_address_leads_where_that_does(address: IPv4Address) -> None:
    made = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert (resolved_reach(made) == "public") is (reach(address) == "public")
    assert resolved_reach(made) != "loopback"
    assert resolved_reach(address) == reach(address)


@st.composite
def spellings(draw: st.DrawFn, address: IPv4Address) -> str:
    """One of the forms that inet_aton reads: 1–4 parts, each decimal, octal or hexadecimal."""
    parts = draw(st.integers(1, 4))
    number = int(address)
    leading = [number >> (24 - 8 * i) & 255 for i in range(parts - 1)]
    numbers = [*leading, number & (256 ** (5 - parts) - 1)]
    forms = [draw(st.sampled_from([str, lambda n: f"0{n:o}", lambda n: f"0x{n:x}"]))(one) for one in numbers]
    return ".".join(forms)


@given(v4.flatmap(lambda address: st.tuples(st.just(address), spellings(address))))
def test_every_spelling_of_an_address_is_that_address(spelt: tuple[IPv4Address, str]) -> None:
    address, text = spelt
    assert written_address(text) == address


@given(v4.flatmap(lambda address: st.tuples(st.just(address), spellings(address))))
def test_a_url_is_allowed_by_where_it_leads_and_not_by_how_it_is_spelt(
    spelt: tuple[IPv4Address, str],
) -> None:
    address, text = spelt
    for policy in (Policy(), Policy(allow_private=True)):
        allowed = {"public": True, "loopback": policy.allow_private, "refused": False}[reach(address)]
        try:
            assert check_url(f"https://{text}/", policy) == f"https://{address}/"
            assert allowed
        except UrlNotAllowed:
            assert not allowed


@given(v6)
def test_an_ipv6_url_is_allowed_by_where_it_leads(address: IPv6Address) -> None:
    try:
        check_url(f"https://[{address.exploded}]/", Policy())
        assert reach(address) == "public"
    except UrlNotAllowed:
        assert reach(address) != "public"


@given(st.sampled_from([IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10")]), st.data())
def test_link_local_addresses_are_refused_whatever_the_operator_allows(
    network: IPv4Network | IPv6Network, data: st.DataObject
) -> None:
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    host = f"[{address}]" if address.version == 6 else str(address)
    for scheme in ("http", "https"):
        with pytest.raises(UrlNotAllowed):
            check_url(f"{scheme}://{host}/", Policy(allow_private=True))
