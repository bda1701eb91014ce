"""crane, oras, skopeo and cosign log in, push and pull, and are denied, as they would be by other registries."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.settings import Settings
from custody.settings.tables import Auth, AuthIssuer, Grant
from tests.access.site import AUDIENCE, ISSUER, Client, Issuer, htpasswd, serving
from tests.conftest import peer

pytestmark = pytest.mark.peer


@dataclass
class Desk:
    """A folder in which peers and custody run, each with the login of one user."""

    host: str
    folder: Path
    issuer: Issuer

    def run(self, user: str, program: str, *arguments: str, given: str | None = None) -> tuple[int, str]:
        home = self.folder / user
        home.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home), "COSIGN_PASSWORD": "",
               "REGISTRY_AUTH_FILE": str(home / "config.json"), "SIGSTORE_NO_CACHE": "1", "TMPDIR": str(self.folder)}
        if not (home / "config.json").exists():
            (home / "config.json").write_text("{}")
        done = subprocess.run([peer(program), *arguments], capture_output=True, text=True, input=given, env=env,
                              cwd=self.folder, timeout=100)
        return done.returncode, done.stdout + done.stderr

    def login(self, user: str, program: str, name: str | None = None, password: str = "secret") -> tuple[int, str]:
        login = {"crane": ["auth", "login"], "oras": ["login", "--plain-http"],
                 "skopeo": ["login", "--tls-verify=false"], "cosign-v3": ["login"]}[program]
        stdin = ["--password-stdin"] if program != "cosign-v2" else []
        return self.run(user, program, *login, self.host, "-u", name or user, *stdin, given=password)

    def push(self, user: str, program: str, repository: str, tag: str | None = None) -> tuple[int, str]:
        to = f"{self.host}/{repository}:{tag or program}"
        return self.run(user, program, *{
            "crane": ["append", "--insecure", "--oci-empty-base", "-f", "layer.tar", "-t", to],
            "oras": ["push", "--plain-http", to, "hello"],
            "skopeo": ["copy", "--dest-tls-verify=false", "oci:layout:1", f"docker://{to}"]}[program])

    def pull(self, user: str, program: str, repository: str) -> tuple[int, str]:
        of = f"{self.host}/{repository}"
        return self.run(user, program, *{
            "crane": ["manifest", "--insecure", of], "oras": ["manifest", "fetch", "--plain-http", of],
            "skopeo": ["inspect", "--tls-verify=false", f"docker://{of}"]}[program])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("peers")
    (folder / "hello").write_text("hello")
    with tarfile.open(folder / "layer.tar", "w") as tar:
        tar.add(folder / "hello", "hello")
    (folder / "users").write_text(htpasswd(ann="secret", bob="secret", root="secret"))
    issuer, users = Issuer(folder), {"by": "htpasswd"}
    everything: list[Any] = ["pull", "push", "delete"]
    auth = Auth(htpasswd=str(folder / "users"), public=["free/*"], issuers=[
        AuthIssuer(url=ISSUER, audience=AUDIENCE, jwks=issuer.jwks())], allow=[
            Grant(**users, identities=["ann"], repositories=["team/**"], actions=["pull", "push"]),
            Grant(**users, identities=["bob"], repositories=["team/**"], actions=["pull"]),
            Grant(**users, identities=["root"], repositories=["**"], actions=everything),
            Grant(**users, identities=["root"], actions=["catalog"]),
            Grant(by=ISSUER, identities=["ann@example.com"], repositories=["people/*"], actions=["pull", "push"])])
    with serving(Settings(data_dir=str(folder / "data"), auth=auth)) as host:
        made = Desk(host, folder, issuer)
        yield made


def layout(desk: Desk) -> None:
    """An OCI layout to copy from, made of what oras pushed."""
    if not (desk.folder / "layout").exists():
        assert desk.login("root", "oras")[0] == 0
        assert desk.run("root", "oras", "push", "--plain-http", f"{desk.host}/free/app:1", "hello")[0] == 0
        code, said = desk.run("root", "oras", "copy", "--from-plain-http", "--to-oci-layout", f"{desk.host}/free/app:1",
                              "layout:1")
        assert code == 0, said


@pytest.mark.parametrize("program", ["crane", "oras", "skopeo"])
def test_login_push_pull_denied(desk: Desk, program: str) -> None:
    peer(program)
    layout(desk)
    # without a login
    code, said = desk.push("nobody", program, f"team/{program}")
    assert code != 0
    assert any(word in said for word in ("UNAUTHORIZED", "401", "unauthorized", "authentication required",
                                         "credential not found")), said
    code, said = desk.pull("nobody", "crane" if program == "skopeo" else program, "free/app:1")
    assert code == 0, said  # what is public needs none
    # with the wrong one
    if program != "crane":  # it writes the login down and asks nobody
        code, said = desk.login("mallory", program, "ann", "wrong")
        assert code != 0
        assert "401" in said or "nauthorized" in said or "invalid username/password" in said, said
    # with one that may
    code, said = desk.login("ann", program)
    assert code == 0, said
    code, said = desk.push("ann", program, f"team/{program}")
    assert code == 0, said
    if program != "skopeo":  # it wants an image's configuration, and this is oras's artifact
        code, said = desk.pull("ann", program, f"team/{program}:{program}")
        assert code == 0, said
    # with one that may read and not write
    assert desk.login("bob", program)[0] == 0
    code, said = desk.push("bob", program, f"team/{program}", "new")  # crane does not push what is there already
    assert code != 0
    assert any(word in said.lower() for word in ("denied", "403", "forbidden")), said
    code, said = desk.push("ann", program, "other/app")
    assert code != 0
    assert any(word in said.lower() for word in ("denied", "403", "forbidden")), said


@pytest.mark.parametrize("program", ["crane", "oras", "skopeo"])
def test_a_token_as_the_password(desk: Desk, program: str) -> None:
    layout(desk)
    user = f"token-{program}"
    code, said = desk.login(user, program, "oauth2accesstoken", desk.issuer.token())
    assert code == 0, said
    code, said = desk.push(user, program, "people/app")
    assert code == 0, said
    code, said = desk.push(user, program, "team/app")
    assert code != 0
    assert any(word in said.lower() for word in ("denied", "403", "forbidden")), said


def test_delete_and_catalog_are_their_own_rights(desk: Desk) -> None:
    for user in ("ann", "root"):
        assert desk.login(user, "crane")[0] == 0
    assert desk.push("ann", "crane", "team/gone")[0] == 0
    digest = desk.run("ann", "crane", "digest", "--insecure", f"{desk.host}/team/gone:crane")[1].strip()
    code, said = desk.run("ann", "crane", "delete", "--insecure", f"{desk.host}/team/gone@{digest}")
    assert code != 0
    assert "DENIED" in said
    code, said = desk.run("ann", "crane", "catalog", "--insecure", desk.host)
    assert code != 0
    assert "DENIED" in said
    assert "team/gone" in desk.run("root", "crane", "catalog", "--insecure", desk.host)[1]
    assert desk.run("root", "crane", "delete", "--insecure", f"{desk.host}/team/gone@{digest}")[0] == 0


def test_crane_copies_across_repositories_as_far_as_it_may(desk: Desk) -> None:
    """It mounts where it can; what it may not read it is not given."""
    for user in ("ann", "root"):
        assert desk.login(user, "crane")[0] == 0
    assert desk.push("ann", "crane", "team/source")[0] == 0
    assert desk.push("root", "crane", "hidden/source")[0] == 0
    code, said = desk.run("ann", "crane", "copy", "--insecure", f"{desk.host}/team/source:crane",
                          f"{desk.host}/team/target:1")
    assert code == 0, said
    code, said = desk.run("ann", "crane", "copy", "--insecure", f"{desk.host}/hidden/source:crane",
                          f"{desk.host}/team/stolen:1")
    assert code != 0
    assert "ann may not pull hidden/source" in said


def test_cosign_signs_with_its_login(desk: Desk, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """And custody verifies with its own, and says what a denial says."""
    (desk.folder / "empty.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    for user in ("ann", "bob"):
        code, said = desk.login(user, "cosign-v3")
        assert code == 0, said
    assert desk.push("ann", "crane", "team/signed")[0] == 0
    image = f"{desk.host}/team/signed@" + desk.run(
        "ann", "crane", "digest", "--insecure", f"{desk.host}/team/signed:crane")[1].strip()
    assert desk.run("ann", "cosign-v3", "generate-key-pair")[0] == 0
    sign = ["cosign-v3", "sign", "-y", "--allow-http-registry", "--signing-config", "empty.json", "--key",
            "cosign.key", image]
    code, said = desk.run("bob", *sign)
    assert code != 0
    assert "DENIED" in said or "403" in said
    code, said = desk.run("ann", *sign)
    assert code == 0, said
    verify = ["verify", "--key", str(desk.folder / "cosign.pub"), "--insecure-ignore-tlog", image]
    for user, status in (("bob", 0), ("nobody", 5)):
        monkeypatch.setenv("DOCKER_CONFIG", str(desk.folder / user))
        (desk.folder / user).mkdir(exist_ok=True)
        if not (desk.folder / user / "config.json").exists():
            (desk.folder / user / "config.json").write_text("{}")
        assert run(verify) == status, capsys.readouterr().err
    found = Client(desk.host).ask("GET", f"/v2/team/signed/referrers/{image.partition('@')[2]}")
    assert found.status == 401
    assert json.loads(found.body)["errors"][0]["code"] == "UNAUTHORIZED"
