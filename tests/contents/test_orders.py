"""Orders of versions against the programs that made them, and the chains that their documents print."""

from __future__ import annotations

import shutil
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError
from custody.versions import compare, key, sortable
from custody.versions.padding import padded
from tests.conftest import oracle
from tests.fuzz.versionorders import ORDERS, differences, explained, pairs
from tests.oracles import version_order

_CHAINS = {
    # conda.models.version, "VersionOrder".
    "conda": "0.4 0.4.1.rc 0.4.1 0.5a1 0.5b3 0.5C1 0.5 0.9.6 0.960923 1.0 1.1dev1 1.1_ 1.1a1 1.1.0dev1 1.1.a1 "
             "1.1.0rc1 1.1.0 1.1.0post1 1.1post1 1996.07.12 1!0.4.1 1!3.1.1.6 2!0.4.1",
    # vercmp(8).
    "alpm": "1.0a-1 1.0alpha-1 1.0b-1 1.0beta-1 1.0p-1 1.0pre-1 1.0rc-1 1.0-1 1.0.a-1 1.0.1-1 1.5-1 "
            "1.5-2 1.6-1 1:0.1-1",
    # Package Manager Specification, 3.3.
    "ebuild": "1.0_alpha 1.0_alpha2 1.0_beta2 1.0_pre 1.0_rc 1.0 1.0-r1 1.0_p1 1.0a 1.01 1.1 1.10 1.10.1 2.0",
    # Nix manual, nix-env --upgrade.
    "nix": "2.3pre1 2.3pre3 2.3 2.3a 2.3c 2.3.1 2.4 2.10",
    # OpenSSL's releases, OpenSSH's, calendar versions.
    "generic": "1.1.0 1.1.1-pre8 1.1.1-pre9 1.1.1 1.1.1a 1.1.1k 1.1.1z 1.1.1za 3.0.0-alpha1 3.0.0-beta1 3.0.0 "
               "9.3 9.3p1 20.04 2024.01.05",
    "GitHub Actions": "v1 v3.5.0 v4 v4.1.2 v10",
    "opam": "0.1~beta 0.1 0.1-1 4.14.0",
    # LuaRocks' own order: words before zero, a letter among thousandths, numbers, and what comes from a repository.
    "luarocks": "1.alpha1-1 1.beta-1 1.rc1-1 1-0 1-1 1-2 1-10 1.a-1 1.1-1 1.10-1 2.0.0-1 cvs-1 scm-1 scm-2 dev-1",
    # Homebrew's own cases; marks of what was before a release are in test_ports_versions.
    "brew": "1.2.2 1.2.3 1.2.3_1 1.2.3_10 1.2.3.post34 1.2.3a 1.2.3-p9 1.2.3-p34 1.2.3.1 1.2.4 HEAD-abcdef",
    # Pod::Version: letters make a prerelease, of whose parts numbers are before texts; zeros at the end count for none.
    "cocoapods": "0.9 1.0.a.2 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.10 1.0.0-alpha.b 1.0.b1 1.0.b10 1.0 1.0.1-rc 1.0.1 "
                 "1.2 1.10 2016.4",
    # vcpkg's document of versions; a date is what semantic versions have behind a year.
    "vcpkg": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta.2 1.0.0-beta.11 1.0.0-beta.a 1.0.0-rc 1.0.0 1.0.0#1 1.0.0#10 "
             "1.0.0.0 1.1 1.10 2024-01-30 2024-01-30.1 2024-01-30.10 2024-01-31",
    # version.pm: a decimal number is newer by its digits, a dotted one by its numbers.
    "cpan": "0.05 0.10 0.9 1.002003 1.2.4 v1.2.5 1.3.0 1.10 1.9 v2 2.01_01 2.02",
}
_SAME = {"conda": ("0.4 0.4.0", "0.4.1.rc 0.4.1.RC", "1.1.0dev1 1.1.dev1", "1.1.0post1 1.1.post1"),
         "cpan": ("1.2.3 1.002003", "1.5 v1.500", "1.02_03 1.0203"), "luarocks": ("1.0-1 1-1", "scm-1 scm.0-1"),
         "brew": ("0.1 0.1.0", "1.2.3alpha4 1.2.3A4", "1.0_0 1", "HEAD HEAD-fedcba", "2.0-p1 2p1", "1.b 1-b"),
         "cocoapods": ("1.0.0 1", "1.0+a 1.0+b", "1.0.0-rc 1.rc", "1.0.a10 1.0.a.10"),
         "vcpkg": ("1.0+a 1.0+b", "1.0#0 1.0", "r2#1 r2#1"),
         "generic": ("v1.2 1.2.0", "1.0-rc1 1.0rc1"), "nix": ("2.3-1 2.3.1",), "ebuild": ("1.0-r0 1.0", "1 01"),
         "Packagist": ("1.0 1.0.0.0", "v1.0-stable 1.0", "1.0+x 1.0", "1.0-BETA2 1.0b2", "1.0-patch1 1.0-p1"),
         "RubyGems": ("1.0 1", "1.a.0 1.a")}
