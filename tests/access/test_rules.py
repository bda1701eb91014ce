"""Patterns and rules: exactly what they say, and nothing that no rule allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import UsageError
from custody.server.access.rules import Caller, Pattern, Rules
from custody.settings.tables import Auth, Grant

ANN = Caller("htpasswd", ("ann",))


@pytest.mark.parametrize(("pattern", "yes", "no"), [
    ("team/*", ["team/app", "team/a.b"], ["team", "team/app/x", "teams/app", "x/team/app"]),
    ("team/**", ["team/app", "team/app/x/y"], ["team", "team/", "teams/app"]),
    ("**", ["a", "a/b/c"], [""]),
    ("*", ["a", "app-1"], ["a/b"]),
    ("**/app", ["a/app", "a/b/app"], ["app", "a/apps"]),
    ("a/**/z", ["a/b/z", "a/b/c/z"], ["a/z", "a/b/zz"]),
    ("a.c", ["a.c"], ["abc"]),
    ("app-*-x", ["app--x", "app-1-x"], ["app-x", "app-1/2-x"]),
    ("https://github.com/org/**", ["https://github.com/org/r/.github/workflows/w.yml@refs/heads/main"],
     ["https://github.com/organ/r", "https://github.com/org", "http://github.com/org/r"]),
    ("*@example.com", ["ann@example.com"], ["ann@example.com.evil.example", "ann@exampleXcom"]),
])
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [text for text in yes if not Pattern(pattern, "p").matches(text)] == []
    assert [text for text in no if Pattern(pattern, "p").matches(text)] == []


@given(st.text(alphabet="ab*/.+[(\\|^$", min_size=1, max_size=30), st.text(alphabet="ab/.+[(\\|^$\n", max_size=30))
def test_a_pattern_is_its_parts(text: str, name: str) -> None:
    """Compared with a matcher that walks."""
    if any("**" in part and part != "**" for part in text.split("/")):
        with pytest.raises(UsageError, match=r"\*\* alone between two /"):
            Pattern(text, "p")
        return
    assert Pattern(text, "p").matches(name) == _walk(text.split("/"), name.split("/"))


def _walk(pattern: list[str], parts: list[str]) -> bool:
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return parts[0] != "" and (_walk(pattern[1:], parts[1:]) or _walk(pattern, parts[1:]))
    return _part(pattern[0], parts[0]) and _walk(pattern[1:], parts[1:])


def _part(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _part(pattern[1:], text) or (text != "" and _part(pattern, text[1:]))
    return text != "" and pattern[0] == text[0] and _part(pattern[1:], text[1:])


def test_hostile_names_cost_little() -> None:
    """re2 takes time by the length, whatever the pattern."""
    pattern = Pattern("/".join(["**"] * 30 + ["x"]), "p")
    assert not pattern.matches("/".join(["a"] * 2_000))


def rules(*grants: dict[str, Any], ways: tuple[str, ...] = ("htpasswd",), public: tuple[str, ...] = ()) -> Rules:
    return Rules(Auth(public=list(public), allow=[Grant(**grant) for grant in grants]), ways)


def test_nothing_is_allowed_but_what_a_rule_says() -> None:
    some = rules({"identities": ["ann"], "repositories": ["team/*"], "actions": ["pull", "push"]},
                 {"identities": ["bob"], "repositories": ["**"], "actions": ["delete"]},
                 {"identities": ["root"], "actions": ["catalog"]}, public=("free/*",))
    assert some.allows(ANN, "pull", "team/app")
    assert some.allows(ANN, "push", "team/app")
    assert not some.allows(ANN, "delete", "team/app")
    assert not some.allows(ANN, "pull", "other/app")
    assert not some.allows(ANN, "catalog", "")
    assert not some.allows(Caller("htpasswd", ("bob",)), "pull", "team/app")
    assert some.allows(Caller("htpasswd", ("bob",)), "delete", "team/app")
    assert some.allows(Caller("htpasswd", ("root",)), "catalog", "")
    assert some.allows(None, "pull", "free/app")
    assert some.allows(ANN, "pull", "free/app")
    assert not some.allows(None, "push", "free/app")
    assert not some.allows(None, "pull", "team/app")
    assert not rules().allows(ANN, "pull", "a")
    assert not some.allows(Caller("certificate", ("ann",)), "pull", "team/app")  # another ann
    assert some.allows(Caller("htpasswd", ("x", "ann")), "pull", "team/app")


ISSUERS = ("https://one.example", "https://two.example")


@pytest.mark.parametrize(("grant", "ways", "reason"), [
    ({"by": None}, ISSUERS, r"auth.allow\[0\].by: got none, expected one of https://one.example, https://two.example"),
    ({"by": "htpasswd"}, ISSUERS, r"auth.allow\[0\].by: got 'htpasswd', expected one of https://one"),
    ({"identities": []}, ISSUERS[:1], r"auth.allow\[0\]: got no identities"),
    ({"actions": []}, ISSUERS[:1], r"auth.allow\[0\]: got no actions"),
    ({"repositories": []}, ISSUERS[:1], r"auth.allow\[0\].repositories: got 0, expected patterns"),
    ({"actions": ["catalog"]}, ISSUERS[:1], r"auth.allow\[0\].repositories: got 1, expected none: catalog"),
    ({"repositories": ["Team/*"]}, ISSUERS[:1], r"auth.allow\[0\].repositories\[0\]: got 'Team/\*', expected a repos"),
    ({"repositories": ["a**"]}, ISSUERS[:1], r"auth.allow\[0\].repositories\[0\]: got 'a\*\*', expected \*\* alone"),
    ({"repositories": ["/a"]}, ISSUERS[:1], r"auth.allow\[0\].repositories\[0\]: got '/a'"),
    ({"identities": [""]}, ISSUERS[:1], r"auth.allow\[0\].identities\[0\]: got '', expected printable text"),
    ({"identities": ["a\nb"]}, ISSUERS[:1], r"auth.allow\[0\].identities\[0\]: got 'a\\nb'"),
    ({}, (), "auth: got no way to know who somebody is"),
])
def test_rules_that_are_refused(grant: dict[str, Any], ways: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        rules({"identities": ["ann"], "repositories": ["**"], "actions": ["pull"], **grant}, ways=ways)
