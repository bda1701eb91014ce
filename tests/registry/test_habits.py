"""The client against registries of odd habits: authentication, retries, redirects, uploads, budgets, both adapters."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import (
    AuthenticationError,
    DeniedError,
    MalformedError,
    NetworkError,
    NotFoundError,
    VerificationError,
)
from custody.formats import oci
from custody.formats.reference import Reference, parse
from custody.kit.address import Network
from custody.kit.digest import sha256
from custody.registry import transport
from custody.registry.budget import Budget
from custody.registry.client import RegistryClient
from tests.registry.odd import IDENTITY, Request, odd

T = TypeVar("T")
AUTH = base64.b64encode(b"ann:secret").decode()
LAYER = oci.Descriptor(oci.LAYER_GZIP, sha256(b"layer"), 5)


@pytest.fixture(params=[StdlibHttp, AiohttpHttp], ids=["stdlib", "aiohttp"])
def adapter(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for config.json; nothing of whoever runs the tests is used."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return folder / "config.json"


def run(adapter: Callable[[], Any], work: Callable[[RegistryClient], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        async with RegistryClient(adapter(), **options) as client:
            return await work(client)

    return asyncio.run(main())


def login(config: Path, *hosts: str, **entry: str) -> None:
    config.write_text(json.dumps({"auths": {host: entry or {"auth": AUTH} for host in hosts}}))


async def push(client: RegistryClient, ref: Reference, subject: oci.Descriptor | None = None) -> oci.Descriptor:
    config, layer = await client.push_blob(ref, b"{}"), await client.push_blob(ref, b"layer")
    manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, 2),
                            (oci.Descriptor(oci.LAYER_GZIP, layer.digest, 5),), subject, "a/sig" if subject else None)
    return await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST,
                                      tag=None if subject else ref.tag)


# Tokens


@pytest.mark.parametrize("narrow", [True, False])
def test_token_scope(adapter: Callable[[], Any], docker_config: Path, narrow: bool) -> None:
    """A HEAD's challenge names `pull`; the push that follows asks for what it needs."""
    with odd(auth="token", narrow=narrow) as registry:
        login(docker_config, registry.host)
        ref = parse(f"{registry.host}/team/app:1")

        async def work(client: RegistryClient) -> None:
            subject = await push(client, ref)
            await push(client, ref, subject)
            assert len(await client.referrers(ref.at(subject.digest))) == 1
            assert await client.mount(parse(f"{registry.host}/other"), LAYER.digest, ref)
            await client.delete_manifest(ref.at(subject.digest))

        run(adapter, work)
        asked = [seen.path for seen in registry.token_requests]
        assert len(asked) == 4  # push, pull, mount, delete: each once
        assert "scope=repository%3Ateam%2Fapp%3Apull%2Cpush&" in asked[0]
        assert any("other%3Apull%2Cpush&scope=repository%3Ateam%2Fapp%3Apull&" in path for path in asked)


@pytest.mark.parametrize(("ttl", "said"), [(0.3, 300), (0.3, 0.3), (0.3, None), (0.3, "soon")])
def test_token_expiry(adapter: Callable[[], Any], docker_config: Path, ttl: float, said: Any) -> None:
    """A kept token that is refused is renewed, and one that is about to expire is not sent."""
    with odd(auth="token", ttl=ttl, expires_in=said) as registry:
        login(docker_config, registry.host)
        registry.image()

        async def work(client: RegistryClient) -> None:
            for _ in range(3):
                await client.resolve(parse(f"{registry.host}/app:1"))
                await asyncio.sleep(0.5)

        run(adapter, work)
        assert len(registry.token_requests) == 3


def test_token_expiry_bricks(adapter: Callable[[], Any], docker_config: Path) -> None:
    """The same by the client's clock: what expires in 60 s is asked for again after 50, not before."""
    with odd(auth="token") as registry:
        registry.habits.expires_in = 60
        login(docker_config, registry.host)
        registry.image()
        seconds = [0.0]

        async def work(client: RegistryClient) -> list[int]:
            counts = []
            for seconds[0] in (0.0, 49.0, 51.0):
                await client.resolve(parse(f"{registry.host}/app:1"))
                counts.append(len(registry.token_requests))
            return counts

        assert run(adapter, work, now=lambda: seconds[0]) == [1, 1, 2]
        assert registry.count("HEAD", "/manifests/") == 4  # one refusal in all: the renewal came before one


