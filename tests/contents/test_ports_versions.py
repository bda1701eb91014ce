"""Versions of Homebrew's formulae and of vcpkg's ports against slow comparisons, which walk two texts step by step."""

from __future__ import annotations

import random
import re
from itertools import zip_longest

import pytest

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.versions import compare, key, sortable

_PIECES = ("alpha", "beta2", "rc1", "-rc3", "pre9", "-p34", "p", "P5", "a", "b", "w", "zb", "b2", ".post1", "post1",
           "RC1", "Q", "-1", ".0", ".0.0", ".1", "_1", "a1", "R")


def _formula(chance: random.Random) -> str:
    numbers = ".".join(chance.choice(("0", "1", "2", "10", "01")) for _ in range(chance.randint(1, 4)))
    words = "".join(chance.choice(_PIECES) for _ in range(chance.choice((0, 0, 1, 1, 2, 3))))
    return numbers + words + chance.choice(("", "", "_1", "_2", "_10"))


_FOLDED = re.IGNORECASE | re.ASCII


def _tokens(text: str) -> list[str]:
    return re.findall(r"alpha\d*|a\d+|beta\d*|b\d+|pre\d*|rc\d*|p\d*|.post\d+|\d+|[a-z]+", text, _FOLDED)


def _kind(token: str) -> str:
    kinds = {"number": r"\d+", "0alpha": r"alpha\d*|a\d+", "1beta": r"beta\d*|b\d+", "2rc": r"rc\d*", "1pre": r"pre\d*",
             "patch": r"p\d*", "post": r".post\d+", "word": "[a-z]+"}
    return next(kind for kind, shape in kinds.items() if re.fullmatch(shape, token, _FOLDED)) if token else "none"


def _sign(left: object, right: object) -> int:
    return (left > right) - (left < right)  # type: ignore[operator]


def _pair(left: str, right: str) -> int:
    """Of two that are not both numbers, as Homebrew's classes of tokens compare them."""
    kinds = _kind(left), _kind(right)
    if "none" in kinds:
        if kinds[0] != "none":
            return -_pair(right, left)
        return 0 if kinds[1] == "none" or (kinds[1] == "number" and int(right) == 0) else (
            1 if kinds[1][0] in "012" else -1)
    if "number" in kinds:
        return _sign(int(left), int(right)) if kinds[0] == kinds[1] else 1 if kinds[0] == "number" else -1
    if kinds[0] == kinds[1] != "word":
        return _sign(*(int((re.findall(r"\d+", token) or ["0"])[0]) for token in (left, right)))
    before = [kind[0] in "012" for kind in kinds]
    if any(before) and "word" not in kinds:
        return _sign(*kinds) if all(before) else -1 if before[0] else 1
    return _sign(left, right)


def _walk(left: list[str], right: list[str]) -> int:
    """One place after the other; a zero that meets a word is passed over, and any other number is newer."""
    mine = yours = 0
    while mine < len(left) or yours < len(right):
        one = left[mine] if mine < len(left) else ""
        two = right[yours] if yours < len(right) else ""
        numbers = _kind(one) == "number", _kind(two) == "number"
        if _pair(one, two) == 0:
            mine, yours = mine + 1, yours + 1
        elif numbers[0] != numbers[1]:
            if int(one if numbers[0] else two):
                return 1 if numbers[0] else -1
            mine, yours = mine + numbers[0], yours + numbers[1]
        else:
            return _pair(one, two)
    return 0


def _slowly(left: str, right: str) -> int:
    (one, revision), (two, other_revision) = (re.fullmatch(r"(.+?)(?:_(\d+))?", text).groups()  # type: ignore[union-attr]
                                              for text in (left, right))
    return _walk(_tokens(one), _tokens(two)) or _sign(int(revision or 0), int(other_revision or 0))


def test_formulae_as_homebrew_walks_them() -> None:
    chance = random.Random(13)
    refused = 0
    for _ in range(20_000):
        left, right = _formula(chance), _formula(chance)
        if chance.random() < 0.5:
            place = chance.randrange(len(left) + 1)
            right = left[:place] + chance.choice(("0", ".0", "a", "1", "")) + left[place:]
        try:
            assert compare("brew", left, right) == _slowly(left, right), (left, right)
        except CustodyError:
            refused += 1
    assert refused < 1000


@pytest.mark.parametrize("circle", [("1.0rc1", "1.0", "1.0b"), ("1.0P5", "1.0Q", "1.0p4"), ("1alpha", "1", "1B")])
def test_of_formulae_that_go_in_a_circle_two_have_no_order(circle: tuple[str, str, str]) -> None:
    pairs = list(zip(circle, (*circle[1:], circle[0]), strict=True))
    assert all(_slowly(left, right) < 0 for left, right in pairs), "Homebrew has no circle there"
    assert sum(not _ordered(left, right) for left, right in pairs) == 1


