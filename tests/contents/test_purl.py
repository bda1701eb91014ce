"""Package URLs: one canonical spelling, and nothing that is not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.formats.purl import build, parse

_PART = st.text(min_size=1, max_size=12).filter(lambda text: text.strip("/") == text and max(text) < "\ud800")


@given(_PART, st.none() | _PART, st.none() | _PART, st.dictionaries(st.sampled_from(["arch", "distro", "a.b"]), _PART))
def test_round_trip(name: str, namespace: str | None, version: str | None, qualifiers: dict[str, str]) -> None:
    made = build("generic", name, namespace=namespace, version=version, qualifiers=qualifiers)
    assert parse(str(made)) == made
    assert str(parse(str(made))) == str(made)


_TYPES = ["alpm", "apk", "bitbucket", "brew", "cargo", "cocoapods", "composer", "conan", "conda", "cpan", "deb",
          "gem", "generic", "git", "github", "golang", "hex", "huggingface", "luarocks", "maven", "npm", "nuget",
          "oci", "opam", "otp", "pub", "pypi", "rpm", "swift", "vscode-extension", "yocto"]


@given(st.sampled_from(_TYPES), _PART, st.none() | _PART, st.none() | _PART, st.none() | _PART)
def test_what_is_built_for_a_type_parses_to_itself(
        kind: str, name: str, namespace: str | None, version: str | None, subpath: str | None) -> None:
    try:
        made = build(kind, name, namespace=namespace, version=version, subpath=subpath)
    except MalformedError:
        return
    assert parse(str(made), strict=True) == made


@pytest.mark.parametrize(("text", "canonical"), [
    ("pkg:npm/@angular/animation", "pkg:npm/%40angular/animation"),
    ("pkg:npm/@angular/animation@12.3.1", "pkg:npm/%40angular/animation@12.3.1"),
    ("pkg:npm/@angular/animation@12.3.1#/lib/./x/", "pkg:npm/%40angular/animation@12.3.1#lib/x"),
    ("pkg:npm/@angular/animation#lib/@x", "pkg:npm/%40angular/animation#lib/%40x"),
    ("pkg:npm/@angular/animation?a=b@c", "pkg:npm/%40angular/animation?a=b%40c"),
    ("pkg:brew/node@20@20.1", "pkg:brew/node%4020@20.1"),
    ("pkg:opam/git@3/16.1", "pkg:opam/git@3%2F16.1"),
])
def test_an_at_sign_needs_a_name_before_it(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


def test_the_standard_wants_keys_in_lower_case() -> None:
    assert parse("pkg:gem/a@1?Platform=java").qualifiers == {"platform": "java"}
    with pytest.raises(MalformedError, match="lower case"):
        parse("pkg:gem/a@1?Platform=java", strict=True)


@given(st.text(max_size=60).map(lambda text: "pkg:" + text) | st.text(max_size=60))
def test_any_text_is_a_purl_or_our_error(text: str) -> None:
    try:
        made = parse(text)
    except CustodyError:
        return
    assert parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("npm/a@1", "pkg:type/name"),
        ("pkg:npm", "a type and a name"),
        ("pkg:np m/a", "type"),
        ("pkg:npm/@1", "name"),
        ("pkg:npm/@a/@1", "a name before the '@'"),
        (f"pkg:chrome-extension/{'a' * 32}@1.x", "one to four numbers"),
        ("pkg:npm/a#b%2Fc", "no encoded slash in the subpath"),
        ("pkg:pypi/a/b@1", "no namespaces"),
        ("pkg:deb/curl@1", "requires"),
        ("pkg:npm/a?b", "key=value"),
        ("pkg:npm/a?b=1&B=2", "twice"),
        ("pkg:npm/a@%ff", "UTF-8"),
        ("pkg:julia/A@1", "uuid"),
        ("pkg:npm/a\ud800", "lone surrogates"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse(text)