def test_one_renewal_at_a_time(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="token") as registry:
        login(docker_config, registry.host)
        registry.image()

        async def work(client: RegistryClient) -> None:
            await asyncio.gather(*(client.resolve(parse(f"{registry.host}/app:1")) for _ in range(20)))

        run(adapter, work)
        assert len(registry.token_requests) == 1


def test_token_bomb_stops_event_loop(adapter: Callable[[], Any], docker_config: Path) -> None:
    """A token service's answer is parsed where everybody's requests are, so it is small or none."""
    def bomb(request: Request) -> bool:
        if request.path.startswith("/token"):
            request.answer(200, b'{"token":"x","a":[' + b"{}," * 30_000 + b"{}]}")
            return True
        return False

    with odd(auth="token", hook=bomb) as registry:
        login(docker_config, registry.host)
        with pytest.raises(NetworkError, match="got more than 65536 bytes"):
            run(adapter, lambda client: client.manifest(parse(f"{registry.host}/team/app:1")))


def test_a_token_that_never_helps_is_an_error_not_a_loop(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="token", ttl=-1) as registry:
        login(docker_config, registry.host)
        with pytest.raises(AuthenticationError, match="HEAD /v2/app/manifests/1 answered 401"):
            run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert len(registry.token_requests) == 1


@pytest.mark.parametrize("oauth", [200, 404, 405, 401])
def test_identity_tokens(adapter: Callable[[], Any], docker_config: Path, oauth: int) -> None:
    """POST with the refresh token, and GET where the service has no POST."""
    with odd(auth="token", oauth=oauth) as registry:
        login(docker_config, registry.host, identitytoken=IDENTITY)
        registry.image()
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert [seen.method for seen in registry.token_requests] == (["POST"] if oauth == 200 else ["POST", "GET"])
        assert b"grant_type=refresh_token" in registry.token_requests[0].body


def test_several_challenges(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="token", challenges=("Negotiate", 'Basic realm="x, y=\\"z\\""')) as registry:
        login(docker_config, registry.host)
        registry.image()
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert len(registry.token_requests) == 1


def test_registry_token_is_sent_as_it_is(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="token") as registry:
        registry.tokens["given"] = (time.monotonic() + 60, {"app:pull"})
        login(docker_config, registry.host, registrytoken="given")
        registry.image()
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert registry.token_requests == []


def test_refused_basic_credentials(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="basic") as registry:
        login(docker_config, registry.host, username="ann", password="wrong")
        with pytest.raises(AuthenticationError, match="answered 401"):
            run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))


def test_a_token_service_in_trouble_is_asked_again(adapter: Callable[[], Any], docker_config: Path) -> None:
    calls: list[str] = []

    def hook(request: Request) -> bool:
        if not request.path.startswith("/token"):
            return False
        calls.append(request.path)
        if len(calls) == 1:
            request.error(503, "UNAVAILABLE")
        elif len(calls) == 2:
            request.reset()
        return len(calls) < 3

    with odd(hook, auth="token") as registry:
        login(docker_config, registry.host)
        registry.image()
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert len(calls) == 3


# Mirrors


def test_mirror_credentials(adapter: Callable[[], Any], docker_config: Path) -> None:
    """The mirror's own login, and nothing of the registry's."""
    with odd(auth="basic") as mirror:
        mirror.image("myorg/app")
        mirrors = {"GHCR.io/myorg": f"{mirror.host}/myorg"}
        docker_config.write_text(json.dumps({"auths": {
            "ghcr.io": {"username": "ghcruser", "password": "GHCR-SECRET"}, mirror.host: {"auth": AUTH}}}))
        run(adapter, lambda client: client.resolve(parse("ghcr.io/myorg/app:1")), mirrors=mirrors)
        assert {seen.who for seen in mirror.seen} == {"", "ann:secret"}


def test_mirror_gets_credentials(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="basic") as mirror:
        login(docker_config, "ghcr.io", username="bot", password="ghp_SECRET")
        with pytest.raises(AuthenticationError, match=f"{mirror.host}: wants credentials") as caught:
            run(adapter, lambda client: client.resolve(parse("ghcr.io/myorg/app:1")),
                mirrors={"ghcr.io/myorg": f"{mirror.host}/myorg"})
        assert caught.value.hint == f"docker login {mirror.host}"
        assert {seen.authorization for seen in mirror.seen} == {""}


