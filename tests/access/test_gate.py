"""The registry behind its gate, over HTTP: each refusal has exactly one thing wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.settings import Settings
from custody.settings.tables import Auth, AuthIssuer, Grant
from tests.access.site import AUDIENCE, ISSUER, Answer, Client, Issuer, basic, htpasswd, serving

GITHUB = "https://token.actions.githubusercontent.com"
WORKFLOW = "org/app/.github/workflows/release.yml@refs/heads/main"
ALL: list[Any] = ["pull", "push", "delete"]


@dataclass
class Site:
    host: str
    folder: Path
    issuer: Issuer
    github: Issuer

    def client(self, user: str | None = None, password: str = "secret") -> Client:
        return Client(self.host, None if user is None else basic(user, password))

    def bearer(self, token: str) -> Client:
        return Client(self.host, f"Bearer {token}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "htpasswd").write_text(htpasswd(ann="secret", bob="secret", root="secret", eve="secret"))
    issuer, github = Issuer(folder), Issuer(folder, GITHUB)
    users = {"by": "htpasswd"}
    auth = Auth(htpasswd=str(folder / "htpasswd"), public=["free/**"], issuers=[
        AuthIssuer(url=ISSUER, audience=AUDIENCE, jwks=issuer.jwks()),
        AuthIssuer(url=GITHUB, audience=AUDIENCE, jwks=github.jwks(), identity="github-workflow")], allow=[
            Grant(**users, identities=["ann"], repositories=["team/**"], actions=["pull", "push"]),
            Grant(**users, identities=["bob"], repositories=["team/**", "bob/*"], actions=["pull"]),
            Grant(**users, identities=["bob"], repositories=["bob/*"], actions=["push"]),
            Grant(**users, identities=["root"], repositories=["**"], actions=ALL),
            Grant(**users, identities=["root"], actions=["catalog"]),
            Grant(by=ISSUER, identities=["*@example.com"], repositories=["people/*"], actions=["pull", "push"]),
            Grant(by=GITHUB, identities=["https://github.com/org/**"], repositories=["ci/*"], actions=["push"])])
    with serving(Settings(data_dir=str(folder / "data"), auth=auth)) as host:
        made = Site(host, folder, issuer, github)
        assert made.client("root").push("team/app").status == 201
        assert made.client("root").push("free/app", data=b"[]").status == 201
        yield made


def refused(answer: Answer, status: int, code: str, reason: str) -> None:
    got = answer.error()
    assert got[:2] == (status, code), got
    assert reason in got[2]


def test_those_who_do_not_say_who_they_are_are_asked_to_log_in(site: Site) -> None:
    for method, path in (("GET", "/v2/"), ("GET", "/v2"), ("GET", "/v2/team/app/manifests/1"),
                         ("GET", "/v2/no/such/manifests/1"), ("POST", "/v2/team/app/blobs/uploads/"),
                         ("POST", "/v2/free/app/blobs/uploads/"), ("DELETE", "/v2/free/app/manifests/1"),
                         ("PUT", "/v2/free/app/manifests/2"), ("GET", "/v2/_catalog"), ("GET", "/v2/nothing"),
                         ("GET", "/v2/team/app/tags/list"), ("OPTIONS", "/v2/free/app/manifests/1")):
        answer = site.client().ask(method, path)
        refused(answer, 401, "UNAUTHORIZED", "")
        assert answer.challenges() == ['Basic realm="custody", charset="UTF-8"'], path
        assert answer.header("content-type") == "application/json"
    head = site.client().ask("HEAD", "/v2/team/app/manifests/1")
    assert (head.status, len(head.challenges())) == (401, 1)


def test_what_is_public_can_be_pulled(site: Site) -> None:
    for client in (site.client(), site.client("bob")):
        assert client.ask("GET", "/v2/free/app/manifests/1").status == 200
        assert client.ask("HEAD", "/v2/free/app/manifests/1").status == 200
        assert json.loads(client.ask("GET", "/v2/free/app/tags/list").body)["tags"] == ["1"]
    assert site.client("bob").ask("GET", "/v2/").status == 200


@pytest.mark.parametrize(("user", "method", "path", "reason"), [
    ("ann", "DELETE", "/v2/team/app/manifests/1", "ann may not delete team/app"),
    ("ann", "DELETE", "/v2/team/app/blobs/sha256:" + "0" * 64, "ann may not delete team/app"),
    ("ann", "GET", "/v2/bob/app/manifests/1", "ann may not pull bob/app"),
    ("ann", "GET", "/v2/bob/app/referrers/sha256:" + "0" * 64, "ann may not pull bob/app"),
    ("ann", "GET", "/v2/_catalog", "ann may not list all repositories"),
    ("bob", "PUT", "/v2/team/app/manifests/1", "bob may not push team/app"),
    ("bob", "POST", "/v2/team/app/blobs/uploads/", "bob may not push team/app"),
    ("bob", "PATCH", "/v2/team/app/blobs/uploads/" + "0" * 32, "bob may not push team/app"),
    ("bob", "PUT", "/v2/team/app/blobs/uploads/" + "0" * 32, "bob may not push team/app"),
    ("bob", "GET", "/v2/team/app/blobs/uploads/" + "0" * 32, "bob may not push team/app"),
    ("bob", "DELETE", "/v2/team/app/blobs/uploads/" + "0" * 32, "bob may not push team/app"),
    ("bob", "PATCH", "/v2/team/app/manifests/1", "bob may not push team/app"),
    ("eve", "GET", "/v2/team/app/manifests/1", "eve may not pull team/app"),
    ("eve", "GET", "/v2/no/such/manifests/1", "eve may not pull no/such"),  # as if it were there
    ("ann", "GET", "/v2/team/manifests/1", "ann may not pull team"),
    ("ann", "GET", "/v2/team/../bob/app/manifests/1", "ann may not pull"),
])
def test_what_no_rule_allows_is_denied(site: Site, user: str, method: str, path: str, reason: str) -> None:
    if ".." in path:
        assert site.client(user).ask(method, path).status in (403, 404)
        return
    answer = site.client(user).ask(method, path)
    refused(answer, 403, "DENIED", reason)
    assert answer.challenges() == []


def test_what_rules_allow_is_done(site: Site) -> None:
    ann, root = site.client("ann"), site.client("root")
    assert ann.push("team/deep/er/app").status == 201
    assert ann.push("team/new", "2", b"1").status == 201
    assert ann.ask("GET", "/v2/team/new/manifests/2").status == 200
    assert root.ask("DELETE", "/v2/team/new/manifests/2").status == 202
    assert "team/app" in json.loads(root.ask("GET", "/v2/_catalog").body)["repositories"]
    assert ann.ask("GET", "/v2/nothing").status == 404


@pytest.mark.parametrize(("header", "reason"), [
    (basic("ann", "wrong"), "the user or the password is wrong"),
    (basic("nobody", "secret"), "the user or the password is wrong"),
    (basic("", ""), "the user or the password is wrong"),
    ("Basic !!!", "no base64 of user:password"),
    ("Basic " + base64.b64encode(b"ann").decode(), "without a colon"),
    ("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "no base64"),
    ("Basic", "without a colon"),
    ("Digest username=ann", "got another scheme, expected Basic or Bearer"),
    ("", "got another scheme"),
    ("Bearer", "identity token: got '1 part(s)'"),
    ("Bearer a.b.c", "identity token"),
    ("Bearer " + "x" * 20_000, "got '20000 bytes', expected at most 16384 bytes"),
    (basic("oauth2accesstoken", "secret"), "identity token: got '1 part(s)'"),
    (basic("<token>", "secret"), "identity token: got '1 part(s)'"),
])
def test_wrong_credentials_are_never_passed_over(site: Site, header: str, reason: str) -> None:
    """Also where nobody need say who he is."""
    answer = Client(site.host, header).ask("GET", "/v2/free/app/manifests/1")
    refused(answer, 401, "UNAUTHORIZED", reason)
    assert ('Bearer error="invalid_token"' in answer.challenges()) == header.startswith("Bearer ")


def test_two_headers_are_one_too_many(site: Site) -> None:
    import socket

    host, _, port = site.host.partition(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(f"GET /v2/ HTTP/1.1\r\nHost: {site.host}\r\nAuthorization: {basic('ann', 'secret')}\r\n"
                           f"Authorization: {basic('root', 'wrong')}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := connection.recv(4096):
            data += part
    assert data.startswith(b"HTTP/1.1 401")
    assert b"Authorization: got 2 headers" in data


@given(st.binary(max_size=80))
def test_any_bytes_are_a_refusal(site: Site, data: bytes) -> None:
    text = data.decode("latin-1").replace("\r", "").replace("\n", "").replace("\0", "")
    for header in (text, "Basic " + text, "Basic " + base64.b64encode(data).decode(), "Bearer " + text):
        assert Client(site.host, header.strip()).ask("GET", "/v2/").status in (400, 401)


def test_tokens_of_people(site: Site) -> None:
    token = site.issuer.token()
    for client in (site.bearer(token), site.client("oauth2accesstoken", token), site.client("<token>", token)):
        assert client.ask("GET", "/v2/").status == 200
        assert client.push("people/app").status == 201
        refused(client.push("team/app"), 403, "DENIED", "ann@example.com may not push team/app")
    other = site.bearer(site.issuer.token("eve@example.com.evil.example"))
    refused(other.push("people/app"), 403, "DENIED", "eve@example.com.evil.example may not push")


def _forged(site: Site, **parts: Any) -> str:
    """A token whose header is replaced."""
    header, claims, signature = site.issuer.token().split(".")
    old = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    new = base64.urlsafe_b64encode(json.dumps({**old, **parts}).encode()).rstrip(b"=").decode()
    return f"{new}.{claims}.{signature}"


@pytest.mark.parametrize(("make", "reason"), [
    (lambda s: s.issuer.token(audience="sigstore"), "identity token aud: got 'sigstore', expected 'registry.example'"),
    (lambda s: s.issuer.token(minutes=-1), "identity token exp: expired 60 s ago"),
    (lambda s: s.issuer.token(email_verified=False), "identity token email_verified: got False"),
    (lambda s: Issuer(s.folder, ISSUER).token(), "is none of the issuer's keys"),
    (lambda s: Issuer(s.folder, "https://other.example", s.issuer.key).token(), "is not a trusted issuer"),
    (lambda s: Issuer(s.folder, GITHUB, s.issuer.key).token(), "is none of the issuer's keys"),  # each his own keys
    (lambda s: _forged(s, alg="none"), "alg"),
    (lambda s: _forged(s, alg="HS256"), "alg"),
    (lambda s: s.issuer.token()[:-8] + "AAAAAAAA", "signature does not verify"),
])
def test_tokens_with_one_thing_wrong(site: Site, make: Any, reason: str) -> None:
    for client in (site.bearer(make(site)), site.client("oauth2accesstoken", make(site))):
        refused(client.ask("GET", "/v2/"), 401, "UNAUTHORIZED", reason)


def workflow(site: Site, repository: str = "org/app") -> str:
    at = WORKFLOW.replace("org/app", repository)
    return site.github._issuer().mint_workflow(repository, ".github/workflows/release.yml", "refs/heads/main", "0" * 40,
                                               audience=AUDIENCE, claims={"job_workflow_ref": at})


def test_tokens_of_workflows(site: Site) -> None:
    assert site.bearer(workflow(site)).push_blob("ci/app", b"x").status == 201
    refused(site.bearer(workflow(site, "organ/app")).push_blob("ci/app", b"x"), 403, "DENIED",
            "https://github.com/organ/app/.github/workflows/release.yml@refs/heads/main may not push ci/app")


def test_a_name_counts_only_from_who_may_give_it(site: Site) -> None:
    """An issuer whose token says `root`, or a user named as an address, is not the one in the other's rules."""
    token = site.issuer.token("ann@example.com", sub="root")
    refused(site.bearer(token).push("team/app"), 403, "DENIED", "ann@example.com may not push team/app")