def _ordered(left: str, right: str) -> bool:
    try:
        compare("brew", left, right)
    except MalformedError:
        with pytest.raises(MalformedError, match="of which Homebrew says one order"):
            compare("brew", right, left)
        return False
    return True


def test_marks_of_what_was_before_a_release_as_in_homebrews_own_cases() -> None:
    chain = ("1.2.3alpha3", "1.2.3a4", "1.2.3-beta2", "1.2.3pre3", "1.2.3RC1", "1.2.3rc2", "1.2.3", "1.2.3-P34")
    for place, older in enumerate(chain):
        for newer in chain[place + 1:]:
            assert compare("brew", older, newer) == -1 == -compare("brew", newer, older), (older, newer)
    erlang = ["R13B02-1", "R13B04", "R14B01", "R14B03", "R14B04", "R15B01", "R15B02", "R15B03", "R15B03-1", "R16B"]
    assert sorted(erlang, key=lambda text: key("brew", text)) == erlang
    assert sorted(erlang, key=lambda text: key("brew", text), reverse=True) == erlang[::-1]


def test_marks_that_homebrew_compares_as_texts_have_no_place_in_a_row() -> None:
    assert [sortable("brew", text) for text in ("1.0rc1", "1.0P5", "3qpost1")] == [None, None, None]
    assert sortable("brew", "1.1.1w") is not None


def _port(chance: random.Random) -> str:
    if chance.random() < 0.2:
        text = chance.choice(("2024-01-31", "2023-12-01", "2024-01-30")) + chance.choice(
            ("", ".0", ".1", ".10", ".2.1"))
    elif chance.random() < 0.1:
        text = chance.choice(("r2", "latest", "v1.2", "1.2b"))
    else:
        text = ".".join(chance.choice(("0", "1", "2", "10")) for _ in range(chance.randint(1, 4))) + chance.choice(
            ("", "", "-rc1", "-1", "-1.2", "-alpha.1", "-a-b", "-0")) + chance.choice(("", "", "+b", "+1.2"))
    return text + chance.choice(("", "", "#0", "#1", "#10"))


_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})((?:\.\d+)*)")


def _ports_slowly(left: str, right: str) -> int | None:
    """Dates by their day and what counts it, numbers as semantic versions; None where vcpkg says that it does not know.
    """
    (one, _, mine), (two, _, yours) = left.partition("#"), right.partition("#")
    last = _sign(int(mine or 0), int(yours or 0))
    if one == two:
        return last
    dates = _DATE.fullmatch(one), _DATE.fullmatch(two)
    if dates[0] and dates[1]:
        rows = [(date[1], [int(part) for part in date[2].split(".")[1:]]) for date in dates if date]
        return _sign(*rows) or last
    if not all(re.match(r"[0-9.]+(?:[-+]|$)", text) for text in (one, two)):
        return None
    (one_numbers, _, one_mark), (two_numbers, _, two_mark) = (
        text.partition("+")[0].partition("-") for text in (one, two))
    order = _sign(*([int(part) for part in text.split(".")] for text in (one_numbers, two_numbers)))
    if order or one_mark == two_mark:
        return order or last
    if not one_mark or not two_mark:
        return -1 if one_mark else 1
    for first, second in zip_longest(one_mark.split("."), two_mark.split(".")):
        if first is None or second is None:
            return 1 if second is None else -1
        digits = first.isdigit(), second.isdigit()
        order = _sign(int(first), int(second)) if all(digits) else _sign(first, second) if not any(digits) else (
            -1 if digits[0] else 1)
        if order:
            return order
    raise AssertionError(left, right)


def test_ports_as_vcpkg_compares_them() -> None:
    chance = random.Random(13)
    unknown = 0
    for _ in range(20_000):
        left, right = _port(chance), _port(chance)
        expected = _ports_slowly(left, right)
        if expected is None:
            unknown += 1
            with pytest.raises(MalformedError, match="alone have an order"):
                compare("vcpkg", left, right)
        else:
            assert compare("vcpkg", left, right) == expected, (left, right)
    assert 1000 < unknown < 10_000


def test_texts_of_ports_have_an_order_only_with_their_own() -> None:
    assert compare("vcpkg", "r2#1", "r2#2") < 0
    assert sortable("vcpkg", "r2") is None
    with pytest.raises(MalformedError, match="r2 against r3"):
        compare("vcpkg", "r2", "r3")


def test_numbers_that_vcpkg_ends_with_are_no_numbers() -> None:
    assert compare("vcpkg", "18446744073709551600", "1") > 0
    with pytest.raises(MalformedError, match="alone have an order"):
        compare("vcpkg", "18446744073709551615", "1")


def test_snaps_have_no_order() -> None:
    """A publisher's text; what snapd compares are revisions, which the store counts and no file of a snap says."""
    with pytest.raises(UnsupportedError, match="ecosystem snap: the order of its versions is not known"):
        key("snap", "1.0")