_REFUSED = {"cpan": ("1.2.x", "v1_2", ""), "luarocks": ("~1-1", "1.0+2", ""),
            "conda": ("1..2", "a b", "1!2!3"), "alpm": ("1.0.", "x:1-1"), "ebuild": ("1.0_foo", "r1"),
            "brew": ("", "-", "..."), "vcpkg": ("", "#1", "1.0#", "1.0#x", "1.0#1#2"),
            "cocoapods": ("", "v1", "1-alpha", "1.0+", "1 0", "1..0", "1.0+1.2+a"),
            "generic": ("latest", "1.x", "1.0.windows.1", "r2 d2")}


@pytest.mark.parametrize("ecosystem", sorted(_CHAINS))
def test_chains(ecosystem: str) -> None:
    chain = _CHAINS[ecosystem].split()
    for place, older in enumerate(chain):
        for newer in chain[place + 1:]:
            assert compare(ecosystem, older, newer) < 0, (older, newer)
            assert (sortable(ecosystem, older) or b"") < (sortable(ecosystem, newer) or b""), (older, newer)


@pytest.mark.parametrize(("ecosystem", "same"), [(name, pair) for name, pairs in _SAME.items() for pair in pairs])
def test_spellings_of_one_version(ecosystem: str, same: str) -> None:
    left, right = same.split()
    assert compare(ecosystem, left, right) == 0
    assert sortable(ecosystem, left) == sortable(ecosystem, right)


@pytest.mark.parametrize(("ecosystem", "version"), [(name, text) for name, texts in _REFUSED.items() for text in texts])
def test_what_is_no_version_there(ecosystem: str, version: str) -> None:
    with pytest.raises(CustodyError, match="version"):
        key(ecosystem, version)


@given(st.sampled_from(sorted(_CHAINS)), st.lists(st.text("0123.-_a+!:~rcp ", min_size=1, max_size=9), min_size=3,
                                                  max_size=3))
def test_every_order_is_an_order_and_its_bytes_are(ecosystem: str, versions: list[str]) -> None:
    try:
        ranked = sorted(versions, key=lambda version: key(ecosystem, version))
    except CustodyError:
        return
    assert max(compare(ecosystem, left, right) for left, right in pairwise(ranked)) <= 0
    encoded = [text for version in ranked if (text := sortable(ecosystem, version)) is not None]
    assert encoded == sorted(encoded)


@given(st.lists(st.integers(-3, 3), max_size=6), st.lists(st.integers(-3, 3), max_size=6))
def test_padded_rows_sort_as_with_endless_zeros(left: list[int], right: list[int]) -> None:
    endless = [row + [0] * (10 - len(row)) for row in (left, right)]
    ours = padded(left, 0), padded(right, 0)
    assert (ours[0] < ours[1], ours[0] == ours[1]) == (endless[0] < endless[1], endless[0] == endless[1])


@pytest.mark.peer
@pytest.mark.parametrize("name", sorted(ORDERS))
def test_as_the_ecosystems_own_program_orders(name: str) -> None:
    """Of what both take for versions; `python -m tests.fuzz.versionorders` compares 20,000 pairs of each."""
    if shutil.which(ORDERS[name][1]) is None:
        pytest.skip(f"peer {ORDERS[name][1]} is not installed")
    try:
        answers = list(differences(name, pairs(name, 2000, 5)))
    except (OSError, RuntimeError, ValueError) as error:
        pytest.skip(f"peer {name} does not answer: {error}")
    wrong = [(pair, answer, own) for pair, answer, own in answers if answer not in ("!", own)
             and not explained(name, pair)]
    # Epochs that are no numbers: dpkg refuses them too, and apt's library takes them for something.
    assert [row for row in wrong if name != "apt" or row[2] != "!"] == []


_NOT_RIGHT = {
    "alpine-versions.txt": (
        "no Alpine version: abuild and apk 3 refuse letters behind -r, empty parts, and what begins with no digit",
        (6, 7, 8, 9, 11, 12, 13, 15, 23, 24, 25)),
    "packagist-versions-generated.txt": (
        "Composer itself says otherwise: it takes v3.4 for 3.4.0.0, and ALPHA for alpha, before it compares",
        (665, 2616, 2617, 4162, 4164)),
    "packagist-versions.txt": ("no Composer version: # is a wildcard of PHP's version_compare", (40, 42, 43, 44)),
}
"""Lines of the version-order oracle that are refused, or answered otherwise, and why."""


def test_lines_of_the_oracle_that_are_not_answered_as_it_does_are_listed() -> None:
    stated = {f"{name}:{line}" for name, (_, lines) in _NOT_RIGHT.items() for line in lines}
    wrong = {name for name, reason in version_order.run(oracle("version-order")) if reason is not None}
    assert wrong <= stated
