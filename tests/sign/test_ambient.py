"""Identities of the place: each service as it really asks and answers, and servers that lie."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import AuthenticationError, CustodyError, NetworkError, UnsupportedError, UsageError
from custody.sign import ambient
from custody.sign.ambient import PROVIDERS, Place, ambient_token
from custody.trust.token import sign_token

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECRET = "the-request-secret"


def jwt(audience: object = "sigstore", minutes: int = 10) -> str:
    claims = {"iss": "https://issuer.example", "sub": "me", "aud": audience,
              "exp": int((NOW + timedelta(minutes=minutes)).timestamp())}
    return sign_token(claims, ec.generate_private_key(ec.SECP256R1()), "key")


Reply = tuple[int, bytes]


class Service:
    """Answers what it is told to, and keeps what it was asked: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.replies: list[Reply | Callable[[], Reply]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                status, data = reply() if callable(reply) else reply
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass  # who asked has read enough

            do_GET = do_POST = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def ask(environ: dict[str, str], tmp_path: Path, *, provider: str | None = None, audience: str = "sigstore",
        told: list[str] | None = None, **changes: Any) -> tuple[str, str] | None:
    async def run() -> tuple[str, str] | None:
        http = StdlibHttp()
        try:
            place = Place(http=http, direct=http, environ=environ, clock=lambda: NOW, pause=0,
                          **{"token_file": tmp_path / "no-token", "spiffe_socket": tmp_path / "no-socket",
                             "product_name": tmp_path / "no-name", **changes})
            return await ambient_token(place, audience, provider, (told if told is not None else []).append)
        finally:
            await http.close()

    return asyncio.run(run())


def github(service: Service) -> dict[str, str]:
    return {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": f"{service.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": SECRET}


def test_no_place_promises_one(tmp_path: Path) -> None:
    told: list[str] = []
    assert ask({}, tmp_path, told=told) is None
    assert told == [f"identity: {name}: not here" for name in PROVIDERS]


def test_github_actions(service: Service, tmp_path: Path) -> None:
    token = jwt()
    service.replies = [(200, json.dumps({"value": token, "count": 1}).encode())]
    told: list[str] = []
    assert ask(github(service), tmp_path, told=told) == ("github-actions", token)
    method, path, headers, _ = service.asked[0]
    assert (method, path) == ("GET", "/token?api-version=2.0&audience=sigstore")
    assert headers["Authorization"] == f"bearer {SECRET}"
    assert token not in "".join(told)


def test_github_actions_is_asked_again_after_a_failure(service: Service, tmp_path: Path) -> None:
    token = jwt()
    service.replies = [(503, b"later"), (500, b""), (200, json.dumps({"value": token}).encode())]
    assert ask(github(service), tmp_path) == ("github-actions", token)
    assert len(service.asked) == 3


@pytest.mark.parametrize(("reply", "kind", "reason"), [
    ((500, b"boom"), NetworkError, "the service answered 500, expected 200 and a token"),
    ((403, b'{"message":"the-request-secret is bad"}'), AuthenticationError, "the service answered 403"),
    ((302, b""), AuthenticationError, "the service answered 302"),
    ((200, b"<html>sign in</html>"), NetworkError, "got 20 bytes, expected JSON with a text 'value'"),
    ((200, b'{"token": "x.y.z"}'), NetworkError, "expected JSON with a text 'value'"),
    ((200, b'{"value": 7}'), NetworkError, "expected JSON with a text 'value'"),
    ((200, b'{"value": "e30.e30.e30", "value": "e30.e30.e30"}'), NetworkError, "expected JSON with a text 'value'"),
    ((200, b"[" * 60_000), NetworkError, "expected JSON with a text 'value'"),
    ((200, b" " * 1_000_000), NetworkError, "got more than 65536 bytes"),
    ((200, b'{"value": "nothing like a token"}'), AuthenticationError, "got 20 characters, expected an identity token"),
    ((200, json.dumps({"value": "a" * 20_000}).encode()), AuthenticationError, "got 20000 characters"),
    ((200, json.dumps({"value": jwt("somebody-else")}).encode()), AuthenticationError,
     "aud: got 'somebody-else', expected 'sigstore'"),
    ((200, json.dumps({"value": jwt(minutes=-1)}).encode()), AuthenticationError, "exp: the token has expired"),
])
def test_a_service_that_lies(service: Service, tmp_path: Path, reply: Reply, kind: type[CustodyError],
                             reason: str) -> None:
    service.replies = [reply]
    (tmp_path / "token").write_text(jwt())  # the next one would have one: there is no falling through
    with pytest.raises(kind) as caught:
        ask(github(service), tmp_path, token_file=tmp_path / "token")
    assert caught.value.message.startswith("identity of github-actions: ")
    assert reason in caught.value.message
    said = caught.value.message + str(caught.value.hint)
    assert SECRET not in said
    assert "nothing like" not in said


def test_a_service_that_is_slow(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    service.replies = [lambda: (200 if ended.wait(30) else 500, b"")]
    monkeypatch.setattr(ambient, "DEADLINE", 0.2)
    with pytest.raises(NetworkError, match=r"identity of github-actions: not there within 0\.2 s"):
        ask(github(service), tmp_path)
    ended.set()


@pytest.mark.parametrize("missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
def test_a_job_without_permission(service: Service, tmp_path: Path, missing: str) -> None:
    with pytest.raises(AuthenticationError, match=f"identity of github-actions: {missing} is not set") as caught:
        ask({name: value for name, value in github(service).items() if name != missing}, tmp_path)
    assert caught.value.hint == "permissions: id-token: write, in the workflow or the job"


@pytest.mark.parametrize("url", ["http://token.example/x", "http://user@127.0.0.1/x", "ftp://127.0.0.1/x", "file:///x",
                                 "http://10.0.0.1/x", "//127.0.0.1/x"])
def test_a_secret_is_not_sent_in_the_open(service: Service, tmp_path: Path, url: str) -> None:
    environ = {**github(service), "ACTIONS_ID_TOKEN_REQUEST_URL": url}
    with pytest.raises(AuthenticationError, match="expected https: a secret goes there"):
        ask(environ, tmp_path)


def test_gitlab(tmp_path: Path) -> None:
    token = jwt("https://a.example")
    environ = {"GITLAB_CI": "true", "HTTPS___A_EXAMPLE_ID_TOKEN": token}
    assert ask(environ, tmp_path, audience="https://a.example") == ("gitlab", token)
    with pytest.raises(AuthenticationError, match="identity of gitlab: SIGSTORE_ID_TOKEN is not set"):
        ask({"GITLAB_CI": "true"}, tmp_path)


def test_buildkite_over_its_api(service: Service, tmp_path: Path) -> None:
    token = jwt()
    service.replies = [(200, json.dumps({"token": token}).encode())]
    environ = {"BUILDKITE_AGENT_ACCESS_TOKEN": SECRET, "BUILDKITE_AGENT_ENDPOINT": f"{service.url}/v3",
               "BUILDKITE_JOB_ID": "018f.a/b"}
    assert ask(environ, tmp_path) == ("buildkite-agent", token)
    method, path, headers, body = service.asked[0]
    assert (method, path) == ("POST", "/v3/jobs/018f%2Ea%2Fb/oidc/tokens")
    assert headers["Authorization"] == f"Token {SECRET}"
    assert json.loads(body) == {"audience": "sigstore"}


def program(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_buildkite_through_its_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = jwt()
    program(tmp_path, "buildkite-agent", f'[ "$*" = "oidc request-token --audience sigstore" ] && echo {token}',
            monkeypatch)
    assert ask({"BUILDKITE": "true"}, tmp_path) == ("buildkite-agent", token)
    program(tmp_path, "buildkite-agent", "echo no >&2; exit 3", monkeypatch)
    with pytest.raises(AuthenticationError, match="`buildkite-agent oidc request-token --audience` ended with 3"):
        ask({"BUILDKITE": "true"}, tmp_path)


def test_circleci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, other = jwt(), jwt("an-organisation")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask({"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": token}, tmp_path) == ("circleci", token)
    with pytest.raises(AuthenticationError, match="aud: got 'an-organisation', expected 'sigstore'"):
        ask({"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": other}, tmp_path)
    with pytest.raises(AuthenticationError, match="identity of circleci: circleci: No such file or directory"):
        ask({"CIRCLECI": "true"}, tmp_path)
    program(tmp_path, "circleci", '[ "$*" = \'run oidc get --claims {"aud": "sigstore"} --root-issuer\' ] && '
            f"echo {token}", monkeypatch)
    assert ask({"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": other}, tmp_path) == ("circleci", token)


def test_a_program_that_says_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "buildkite-agent", "head -c 200000 /dev/zero", monkeypatch)
    with pytest.raises(AuthenticationError, match="got more than 65536 bytes"):
        ask({"BUILDKITE": "true"}, tmp_path)


def test_filesystem(tmp_path: Path) -> None:
    token = jwt(["other", "sigstore"])
    file = tmp_path / "oidc-token"
    file.write_text(token + "\n")
    assert ask({}, tmp_path, token_file=file) == ("filesystem", token)
    file.write_text("x" * 20_000)
    with pytest.raises(AuthenticationError, match="got more than 16384 bytes, expected a token"):
        ask({}, tmp_path, token_file=file)
    file.unlink()
    file.mkdir()
    with pytest.raises(AuthenticationError, match="oidc-token: Is a directory"):
        ask({}, tmp_path, token_file=file)
    file.rmdir()
    file.symlink_to("nowhere")
    with pytest.raises(AuthenticationError, match="oidc-token: No such file or directory"):
        ask({}, tmp_path, token_file=file)


def test_spiffe_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="identity of spiffe: Workload API: custody does not speak it") as caught:
        ask({"SPIFFE_ENDPOINT_SOCKET": "unix:///run/spire.sock"}, tmp_path)
    assert "spire-agent api fetch jwt -audience sigstore" in str(caught.value.hint)


def test_google_machine(service: Service, tmp_path: Path) -> None:
    (tmp_path / "product_name").write_text("Google Compute Engine\n")
    token = jwt()
    service.replies = [(200, token.encode())]
    environ = {"GCE_METADATA_HOST": service.url.removeprefix("http://")}
    assert ask(environ, tmp_path, product_name=tmp_path / "product_name") == ("google", token)
    _, path, headers, _ = service.asked[0]
    assert path == ("/computeMetadata/v1/instance/service-accounts/default/identity?audience=sigstore&format=full")
    assert headers["Metadata-Flavor"] == "Google"
    service.replies = [(404, b"")]
    with pytest.raises(NetworkError, match="the metadata server answered 404, expected a token"):
        ask(environ, tmp_path, product_name=tmp_path / "product_name")
    (tmp_path / "product_name").write_text("KVM\n")
    assert ask(environ, tmp_path, product_name=tmp_path / "product_name") is None


def test_google_service_account(service: Service, tmp_path: Path) -> None:
    token = jwt()
    service.replies = [(200, json.dumps({"access_token": SECRET}).encode()),
                       (200, json.dumps({"token": token}).encode())]
    environ = {"GCE_METADATA_HOST": service.url.removeprefix("http://"),
               "GOOGLE_SERVICE_ACCOUNT_NAME": "ci@shop.iam.gserviceaccount.com"}
    assert ask(environ, tmp_path, iam=f"{service.url}/v1") == ("google", token)
    _, path, headers, body = service.asked[1]
    assert path == "/v1/ci@shop.iam.gserviceaccount.com:generateIdToken"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert json.loads(body) == {"audience": "sigstore", "includeEmail": True}
    with pytest.raises(AuthenticationError, match=r"GOOGLE_SERVICE_ACCOUNT_NAME: got '\.\./x', expected NAME@PROJECT"):
        ask({**environ, "GOOGLE_SERVICE_ACCOUNT_NAME": "../x"}, tmp_path)
    with pytest.raises(UnsupportedError, match="custody reads no credential files of Google's"):
        ask({**environ, "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, tmp_path)


def test_the_first_in_the_list_is_taken_and_one_can_be_named(service: Service, tmp_path: Path) -> None:
    first, second = jwt(), jwt()
    service.replies = [(200, json.dumps({"value": first}).encode())]
    file = tmp_path / "oidc-token"
    file.write_text(second)
    assert ask(github(service), tmp_path, token_file=file) == ("github-actions", first)
    assert ask(github(service), tmp_path, token_file=file, provider="filesystem") == ("filesystem", second)
    with pytest.raises(UsageError, match="--oidc-provider gitlab: this is no such place"):
        ask(github(service), tmp_path, provider="gitlab")
    with pytest.raises(UsageError, match="--oidc-provider: got 'azure', expected github-actions, gitlab"):
        ask(github(service), tmp_path, provider="azure")
