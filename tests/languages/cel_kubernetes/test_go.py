"""Versions, addresses and URLs as Go's libraries read them: (text, result or the error's words)."""

from __future__ import annotations

import pytest

from policylang.errors import InputError
from policylang.go import netip, semver, urls


@pytest.mark.parametrize(("text", "shown"), [
    ("1.2.3", "1.2.3"),
    ("1.2.3-rc.1+b.2", "1.2.3-rc.1+b.2"),
    ("", "Version string empty"),
    ("1.2", "No Major.Minor.Patch elements found"),
    ("v1.2.3", 'Invalid character(s) found in major number "v1"'),
    ("01.2.3", 'Major number must not contain leading zeroes "01"'),
    ("1..3", 'strconv.ParseUint: parsing "": invalid syntax'),
    ("1.2.3-", "Prerelease is empty"),
    ("1.2.3-01", 'Numeric PreRelease version must not contain leading zeroes "01"'),
    ("1.2.3+", "Build meta data is empty"),
    ("1.2.18446744073709551616", 'strconv.ParseUint: parsing "18446744073709551616": value out of range'),
])
def test_a_version_or_why_not(text: str, shown: str) -> None:
    assert _shown(semver.parse, text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("v1.2", "1.2.0"),
    ("01.002.0003", "1.2.3"),
    ("1", "1.0.0"),
    ("1-rc", "short version cannot contain PreRelease/Build meta data"),
])
def test_a_version_made_whole(text: str, shown: str) -> None:
    assert _shown(semver.normalized, text) == shown


def test_versions_are_ordered_as_the_specification_orders_them() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
               "1.0.0", "1.0.1", "1.10.0", "2.0.0"]
    found = [semver.parse(each) for each in ordered]
    assert sorted([*found[5:], *found[:5]], key=lambda version: version.rank) == found
    assert semver.compare(semver.parse("1.0.0+a"), semver.parse("1.0.0+b")) == 0


@pytest.mark.parametrize(("text", "inside", "outside"), [
    (">=1.0.0 <2.0.0", ["1.0.0", "1.9.9"], ["0.9.9", "2.0.0"]),
    ("<1.0.0 || >3.0.0 !3.1.0", ["0.1.0", "3.0.1"], ["2.0.0", "3.1.0"]),
    ("1.2.x", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.9"]),
    ("!1.x", [], ["0.9.0", "1.5.0", "2.0.0"]),
    ("> 1.0.0", ["1.0.1"], ["1.0.0"]),
])
def test_ranges_of_versions(text: str, inside: list[str], outside: list[str]) -> None:
    fits = semver.parse_range(text)
    assert [version for version in inside + outside if fits(semver.parse(version))] == inside


@pytest.mark.parametrize(("text", "shown"), [
    ("", "Last element in range is '||'"),
    ("|| 1.0.0", "First element in range is '||'"),
    (">>1.0.0", 'Could not parse Range ">>1.0.0": Could not parse comparator ">>" in ">>1.0.0"'),
    ("abc", 'Could not get version from string: "abc"'),
])
def test_what_is_no_range(text: str, shown: str) -> None:
    assert _shown(semver.parse_range, text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("127.0.0.1", "127.0.0.1"),
    ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("::ffff:192.168.0.1", "::ffff:192.168.0.1"),
    ("fe80::1%eth0", "fe80::1%eth0"),
    ("1.2.3", 'ParseAddr("1.2.3"): IPv4 address too short'),
    ("1.2.3.04", 'ParseAddr("1.2.3.04"): IPv4 field has octet with leading zero'),
    ("1.2.3.256", 'ParseAddr("1.2.3.256"): IPv4 field has value >255'),
    ("1..2.3", 'ParseAddr("1..2.3"): IPv4 field must have at least one digit (at ".2.3")'),
    ("::1::", 'ParseAddr("::1::"): multiple :: in address (at ":")'),
    ("::12345", 'ParseAddr("::12345"): each group must have 4 or less digits (at "12345")'),
    ("localhost", 'ParseAddr("localhost"): unable to parse IP'),
])
def test_an_address_or_why_not(text: str, shown: str) -> None:
    assert _shown(netip.parse_address, text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("10.1.2.3/8", "10.1.2.3/8"),
    ("10.0.0.0", 'netip.ParsePrefix("10.0.0.0"): no \'/\''),
    ("10.0.0.0/33", 'netip.ParsePrefix("10.0.0.0/33"): prefix length out of range'),
    ("10.0.0.0/08", 'netip.ParsePrefix("10.0.0.0/08"): bad bits after slash: "08"'),
    ("fe80::1%a/64", 'netip.ParsePrefix("fe80::1%a/64"): IPv6 zones cannot be present in a prefix'),
])
def test_a_prefix_or_why_not(text: str, shown: str) -> None:
    assert _shown(netip.parse_prefix, text) == shown


def test_what_addresses_and_prefixes_are() -> None:
    assert netip.parse_address("::ffff:127.0.0.1").is_loopback
    assert netip.parse_address("169.254.0.1").is_link_local_unicast
    assert netip.parse_address("ff02::1").is_link_local_multicast
    assert not netip.parse_address("255.255.255.255").is_global_unicast
    assert str(netip.parse_prefix("10.1.2.3/8").masked) == "10.0.0.0/8"
    assert netip.parse_prefix("10.0.0.0/8").contains(netip.parse_address("10.255.0.1"))
    assert not netip.parse_prefix("10.0.0.0/8").contains(netip.parse_address("::ffff:10.0.0.1"))
    assert netip.parse_prefix("10.0.0.0/8").overlaps(netip.parse_prefix("10.1.0.0/16"))


@pytest.mark.parametrize(("text", "shown"), [
    ("https://user:p%40ss@example.com:80/path%20x?k=a#f", "https://user:p%40ss@example.com:80/path%20x?k=a#f"),
    ("/a b", "/a%20b"),
    ("mailto:someone@example.com", "mailto:someone@example.com"),
    ("https://[::1]:80/", "https://[::1]:80/"),
    ("../x", 'parse "../x": invalid URI for request'),
    ("", 'parse "": empty url'),
    ("http://a b/", 'parse "http://a b/": invalid character " " in host name'),
    ("http://a:b/", 'parse "http://a:b/": invalid port ":b" after host'),
    ("http://[::1/", 'parse "http://[::1/": missing \']\' in host'),
    ("/%zz", 'parse "/%zz": invalid URL escape "%zz"'),
    ("/\x01", 'parse "/\\x01": net/url: invalid control character in URL'),
])
def test_a_url_or_why_not(text: str, shown: str) -> None:
    def both(text: str) -> urls.Url:
        urls.parse_request(text)
        return urls.parse(text)

    assert _shown(both, text) == shown


def _shown(read: object, text: str) -> str:
    try:
        return str(read(text))  # type: ignore[operator]
    except InputError as wrong:
        return wrong.message
