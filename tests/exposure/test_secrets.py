"""Secrets: what is one and what only looks so, where they stand, and that none is ever shown."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from custody.exposure import proofs, secrets
from custody.exposure.rules import RULES

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0"
_HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def token(prefix: str, body: str = _BODY) -> str:
    """With the checksum that GitHub and npm put at the end."""
    value, last = zlib.crc32(body.encode()), ""
    while value:
        value, digit = divmod(value, 62)
        last = _DIGITS[digit] + last
    return prefix + body + last.rjust(6, "0")


def b64(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


JWT = f"{b64({'alg': 'HS256'})}.{b64({'sub': '1', 'iat': 1})}.c2lnbmF0dXJlLW9mLWl0LWFsbA"
DER = bytes([0x30, 0x81, 0x80]) + bytes(range(128))
PEM = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(DER).decode()}\n-----END PRIVATE KEY-----\n"


def ids(text: str, path: str = "app/config.py") -> list[str]:
    return [hit.rule.id for hit in secrets.hits(path, [text.encode()])]


@pytest.mark.parametrize(("text", "path", "rule"), [
    (token("ghp_"), "a", "github-token"), (token("ghs_"), "a", "github-token"), (token("npm_"), "a", "npm-token"),
    ("glpat-" + "xY7zK2mQ9wE4rT6uI8oP", "a", "gitlab-token"),
    ("AKIAQ3EGRIZK7XWBN2TL", "a", "aws-access-key"),
    ("aws_secret_access_key = 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", "a", "aws-secret-key"),
    ("AIzaSyD4iE8kZ9qLw2mN5pR7tV1xB3cF6hJ0kQw", "a", "google-api-key"),
    (f"dop_v1_{_HEX}", "a", "digitalocean-token"), ("xoxb-2417389012-7Kq2mZ9wE4rT6uI8oP1a", "a", "slack-token"),
    ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "a", "stripe-key"), (JWT, "a", "jwt"), (PEM, "a", "private-key"),
    (PEM.replace("\n", "\\n"), "a.json", "private-key"),
    ("postgres://app:k8Zq2mW9xE@db.internal/app", "a", "git-credentials"),
    ("//registry.npmjs.org/:_authToken=k8Zq2mW9xE4rT6uI8oP1aS3dF", "home/a/.npmrc", "npmrc-auth"),
    ("machine api.heroku.com login me@x.io password k8Zq2mW9xE4r", "root/.netrc", "netrc"),
    (json.dumps({"auths": {"r": {"auth": base64.b64encode(b"me:k8Zq2mW9").decode()}}}), "root/.docker/config.json",
     "docker-auth"),
    ("root:$6$Zq2mW9xE4rT6uI8o$k8Zq2mW9xE4rT6uI8oP1aS3dF:19000:0:99999:7:::", "etc/shadow", "shadow-password"),
    ("SESSION_SECRET=k8Zq2mW9xE4rT6uI8oP1aS3dF", "srv/.env", "assigned-secret")])
def test_what_is_one(text: str, path: str, rule: str) -> None:
    assert ids(f"before\n{text}\nafter", path) == [rule]


@pytest.mark.parametrize(("text", "path"), [
    ("ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0123456", "a"),  # the checksum is another
    ("npm_config_registry_of_this_installation_x", "a"), ("AKIAIOSFODNN7EXAMPLE", "a"), ("glpat-xxxxxxxxxxxxxxxxxxxx",
        "a"),
    (f"{b64({'typ': 'JWT'})}.{b64({'a': 1})}.c2lnbmF0dXJlLW9mLWl0LWFsbA", "a"),
    ("-----BEGIN PRIVATE KEY-----\n" + "A" * 80 + "\n-----END PRIVATE KEY-----", "a"),
    (PEM.replace("PRIVATE", "PUBLIC"), "a"), ("http://user:password@host/", "a"),
    ("http://john:S3nsit1ve@my.example.com", "a"), ("postgres://user:${PASSWORD}@db/app", "a"),
    ("SESSION_SECRET=k8Zq2mW9xE4rT6uI8oP1aS3dF", "app/code.py"), ("SESSION_SECRET=changemechangemechange1", "srv/.env"),
    ("<!-- <password>k8Zq2mW9</password> -->", "etc/maven/settings.xml"),
    ("root:*:19000:0:99999:7:::\nbin:!:1::::::", "etc/shadow"),
    (json.dumps({"auths": {"r": {"auth": "bm90aGluZw=="}}}), "root/.docker/config.json")])
def test_what_only_looks_so(text: str, path: str) -> None:
    assert ids(f"before\n{text}\nafter", path) == []


@pytest.mark.parametrize(("text", "shown"), [
    (token("ghp_"), "ghp_…, 40 characters"), (PEM, "-----BEGIN PRIVATE KEY----- and 230 characters"),
    (JWT, f"…, {len(JWT)} characters"),
    ("postgres://app:k8Zq2mW9xE4rT6uI8oP1aS3dF@db.internal/app", "…, 37 characters")])
def test_no_secret_is_shown(text: str, shown: str) -> None:
    assert [hit.shown for hit in secrets.hits("a", [text.encode()])] == [shown]


def test_lines_and_windows() -> None:
    filler = b"x = 1\n" * 200_000
    text = filler + token("ghp_").encode() + b"\n" + filler + PEM.encode()
    for size in (1 << 20, 65_537, 4096):
        pieces = [text[place:place + size] for place in range(0, len(text), size)]
        assert [(hit.rule.id, hit.line) for hit in secrets.hits("a", pieces)] == [
            ("github-token", 200_001), ("private-key", 400_002)]


@given(st.integers(min_value=0, max_value=3 << 20), st.integers(min_value=1, max_value=1 << 20))
def test_none_is_lost_between_windows(place: int, size: int) -> None:
    text = b"a\n" * (place // 2) + token("ghp_").encode() + b"\n" + b"b\n" * 1000
    hits = secrets.hits("a", [text[start:start + size] for start in range(0, len(text), max(size, 4096))]
                        if size >= 4096 else [text])
    assert [hit.line for hit in hits] == [place // 2 + 1]


def test_files_that_are_no_text_are_held_to_what_leaves_no_doubt() -> None:
    program = b"\x7fELF" + bytes(60)
    assert [hit.rule.id for hit in secrets.hits("bin/a",
        [program + token("ghp_").encode() + b"\0"])] == ["github-token"]
    assert secrets.hits("bin/a", [program + b"AKIAQ3EGRIZK7XWBN2TL\0"]) == []


def test_a_file_of_many_is_cut_short() -> None:
    lines = "\n".join(token("ghp_", f"aB3dE6gH9jK2mN5pQ8sT1vW4y{number:05}") for number in range(500))
    assert len(secrets.hits("a", [lines.encode()])) == 100


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    for hit in secrets.hits("etc/shadow", [data]):
        assert hit.line >= 1


def test_the_table() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES) >= 80
    for rule in RULES:
        assert secrets._pattern(rule).groups >= 1, rule.id
        assert rule.signs, rule.id
        assert rule.severity in ("low", "medium", "high", "critical")
    signs, _ = secrets._signs(secrets._ANYWHERE)
    assert signs.Match(b"ghp_" + b"a" * 20)
    assert isinstance(secrets._pattern(RULES[0]), type(re2.compile("a")))


def test_proofs() -> None:
    assert proofs.checksummed(token("ghp_"))
    assert not proofs.checksummed(token("ghp_")[:-1] + "?")
    assert proofs.jwt(JWT)
    assert not proofs.jwt("a.b.c")
    assert proofs.private_key(PEM)
    assert not proofs.private_key(PEM.replace("M", "!"))
    assert proofs.basic_auth(base64.b64encode(b"me:k8Zq2mW9").decode())
    assert not proofs.basic_auth("é")
