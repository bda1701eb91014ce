"""`custody verify --key` with the name of a key that Vault keeps, over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from custody.server.asgi import Receive, Scope, Send, respond
from tests.serving import served
from tests.sign.site import Site


@pytest.fixture
def vault(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The requests that Vault got; it keeps the site's key as `release`."""
    got: list[str] = []

    async def transit(scope: Scope, _: Receive, send: Send) -> None:
        got.append(scope["path"])
        if dict(scope["headers"]).get(b"x-vault-token") != b"s.token":
            await respond(send, 403, b'{"errors":["permission denied"]}', b"application/json")
        elif scope["path"] != "/v1/transit/keys/release":
            await respond(send, 404, b'{"errors":[]}', b"application/json")
        else:
            public = (site.folder / "cosign.pub").read_text()
            await respond(send, 200, json.dumps({"data": {"latest_version": 1, "keys": {
                "1": {"name": "ecdsa-p256", "public_key": public}}}}).encode(), b"application/json")

    with served(transit) as url:
        monkeypatch.setenv("VAULT_ADDR", url)
        monkeypatch.setenv("VAULT_TOKEN", "s.token")
        yield got


def test_a_key_that_vault_keeps(site: Site, vault: list[str], capsys: pytest.CaptureFixture[str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    image = site.push("vault")
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), image) == 0
    assert site.custody("verify", "--key", "hashivault://release", image) == 0
    assert vault == ["/v1/transit/keys/release"]
    capsys.readouterr()
    log = site.stack.people.url.removesuffix("/oidc")
    watched = ("log", "watch", "--once", "--log", log, "--state", str(site.folder / "seen"))
    assert site.custody(*watched, "--key", "hashivault://release") == 0
    assert " signed by key sha256:" in capsys.readouterr().out
    assert site.custody(*watched, "--key", "hashivault://another") == 4
    assert "--key hashivault://another: there is no such key" in capsys.readouterr().err
    assert site.custody("verify", "--key", "hashivault://another", image) == 4
    assert "--key hashivault://another: there is no such key" in capsys.readouterr().err
    assert site.custody("verify", "--key", "gcpkms://projects/p", image) == 2
    assert "expected gcpkms://projects/PROJECT/locations" in capsys.readouterr().err
    assert site.custody("verify", "--key", "k8s://ns/key", image) == 4
    assert "no cluster" in capsys.readouterr().err
    monkeypatch.setenv("VAULT_TOKEN", "s.other")
    assert site.custody("verify", "--key", "hashivault://release", image) == 4
    assert "permission denied" in capsys.readouterr().err
