"""cosign, crane, oras and skopeo beside custody on the same registries of odd habits, and distribution's token flow."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from custody.cli.run import run
from tests.conftest import peer
from tests.registry.odd import Registry, odd

pytestmark = pytest.mark.peer
AUTH = base64.b64encode(b"ann:secret").decode()


@dataclass
class Desk:
    """A folder with keys, files and a login, in which peers and custody run."""

    folder: Path
    env: dict[str, str]

    def login(self, host: str) -> None:
        (self.folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": AUTH}}}))

    def peer(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([peer(program), *arguments], capture_output=True, text=True, env=self.env,
                              cwd=self.folder, timeout=100)

    def custody(self, *arguments: str) -> int:
        return run(["--config", str(self.folder / "custody.toml"), *arguments])

    def sign(self, image: str) -> int:
        return self.custody("sign", "--key", str(self.folder / "cosign.key"), "--tlog-upload=false", image)

    def verify(self, image: str) -> int:
        return self.custody("verify", "--key", str(self.folder / "cosign.pub"), "--insecure-ignore-tlog", image)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("COSIGN_PASSWORD", "hello")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "custody.toml").write_text("")
    (tmp_path / "empty.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    (tmp_path / "sbom.json").write_text('{"bomFormat":"CycloneDX","specVersion":"1.5","version":1}')
    (tmp_path / "hello").write_text("hello")
    with tarfile.open(tmp_path / "layer.tar", "w") as tar:
        tar.add(tmp_path / "hello", "hello")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path),
           "COSIGN_PASSWORD": "hello", "SIGSTORE_NO_CACHE": "1"}
    desk = Desk(tmp_path, env)
    assert desk.custody("generate-key-pair", "--output-key-prefix", str(tmp_path / "cosign")) == 0
    return desk


HABITS: dict[str, dict[str, Any]] = {
    "plain": {}, "basic": {"auth": "basic"}, "token": {"auth": "token"},
    "token-for-a-second": {"auth": "token", "ttl": 1, "narrow": False},
    "several-challenges": {"auth": "token", "challenges": ("Negotiate", 'Basic realm="x"')},
    "503": {"trouble": 503},
    "no-referrers-404": {"referrers": 404, "referrers_body": b"404 page not found"},
    "no-referrers-406": {"referrers": 406, "referrers_body": b"no"},
    "put-202": {"put": 202, "put_blob": 202}, "location-query": {"location": "query"}, "head-405": {"head": "405"},
    "head-bare": {"head": "bare"},
}


@pytest.mark.parametrize("habit", HABITS)
def test_custody_manages_wherever_they_do(desk: Desk, habit: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The peers' outcomes are printed where custody fails: it may fail nowhere."""
    with odd(**HABITS[habit]) as registry:
        desk.login(registry.host)
        outcomes = _peers(desk, registry)
        registry.counts.clear()
        image = f"{registry.host}/ours@{registry.image('ours')}"
        steps = {"sign": desk.sign(image), "verify": desk.verify(image)}
        steps["attach"] = desk.custody("attach", "sbom", "--sbom", str(desk.folder / "sbom.json"), "--type",
                                       "cyclonedx", image)
        registry.counts.clear()
        steps["attest"] = desk.custody("attest", "--key", str(desk.folder / "cosign.key"), "--tlog-upload=false",
                                       "--predicate", str(desk.folder / "sbom.json"), "--type", "cyclonedx", image)
        steps["tree"] = desk.custody("tree", image)
        if outcomes["cosign-v3 sign"]:
            steps["verify cosign's"] = desk.verify(f"{registry.host}/theirs@{_digest(registry, 'theirs')}")
        shown = capsys.readouterr()
        assert set(steps.values()) == {0}, (steps, outcomes, shown.err)
        if habit in ("plain", "basic", "token", "no-referrers-404"):
            assert all(outcomes.values()), outcomes  # else this registry is odder than it should be


def _digest(registry: Registry, repository: str) -> str:
    return next(key for name, key in registry.manifests if name == repository and key.startswith("sha256:"))


def _peers(desk: Desk, registry: Registry) -> dict[str, bool]:
    """Which steps each peer manages on the registry."""
    image = f"{registry.host}/theirs@{registry.image('theirs')}"
    config = str(desk.folder / "config.json")
    steps = {
        "crane digest": ("crane", "digest", f"{registry.host}/theirs:1"),
        "crane push": ("crane", "append", "--oci-empty-base", "-f", "layer.tar", "-t", f"{registry.host}/crane:1"),
        "oras push": ("oras", "push", "--plain-http", "--registry-config", config, f"{registry.host}/oras:1", "hello"),
        "oras discover": ("oras", "discover", "--plain-http", "--registry-config", config, image),
        "cosign-v3 sign": ("cosign-v3", "sign", "-y", "--allow-http-registry", "--signing-config", "empty.json",
                           "--key", "cosign.key", image),
        "cosign-v3 verify": ("cosign-v3", "verify", "--allow-http-registry", "--insecure-ignore-tlog", "--key",
                             "cosign.pub", image),
    }
    outcomes = {}
    for name, command in steps.items():
        registry.counts.clear()
        outcomes[name] = desk.peer(*command).returncode == 0
    return outcomes


