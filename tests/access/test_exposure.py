"""`serve` beyond this machine: with [auth] and TLS, or with --insecure, which is said aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.errors import UsageError
from custody.server.access.exposure import check_exposure, is_loopback
from custody.settings import Settings, load_settings
from custody.settings.tables import Auth
from tests.access.site import htpasswd
from tests.cli.commands import custody

OPEN, ASKS = Settings(), Settings(auth=Auth(htpasswd="h"))
TLS = {"tls_certificate": "c", "tls_key": "k"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_on_this_machine_nothing_is_needed(host: str) -> None:
    assert check_exposure(OPEN, ["registry", "ca"], host) == []
    assert check_exposure(OPEN, ["registry"], host, insecure=True) == [
        f"warning: --insecure: changes nothing on {host}"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "192.0.2.1", "registry.example", "localhost.example",
                                  "::ffff:10.0.0.1", "127.0.0.1.example", "fe80::1%eth0"])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match=f"--host {host}: everybody who reaches the registry could push") as caught:
        check_exposure(OPEN, ["registry"], host)
    assert "[auth] in custody.toml" in (caught.value.hint or "")


def test_what_is_needed_beyond_it() -> None:
    def problem(settings: Settings, *roles: str, **options: bool) -> str:
        with pytest.raises(UsageError) as caught:
            check_exposure(settings, roles, "0.0.0.0", **options)
        return caught.value.message

    assert "could push" in problem(OPEN, "registry")
    assert "could push" in problem(OPEN.replace(**TLS), "registry")
    assert "could push" in problem(OPEN, "registry", behind_proxy=True)
    assert "without TLS" in problem(ASKS, "registry")
    assert "without TLS" in problem(OPEN, "ca")  # it takes identity tokens
    assert check_exposure(ASKS.replace(**TLS), ["registry", "ca"], "0.0.0.0") == []
    assert check_exposure(ASKS, ["registry", "ca"], "0.0.0.0", behind_proxy=True) == []
    for role in ("log", "tsa", "oidc", "admission"):
        assert check_exposure(OPEN, [role], "0.0.0.0") == []
    assert "a proxy that ends TLS" in problem(ASKS.replace(**TLS), "registry", behind_proxy=True)
    with pytest.raises(UsageError, match=r"--behind-proxy: is for a proxy .* this machine's own"):
        check_exposure(ASKS, ["registry"], "127.0.0.1", behind_proxy=True)


def test_insecure_says_what_it_lets_happen() -> None:
    assert check_exposure(OPEN, ["registry"], "0.0.0.0", insecure=True) == [
        "warning: --insecure: everybody who reaches the registry could push, overwrite and delete"]
    assert check_exposure(ASKS, ["registry"], "0.0.0.0", insecure=True) == [
        "warning: --insecure: passwords and tokens would cross the network without TLS"]
    assert "changes nothing" in check_exposure(OPEN, ["log"], "0.0.0.0", insecure=True)[0]


@pytest.mark.parametrize(("arguments", "reason"), [
    (["--roles", "registry"], "everybody who reaches the registry could push"),
    (["--roles", "registry,admission,log"], "everybody who reaches the registry could push"),
    (["--roles", "ca,oidc"], "passwords and tokens would cross the network without TLS"),
    (["--roles", "registry", "--behind-proxy"], "could push"),
    (["--roles", "log", "--webhook-client-ca", "x"], "--webhook-client-ca: is for the admission role"),
    (["--roles", "log", "--webhook-service", "a/b"], "--webhook-service: is for the admission role"),
    (["--roles", "admission", "--webhook-service", "a"], "--webhook-service: got 'a', expected NAMESPACE/NAME"),
])
def test_serve_refuses(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = custody("serve", "--host", "0.0.0.0", "--port", "0", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert not (tmp_path / ".custody").exists()  # before anything is made


def test_an_address_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "custody.toml").write_text('[urls]\noidc = "https://trust.example/oidc"\n')
    done = custody("serve", "--host", "0.0.0.0", "--port", "0", "--roles", "ca,oidc,log", cwd=tmp_path)
    assert "warning: --host 0.0.0.0: nobody calls by that name, and the trust files name ca, log so" in done.stderr


def test_settings_of_access(tmp_path: Path) -> None:
    (tmp_path / "custody.toml").write_text("""
tls_certificate = "tls.crt"
tls_key = "tls.key"
[auth]
htpasswd = "users"
public = ["free/**"]
[[auth.issuers]]
url = "https://issuer.example"
audience = "registry.example"
jwks = "keys.json"
[[auth.allow]]
by = "htpasswd"
identities = ["ann"]
repositories = ["team/*"]
actions = ["pull", "push"]
""")
    (tmp_path / "users").write_text(htpasswd(ann="x"))
    settings = load_settings(tmp_path / "custody.toml", {})
    assert settings.auth is not None
    assert settings.auth.htpasswd == str(tmp_path / "users")
    assert settings.auth.issuers[0].jwks == str(tmp_path / "keys.json")
    assert settings.tls_key == str(tmp_path / "tls.key")


@pytest.mark.parametrize(("text", "reason"), [
    ("[auth]\nanonymous = true", "auth: contains unknown field `anonymous`"),
    ("[[auth.allow]]\nidentities = []\nactions = ['admin']", "auth.allow[0].actions[0]: got 'admin', expected 'pull', "
     "'push', 'delete', 'catalog'"),
    ("[[auth.allow]]\nactions = ['pull']", "auth.allow[0]: Object missing required field `identities`"),
    ("[[auth.issuers]]\nurl = 'https://x'", "auth.issuers[0]: Object missing required field `audience`"),
    ("[auth]\nhtpasswd = 1", "auth.htpasswd: expected `str | null`, got `int`"),
    ("auth = true", "auth: expected `object | null`, got `bool`"),
])
def test_fields_that_are_none_of_access(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "custody.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path / "custody.toml", {})
    assert reason in caught.value.message
