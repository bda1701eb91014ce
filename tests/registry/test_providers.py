"""Logins of clouds and of GitHub: each for its own hosts alone."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import AuthenticationError
from custody.registry.credentials import Credential
from custody.registry.helper import ask_helper
from custody.registry.providers import provided

ALL = ("amazon", "azure", "github", "google")


@pytest.mark.parametrize(("host", "helper"), [
    ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ecr-login"), ("public.ecr.aws", "ecr-login"),
    ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "ecr-login"),
    ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr-login"), ("acme.azurecr.io", "acr-env"),
    ("gcr.io", "gcr"), ("eu.gcr.io", "gcr"), ("europe-west1-docker.pkg.dev", "gcr"),
    ("ghcr.io", ""), ("docker.io", ""), ("gcr.io.evil.example", ""), ("evilgcr.io", ""), ("acme.azurecr.io.evil", ""),
    ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example", ""), ("127.0.0.1:5000", "")])
def test_helpers_are_asked_for_their_own_hosts(host: str, helper: str) -> None:
    asked: list[tuple[str, str]] = []

    def ask(name: str, server: str) -> tuple[str, str]:
        asked.append((name, server))
        return "user", "secret"

    credential = provided(ALL, host, {}, ask)
    assert asked == ([(helper, host)] if helper else [])
    assert credential == (Credential("user", "secret") if helper else None)
    assert provided(("github",), host, {}, ask) is None


def test_tokens_of_helpers_and_helpers_that_know_nothing() -> None:
    assert provided(ALL, "gcr.io", {}, lambda *_: ("<token>", "t")) == Credential(identity_token="t")
    assert provided(ALL, "gcr.io", {}, lambda *_: None) is None


@pytest.mark.parametrize(("environ", "credential"), [
    ({}, None), ({"GITHUB_TOKEN": "t"}, Credential("unset", "t")),
    ({"GITHUB_TOKEN": "t", "GITHUB_ACTOR": "ann"}, Credential("ann", "t"))])
def test_github(environ: dict[str, str], credential: Any) -> None:
    assert provided(("github",), "ghcr.io", environ) == credential
    assert provided(("github",), "gcr.io", environ) is None
    assert provided(("amazon",), "ghcr.io", environ) is None


def test_a_helper_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AuthenticationError, match="docker-credential-gcr"):
        provided(("google",), "gcr.io", {}, ask_helper)