# Retries


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_no_retry(adapter: Callable[[], Any], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.005)
    with odd(trouble=status, times=2) as registry:
        ref = parse(f"{registry.host}/app:1")

        async def work(client: RegistryClient) -> None:
            subject = await push(client, ref)
            await push(client, ref, subject)
            assert len(await client.referrers(ref.at(subject.digest))) == 1
            assert await client.blob(ref, LAYER) == b"layer"
            assert await client.tags(ref) == ["1"]

        run(adapter, work)


@pytest.mark.parametrize("as_date", [False, True])
def test_no_retry_429_503(adapter: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, as_date: bool) -> None:
    """Retry-After is waited for: a number, or a date."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(transport.asyncio, "sleep", note)
    value = email.utils.formatdate(time.time() + 20, usegmt=True) if as_date else "17"
    with odd(trouble=429, retry_after=value) as registry:
        registry.image()
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
    assert len(pauses) == 1
    assert 10 < pauses[0] <= 20


def test_retries_end(adapter: Callable[[], Any]) -> None:
    with odd(trouble=503, times=99, retry_after="0") as registry:
        with pytest.raises(NetworkError, match="HEAD /v2/app/manifests/1 answered 503"):
            run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))
        assert registry.count("HEAD", "manifests") == 5


def test_retry_after_beyond_the_deadline_is_not_waited_for(adapter: Callable[[], Any]) -> None:
    with odd(trouble=429, retry_after="20") as registry:
        with pytest.raises(NetworkError, match="answered 429"):
            run(adapter, lambda client: client.within(Budget(5, 1000)).resolve(parse(f"{registry.host}/app:1")))
        assert registry.count("HEAD", "manifests") == 1


def test_resets_and_answers_that_break_off(adapter: Callable[[], Any], tmp_path: Path) -> None:
    with odd(resets=1, cuts=1) as registry:
        registry.image()
        ref = parse(f"{registry.host}/app:1")

        async def work(client: RegistryClient) -> None:
            await client.manifest(ref)
            assert await client.blob(ref, LAYER) == b"layer"
            registry.counts.clear()
            await client.blob_to(ref, LAYER, tmp_path / "layer")

        run(adapter, work)
        assert (tmp_path / "layer").read_bytes() == b"layer"


def test_an_upload_that_broke_is_begun_again(adapter: Callable[[], Any], tmp_path: Path) -> None:
    puts: list[str] = []

    def hook(request: Request) -> bool:
        if request.command == "PUT":
            puts.append(request.path)
            if len(puts) == 1:
                request.reset()
            elif len(puts) == 2:
                request.error(404, "BLOB_UPLOAD_UNKNOWN")  # the session ended with its connection
            return len(puts) < 3
        return False

    (tmp_path / "file").write_bytes(b"layer")
    with odd(hook) as registry:
        run(adapter, lambda client: client.push_blob(parse(f"{registry.host}/app"), tmp_path / "file", LAYER))
        assert registry.blobs["app", LAYER.digest] == b"layer"
        assert registry.count("POST", "uploads") == 2


# Uploads and odd answers


@pytest.mark.parametrize("habits", [
    {"put": 200, "put_blob": 202, "delete": 200}, {"put": 202, "put_blob": 204}, {"put_blob": 200, "delete": 204},
    {"head": "405"}, {"head": "403"}, {"head": "bare"}, {"location": "absolute"}, {"location": "query"},
], ids=str)
def test_odd_answers(adapter: Callable[[], Any], habits: dict[str, Any]) -> None:
    with odd(**habits) as registry:
        ref = parse(f"{registry.host}/app:1")

        async def work(client: RegistryClient) -> None:
            pushed = await push(client, ref)
            assert (await client.resolve(ref)).digest == pushed.digest
            assert await client.has_blob(ref, LAYER.digest)
            assert not await client.has_blob(ref, sha256(b"other"))
            await client.delete_manifest(ref.at(pushed.digest))
            with pytest.raises(NotFoundError, match="answered 404"):
                await client.resolve(ref.at(pushed.digest))

        run(adapter, work)


@pytest.mark.parametrize(("location", "reason"), [
    ("elsewhere", r"upload is to go to another origin, http://127\.0\.0\.2:1"),
    ("none", "answered without a Location"),
])
def test_upload_locations_that_are_refused(adapter: Callable[[], Any], location: str, reason: str) -> None:
    with odd(location=location) as registry, pytest.raises(NetworkError, match=reason):
        run(adapter, lambda client: client.push_blob(parse(f"{registry.host}/app"), b"layer"))


# Redirects and origins


def redirecting(location: str, status: int = 307) -> Callable[[Request], bool]:
    def hook(request: Request) -> bool:
        request.answer(status, Location=location.replace("HOST", request.registry.host))
        return True

    return hook


@pytest.mark.parametrize("location", ["http://x:99999/", "http://[/", "http://x:0/", "http://x:y/", "ftp://x/",
                                      "http://a..b/", "http://" + "x" * 64 + "/", "http://u:p@x/",
                                      "http://x y/", "http://[::::]/"])
def test_http_500_fails_open(adapter: Callable[[], Any], location: str) -> None:
    """A redirect to what is no URL is a clear error."""
    with odd(redirecting(location)) as registry, pytest.raises(NetworkError, match=r"redirect.*got (the|a) URL"):
        run(adapter, lambda client: client.resolve(parse(f"{registry.host}/app:1")))


class Scripted:
    """Implements ports.http.Http with answers by URL, for origins that need TLS and public addresses."""

    judges_reach = True

    def __init__(self, answer: Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]],
                 network: Network | None = None) -> None:
        self.answer = answer
        self.network = network
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []

    async def request(self, method: str, url: str, *, headers: Any = None, body: Any = None,
                      reach: Any = None) -> Any:
        self.sent.append((method, url, dict(headers or {}), reach))
        status, answered, data = self.answer(url, dict(headers or {}))
        script = self

        class Answered:
            def __init__(self) -> None:
                self.status, self.headers, self.network = status, answered, script.network

            async def chunks(self) -> Any:
                yield data

            async def read(self, limit: int) -> bytes:
                return data

            async def __aenter__(self) -> Any:
                return self

            async def __aexit__(self, *error: object) -> None:
                pass

        return Answered()

    async def close(self) -> None:
        pass


def test_token_over_plain_http() -> None:
    """Nothing follows a redirect from https to http, the token least of all."""
    def answer(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if url.startswith("https://auth.example/"):
            return 200, {}, b'{"token":"T0K"}'
        if "Authorization" not in headers:
            return 401, {"www-authenticate": 'Bearer realm="https://auth.example/t",service="s"'}, b""
        return 307, {"location": url.replace("https://", "http://")}, b""

    http = Scripted(answer)
    with pytest.raises(NetworkError, match=r"redirected to http://registry\.example: from https to plain http"):
        run(lambda: http, lambda client: client.resolve(parse("registry.example/app:1")))
    assert all(url.startswith("https://") for _, url, _, _ in http.sent)


@pytest.mark.parametrize("target", ["https://other.example/x", "https://registry.example:444/x"])
def test_nothing_secret_leaves_the_origin(target: str) -> None:
    def answer(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if url.startswith("https://auth.example/"):
            return 200, {}, b'{"token":"T0K"}'
        if url == target:
            return 500 if "Authorization" in headers else 418, {}, b'{"errors":[{"message":"a stranger\'s words"}]}'
        if "Authorization" not in headers:
            return 401, {"www-authenticate": 'Bearer realm="https://auth.example/t",service="s"'}, b""
        return 307, {"location": target}, b""

    http = Scripted(answer)
    with pytest.raises(NetworkError, match=r"answered 418$") as caught:
        run(lambda: http, lambda client: client.manifest(parse("registry.example/app:1")))
    assert "stranger" not in str(caught.value)


def test_token_service_over_plain_http() -> None:
    http = Scripted(lambda url, headers: (401, {"www-authenticate": 'Bearer realm="http://auth.example/t"'}, b""))
    with pytest.raises(NetworkError, match=r"names a token service over plain http \(http://auth\.example\)"):
        run(lambda: http, lambda client: client.resolve(parse("registry.example/app:1")))
    assert len(http.sent) == 1


@pytest.mark.parametrize("way", ["redirect", "realm"])
def test_reach_of_a_registry_whose_network_is_not_known(way: str) -> None:
    """What an adapter cannot tell is no reason to go anywhere."""
    def answer(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if url.startswith("https://other.example/"):
            return 418, {}, b""
        if way == "redirect":
            return 302, {"location": "https://other.example/x"}, b""
        return 401, {"www-authenticate": 'Bearer realm="https://other.example/t"'}, b""

    http = Scripted(answer, None)
    with pytest.raises(NetworkError, match=r"answered 418"):
        run(lambda: http, lambda client: client.resolve(parse("registry.example/app:1")))
    assert http.sent[-1][3] == frozenset({Network.PUBLIC})


@pytest.mark.parametrize("network", list(Network))
@pytest.mark.parametrize("way", ["redirect", "realm"])
def test_reach_is_that_of_the_registry(network: Network, way: str) -> None:
    """Where a registry sends us, the adapter may connect only to its own network and the public one."""
    def answer(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if url.startswith("https://other.example/"):
            return 418, {}, b""
        if way == "redirect":
            return 302, {"location": "https://other.example/x"}, b""
        return 401, {"www-authenticate": 'Bearer realm="https://other.example/t"'}, b""

    http = Scripted(answer, network)
    with pytest.raises(NetworkError, match="answered 418"):
        run(lambda: http, lambda client: client.manifest(parse("registry.example/app:1")))
    reach = http.sent[-1][3]
    assert network in reach
    assert Network.PUBLIC in reach
    assert (Network.LINK_LOCAL in reach) == (network is Network.LINK_LOCAL)
    assert (Network.LOOPBACK in reach) == (network is Network.LOOPBACK)
    assert http.sent[0][3] is None


@pytest.mark.parametrize(("location", "place"), [
    ("http://127.0.0.1:1/x?X-Amz-Signature=SECRET", "GET http://127.0.0.1:1/x: "),
    ("http://u:SECRET@127.0.0.1:99999/x", "got the URL http://127.0.0.1:99999/x "),
    ("http://127.0.0.1:1/ x?sig=SECRET", "got the URL http://127.0.0.1:1/ x, "),
    ("ftp://u:SECRET@h/x#SECRET", "got the URL ftp://h/x, "), ("http://[?sig=SECRET", r"got the URL http://\[ "),
    ("/v2/again?X-Amz-Signature=SECRET", "GET http://127.0.0.1:[0-9]+/v2/again: redirected without end"),
])
def test_signed_url_in_a_message(adapter: Callable[[], Any], location: str, place: str) -> None:
    """The query of a URL that a registry sends us to may be a key to it."""
    def hook(request: Request) -> bool:
        request.answer(307, b"", Location=location)
        return True

    with odd(hook=hook) as registry, pytest.raises(NetworkError, match=place) as caught:
        run(adapter, lambda client: client.manifest(parse(f"{registry.host}/app:1")))
    assert "SECRET" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("config", "reason"), [
    ({"auths": {"HOST": {"registrytoken": "SECRET\nX: y"}}}, "registrytoken: got .* expected a token as it stands"),
    ({"auths": {"HOST": {"registrytoken": "SECRET\u2603"}}}, "registrytoken: got .* expected a token as it stands"),
    ({"credsStore": {"HOST": {"auth": "SECRET"}}}, "helper: got a map, expected NAME of a program"),
    ({"credsStore": "a\0b"}, "expected NAME of a program"), ({"credsStore": "a\nb"}, "expected NAME of a program"),
    ({"credHelpers": {"HOST": "../../x"}}, "expected NAME of a program"),
])
def test_login_in_a_message(adapter: Callable[[], Any], docker_config: Path, config: Any, reason: str) -> None:
    with odd(auth="token") as registry:
        docker_config.write_text(json.dumps(config).replace("HOST", registry.host))
        with pytest.raises(MalformedError, match=reason) as caught:
            run(adapter, lambda client: client.manifest(parse(f"{registry.host}/app:1")))
    assert "SECRET" not in str(caught.value)


def test_a_body_is_not_redirected(adapter: Callable[[], Any]) -> None:
    """CVE-2026-134816: a client sent a password that it had posted again to whom it was redirected."""
    received: list[str] = []

    def storage(request: Request) -> bool:
        received.append(request.command)
        request.answer(201)
        return True

    with odd(storage) as other:
        def hook(request: Request) -> bool:
            if request.command == "PUT":
                request.answer(307, Location=f"http://{other.host}/x")
                return True
            return False

        with odd(hook) as registry, pytest.raises(NetworkError, match="only what is read may be redirected"):
            run(adapter, lambda client: client.push_blob(parse(f"{registry.host}/app"), b"layer"))
    assert received == []


def test_words_of_a_registry_are_escaped_and_short(adapter: Callable[[], Any]) -> None:
    def hook(request: Request) -> bool:
        words = "\x1b[2J\n\u202e" + "x" * 5000
        request.answer(418, json.dumps({"errors": [{"code": "X", "message": words}]}).encode())
        return True

    with odd(hook) as registry, pytest.raises(NetworkError) as caught:
        run(adapter, lambda client: client.manifest(parse(f"{registry.host}/app:1")))
    assert caught.value.message.isprintable()
    assert "\\x1b[2J\\x0a" in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("body", [b"[", b'{"errors": 3}', b'{"errors": ["x", {"code": 7}]}', b"\xff", b"[" * 60_000])
def test_refusals_that_explain_nothing(adapter: Callable[[], Any], body: bytes) -> None:
    def hook(request: Request) -> bool:
        request.answer(403, body)
        return True

    with odd(hook) as registry, pytest.raises(DeniedError, match="answered 403"):
        run(adapter, lambda client: client.manifest(parse(f"{registry.host}/app:1")))


# Budgets


def test_drip_takes_all_connections(adapter: Callable[[], Any]) -> None:
    """64 images that drip: eight connections, all gone at the deadline, and another registry is not delayed."""
    with odd(drip=0.2) as slow, odd() as innocent:
        digest = slow.image()
        innocent.image()

        async def work(client: RegistryClient) -> tuple[list[Any], float]:
            view = client.within(Budget(2.0, 1 << 20))
            ref = parse(f"{slow.host}/app@{digest}")
            tasks = [asyncio.ensure_future(view.manifest(ref)) for _ in range(64)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await client.resolve(parse(f"{innocent.host}/app:1"))
            waited = time.monotonic() - began
            return await asyncio.gather(*tasks, return_exceptions=True), waited

        began = time.monotonic()
        results, waited = run(adapter, work)
        assert time.monotonic() - began < 8
        assert waited < 1.5
        assert slow.most_open == 8
        assert len(results) == 64
        for result in results:
            assert isinstance(result, NetworkError)
            assert "not answered within 2 s" in str(result)


def test_bytes_of_a_budget(adapter: Callable[[], Any]) -> None:
    big = b"x" * 100_000
    blob = oci.Descriptor(oci.LAYER_GZIP, sha256(big), len(big))
    with odd() as registry:
        registry.blobs["app", blob.digest] = big
        ref = parse(f"{registry.host}/app:1")

        async def work(client: RegistryClient) -> None:
            budget = Budget(30, 250_000)
            view = client.within(budget)
            await view.blob(ref, blob)
            await view.blob(ref, blob)
            assert budget.remaining_bytes == 50_000
            with pytest.raises(VerificationError, match="more than 250000 bytes"):
                await view.blob(ref, blob)
            assert await client.blob(ref, blob) == big  # the client itself has no budget

        run(adapter, work)


def test_a_view_shares_tokens(adapter: Callable[[], Any], docker_config: Path) -> None:
    with odd(auth="token") as registry:
        login(docker_config, registry.host)
        registry.image()

        async def work(client: RegistryClient) -> None:
            for _ in range(3):
                await client.within(Budget(30, 1000)).resolve(parse(f"{registry.host}/app:1"))

        run(adapter, work)
        assert len(registry.token_requests) == 1


# Helpers


def test_helper_stops_event_loop(adapter: Callable[[], Any], docker_config: Path, tmp_path: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow helper runs once for its host, in a thread: whoever asks elsewhere does not wait."""
    helper = tmp_path / "docker-credential-slow"
    helper.write_text(f"#!/bin/sh\necho called >> {tmp_path}/calls\nsleep 2\n"
                      """echo '{"Username": "ann", "Secret": "secret"}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with odd(auth="basic") as guarded, odd() as innocent:
        docker_config.write_text(json.dumps({"credHelpers": {guarded.host: "slow"}}))
        for name in ("x", "y"):
            guarded.image(name)
        innocent.image()

        async def work(client: RegistryClient) -> float:
            tasks = [asyncio.ensure_future(client.resolve(parse(f"{guarded.host}/{name}:1"))) for name in "xyxy"]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await client.resolve(parse(f"{innocent.host}/app:1"))
            waited = time.monotonic() - began
            await asyncio.gather(*tasks)
            return waited

        assert run(adapter, work) < 1.2
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_slow_helper_does_not_outlive_the_budget(adapter: Callable[[], Any], docker_config: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-slow"
    helper.write_text("#!/bin/sh\nsleep 12\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    async def work(client: RegistryClient) -> float:
        began = time.monotonic()
        views = [client.within(Budget(2.0, 1000)) for _ in range(3)]
        for result in await asyncio.gather(*(view.resolve(parse(f"{registry.host}/app:1")) for view in views),
                                           return_exceptions=True):
            assert isinstance(result, NetworkError)
            assert result.message == f"{registry.host}: login: not answered within 2 s"
        return time.monotonic() - began

    with odd(auth="basic") as registry:
        docker_config.write_text(json.dumps({"credHelpers": {registry.host: "slow"}}))
        assert run(adapter, work) < 9