# Blobs of others


def mount(client: Client, target: str, source: str | None, data: bytes) -> Answer:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    more = f"&from={source}" if source is not None else ""
    return client.ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}{more}")


def test_a_mount_needs_pull_there(site: Site) -> None:
    root, bob = site.client("root"), site.client("bob")
    assert root.push_blob("hidden/app", b"hidden").status == 201
    assert root.push_blob("team/app", b"shared").status == 201
    # What is mounted is 201 with the blob; else an upload begins, 202, as for a blob that nobody has.
    assert mount(bob, "bob/app", "team/app", b"shared").status == 201
    assert mount(bob, "bob/app", "hidden/app", b"hidden").status == 202
    assert mount(bob, "bob/app", None, b"hidden").status == 202
    assert mount(bob, "bob/app", "team/app&from=hidden/app", b"hidden").status == 202
    assert mount(bob, "bob/app", "hidden/app&from=team/app", b"hidden").status == 202
    assert mount(bob, "bob/app", "", b"hidden").status == 202
    digest = "sha256:" + hashlib.sha256(b"hidden").hexdigest()
    assert bob.ask("HEAD", f"/v2/bob/app/blobs/{digest}").status == 404
    refused(mount(bob, "team/app", "team/app", b"shared"), 403, "DENIED", "bob may not push team/app")
    assert mount(root, "bob/app", "hidden/app", b"hidden").status == 201