def test_skopeo_and_custody_read_the_same_login(desk: Desk, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    """REGISTRY_AUTH_FILE with a namespace's own entry, as containers-auth.json(5) has it."""
    with odd(auth="token") as registry:
        digest = registry.image("team/app")
        path = desk.folder / "auth.json"
        path.write_text(json.dumps({"auths": {registry.host: {"auth": base64.b64encode(b"no:body").decode()},
                                              f"{registry.host}/team": {"auth": AUTH}}}))
        desk.env["REGISTRY_AUTH_FILE"] = str(path)
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
        assert desk.verify(f"{registry.host}/team/app@{digest}") == 4  # let in: it finds that there is no signature
        assert "no signature found" in capsys.readouterr().err
        assert registry.token_requests[0].who == "ann:secret"
        found = desk.peer("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/team/app:1")
        assert found.returncode == 0, found.stderr


# distribution with token authentication


class TokenService:
    """Signs tokens as distribution's specification says (spec/auth/jwt.md), for whoever gives ann's password."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.asked: list[list[str]] = []
        self.lifetime = 60

    def jwks(self) -> str:
        entry = ECAlgorithm(ECAlgorithm.SHA256).to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**entry, "kid": "one", "use": "sig", "alg": "ES256"}]})

    def token(self, scopes: list[str], service: str) -> bytes:
        self.asked.append(scopes)
        access = [{"type": kind, "name": name, "actions": actions.split(",")}
                  for kind, name, actions in (scope.split(":") for scope in scopes)]
        now = int(time.time())
        claims = {"iss": "test", "sub": "ann", "aud": service, "exp": now + self.lifetime, "nbf": now - 5, "iat": now,
                  "jti": str(len(self.asked)), "access": access}
        token = jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "one"})
        return json.dumps({"token": token, "expires_in": self.lifetime}).encode()


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[tuple[str, TokenService]]:
    program = peer("registry")
    service = TokenService()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            known = self.headers.get("authorization") == f"Basic {AUTH}"
            body = service.token(query.get("scope", []), query["service"][0]) if known else b"{}"
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "jwks.json").write_text(service.jwks())
    (tmp_path / "distribution.yaml").write_text(f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: {tmp_path}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "{place}"}}
auth:
  token: {{realm: "http://localhost:{server.server_address[1]}/token", service: odd, issuer: test,
          jwks: {tmp_path}/jwks.json, signingalgorithms: [ES256]}}
""")
    with (tmp_path / "distribution.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(tmp_path / "distribution.yaml")], stdout=log, stderr=log)
        try:
            _wait_for(place, process, tmp_path / "distribution.log")
            yield place, service
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
            server.server_close()
            thread.join()


def _wait_for(place: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = place.partition(":")
    for _ in range(300):
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_distribution_with_tokens(desk: Desk, distribution: tuple[str, TokenService],
                                  capsys: pytest.CaptureFixture[str]) -> None:
    """push, sign, attest, attach, verify and tree; cosign reads what was written there."""
    host, service = distribution
    desk.login(host)
    pushed = desk.peer("crane", "append", "--oci-empty-base", "-f", "layer.tar", "-t", f"{host}/team/app:1")
    assert pushed.returncode == 0, pushed.stderr
    image = f"{host}/team/app@{desk.peer('crane', 'digest', f'{host}/team/app:1').stdout.strip()}"
    service.asked.clear()
    assert desk.verify(image) == 4
    assert "no signature found" in capsys.readouterr().err
    assert desk.sign(image) == 0
    sbom = str(desk.folder / "sbom.json")
    assert desk.custody("attest", "--key", str(desk.folder / "cosign.key"), "--tlog-upload=false", "--predicate", sbom,
                        "--type", "cyclonedx", image) == 0
    assert desk.custody("attach", "sbom", "--sbom", sbom, "--type", "cyclonedx", image) == 0
    assert desk.verify(image) == 0
    assert desk.custody("verify-attestation", "--key", str(desk.folder / "cosign.pub"), "--insecure-ignore-tlog",
                        "--type", "cyclonedx", image) == 0
    capsys.readouterr()
    assert desk.custody("tree", image) == 0
    assert "cyclonedx" in capsys.readouterr().out
    assert ["repository:team/app:pull,push"] in service.asked
    found = desk.peer("cosign-v3", "verify", "--allow-http-registry", "--insecure-ignore-tlog", "--key", "cosign.pub",
                      image)
    assert found.returncode == 0, found.stderr
    (desk.folder / "config.json").write_text("{}")
    assert desk.verify(image) == 5
    assert "the token service answered 401" in capsys.readouterr().err