def test_a_blob_is_seen_only_where_it_was_pushed(site: Site) -> None:
    assert site.client("root").push_blob("hidden/app", b"secret bytes").status == 201
    digest = "sha256:" + hashlib.sha256(b"secret bytes").hexdigest()
    for method in ("GET", "HEAD"):
        assert site.client("bob").ask(method, f"/v2/team/app/blobs/{digest}").status == 404
    manifest = json.dumps({"schemaVersion": 2, "layers": [], "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 12}}).encode()
    stolen = site.client("bob").ask("PUT", "/v2/bob/app/manifests/1", manifest,
                                    **{"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
    refused(stolen, 400, "MANIFEST_BLOB_UNKNOWN", "expected a blob that this repository has")


def test_a_broken_file_of_passwords_lets_nobody_in(site: Site) -> None:
    path = site.folder / "htpasswd"
    kept = path.read_text()
    path.write_text(kept + "broken\n")
    try:
        answer = site.client("ann").ask("GET", "/v2/")
        refused(answer, 503, "UNKNOWN", "cannot be found out now")
        assert "broken" not in answer.body.decode()
        assert site.client().ask("GET", "/v2/free/app/manifests/1").status == 200
        ready = site.client().ask("GET", "/readyz?verbose")
        assert ready.status == 200
        assert f"[+]htpasswd ok: nobody can log in with a password: {path}:" in ready.body.decode()
        assert 'custody_last_reload_successful{subject="htpasswd"} 0.0' in scrape(site)
    finally:
        path.write_text(kept)
    assert site.client("ann").ask("GET", "/v2/").status == 200
    assert 'custody_last_reload_successful{subject="htpasswd"} 1.0' in scrape(site)


def scrape(site: Site) -> str:
    return site.client().ask("GET", "/metrics").body.decode()


def test_why_somebody_was_refused_is_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "custody")

    def logged(client: Client, path: str) -> dict[str, Any]:
        caplog.clear()
        answer = client.ask("GET", path)
        wanted = answer.header("x-request-id")
        for _ in range(500):  # the line is written when the answer has gone
            for record in caplog.records:
                fields = getattr(record, "fields", {})
                if fields.get("id") == wanted:
                    return fields | {"level": record.levelname}
            time.sleep(0.01)
        raise AssertionError("no line")

    wrong = logged(site.client("ann", "guess"), "/v2/")
    assert (wrong["status"], wrong["level"], wrong["reason"]) == (401, "WARNING", "the user or the password is wrong")
    assert "guess" not in str(wrong)
    token = logged(site.bearer(site.issuer.token(audience="another")), "/v2/")
    assert (token["level"], token["reason"]) == ("WARNING",
                                                 "identity token aud: got 'another', expected 'registry.example'")
    denied = logged(site.client("ann"), "/v2/other/app/manifests/1")
    assert (denied["level"], denied["identity"], denied["by"]) == ("WARNING", "ann", "htpasswd")
    assert denied["reason"] == "no rule lets ann pull other/app"
    # Every client begins like this.
    first = logged(site.client(), "/v2/")
    assert (first["status"], first["level"], "reason" in first) == (401, "INFO", False)
    assert logged(site.client("ann"), "/v2/team/app/manifests/1")["level"] == "INFO"
