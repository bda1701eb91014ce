"""The registry client, against custody's registry and against ones that lie."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import (
    AuthenticationError,
    MalformedError,
    NetworkError,
    NotFoundError,
    OfflineError,
    VerificationError,
)
from custody.formats import oci
from custody.formats.reference import Reference, parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient, fallback_tag
from custody.server.asgi import respond, respond_json
from tests.serving import registry_on, served

T = TypeVar("T")
ADAPTERS = [StdlibHttp, AiohttpHttp]


def with_client(adapter: Callable[[], Any], work: Callable[[RegistryClient], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        async with RegistryClient(adapter(), **options) as client:
            return await work(client)

    return asyncio.run(main())


async def push_image(client: RegistryClient, ref: Reference, tag: str | None = None, *, layer: bytes = b"layer",
                     subject: oci.Descriptor | None = None, kind: str | None = None) -> oci.Descriptor:
    config = await client.push_blob(ref, b"{}")
    blob = await client.push_blob(ref, layer)
    manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, 2),
                            (oci.Descriptor(oci.LAYER_GZIP, blob.digest, blob.size),), subject, kind,
                            {"made": "here"} if kind else {})
    return await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag=tag)


@pytest.fixture(params=ADAPTERS, ids=["stdlib", "aiohttp"])
def adapter(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry_on(tmp_path) as (place, _):
        yield place


def test_push_pull_resolve_tags_delete(adapter: Callable[[], Any], host: str, tmp_path: Path) -> None:
    ref = parse(f"{host}/team/app:v1")

    async def work(client: RegistryClient) -> None:
        pushed = await push_image(client, ref, "v1")
        assert (await client.resolve(ref)).digest == pushed.digest
        descriptor, data = await client.manifest(ref)
        assert descriptor == pushed
        body = oci.parse_manifest(data)
        assert isinstance(body, oci.Manifest)
        assert await client.blob(ref, body.layers[0]) == b"layer"
        await client.blob_to(ref, body.layers[0], tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"layer"
        assert await client.tags(ref) == ["v1"]
        assert await client.mount(parse(f"{host}/other"), body.layers[0].digest, ref)
        await client.delete_manifest(ref.at(pushed.digest))
        with pytest.raises(NotFoundError, match="answered 404"):
            await client.resolve(ref)

    with_client(adapter, work)


def test_big_blob_from_a_file(adapter: Callable[[], Any], host: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "big").write_bytes(data)
    descriptor = oci.Descriptor(oci.LAYER_GZIP, sha256(data), len(data))
    ref = parse(f"{host}/big:1")

    async def work(client: RegistryClient) -> None:
        await client.push_blob(ref, tmp_path / "big", descriptor)
        await client.blob_to(ref, descriptor, tmp_path / "back")

    with_client(adapter, work)
    assert (tmp_path / "back").read_bytes() == data
    assert not (tmp_path / "back.part").exists()


def test_referrers_by_api(adapter: Callable[[], Any], host: str) -> None:
    ref = parse(f"{host}/app:1")

    async def work(client: RegistryClient) -> None:
        subject = await push_image(client, ref, "1")
        sig = await push_image(client, ref, layer=b"sig", subject=subject, kind="a/sig")
        await push_image(client, ref, layer=b"bom", subject=subject, kind="a/bom")
        found = await client.referrers(ref.at(subject.digest), "a/sig")
        assert [(entry.digest, entry.annotations) for entry in found] == [(sig.digest, {"made": "here"})]
        assert await client.tags(ref) == ["1"]

    with_client(adapter, work)


def without_referrers(upstream: str) -> Any:
    """custody's registry behind a front that has no referrers API, as most registries in the field."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if "/referrers/" in scope["path"]:
            await respond(send, 404, b"404 page not found", b"text/plain")
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        http = AiohttpHttp()
        query = scope["query_string"].decode()
        headers = {k.decode(): v.decode() for k, v in scope["headers"] if k in (
            b"content-type", b"accept", b"if-match", b"if-none-match")}
        async with await http.request(scope["method"], f"http://{upstream}{scope['path']}?{query}", headers=headers,
                                      body=body or None) as answer:
            data = await answer.read(1 << 24)
            kept = [(k.encode(), v.encode()) for k, v in answer.headers.items()
                    if k not in ("oci-subject", "content-length", "content-type")]
            kind = answer.headers.get("content-type", "").encode()
            length = int(answer.headers.get("content-length", len(data))) if scope["method"] == "HEAD" else None
            await respond(send, answer.status, data, kind, kept, length=length)
        await http.close()

    return app


def test_fallback_tag_is_written_read_and_kept_true(host: str) -> None:
    with served(without_referrers(host)) as url:
        ref = parse(f"{url.removeprefix('http://')}/app:1")

        async def work(client: RegistryClient) -> None:
            subject = await push_image(client, ref, "1")
            at = ref.at(subject.digest)
            sigs = [await push_image(client, ref, layer=b"%d" % i, subject=subject, kind="a/sig") for i in range(3)]
            found = await client.referrers(at, "a/sig")
            assert {entry.digest for entry in found} == {sig.digest for sig in sigs}
            assert found[0].annotations == {"made": "here"}
            assert fallback_tag(subject.digest) in await client.tags(ref)
            await client.delete_manifest(ref.at(sigs[0].digest))
            assert {entry.digest for entry in await client.referrers(at)} == {sig.digest for sig in sigs[1:]}

        with_client(StdlibHttp, work)


def test_fallback_index_without_types_is_completed_from_the_manifests(host: str) -> None:
    with served(without_referrers(host)) as url:
        ref = parse(f"{url.removeprefix('http://')}/app:1")

        async def work(client: RegistryClient) -> None:
            subject = await push_image(client, ref, "1")
            sig = await push_image(client, ref, layer=b"s", subject=subject, kind="a/sig")
            poor = oci.Index(oci.INDEX, (oci.Descriptor(oci.MANIFEST, sig.digest, sig.size, {}, oci.EMPTY),))
            await client.push_manifest(ref, json.dumps(poor.to_json()).encode(), oci.INDEX,
                                       tag=fallback_tag(subject.digest))
            found = await client.referrers(ref.at(subject.digest), "a/sig")
            assert [(entry.digest, entry.annotations) for entry in found] == [(sig.digest, {"made": "here"})]

        with_client(StdlibHttp, work)


def test_writers_in_two_processes_of_one_fallback_tag(host: str) -> None:
    with served(without_referrers(host)) as url:
        ref = parse(f"{url.removeprefix('http://')}/app:1")

        async def main() -> None:
            clients = [RegistryClient(AiohttpHttp()) for _ in range(4)]
            subject = await push_image(clients[0], ref, "1")
            pushed = await asyncio.gather(*(push_image(client, ref, layer=b"%d" % i, subject=subject, kind="a/sig")
                                            for i, client in enumerate(clients)))
            found = await clients[0].referrers(ref.at(subject.digest))
            assert {entry.digest for entry in found} == {entry.digest for entry in pushed}
            for client in clients:
                await client.__aexit__(None, None, None)

        asyncio.run(main())


def test_two_writers_of_one_fallback_tag(host: str) -> None:
    with served(without_referrers(host)) as url:
        ref = parse(f"{url.removeprefix('http://')}/app:1")

        async def work(client: RegistryClient) -> None:
            subject = await push_image(client, ref, "1")
            pushed = await asyncio.gather(*(push_image(client, ref, layer=b"%d" % i, subject=subject, kind="a/sig")
                                            for i in range(2)))
            found = await client.referrers(ref.at(subject.digest))
            assert {entry.digest for entry in found} == {entry.digest for entry in pushed}

        with_client(AiohttpHttp, work)


def lying(change: Callable[[bytes], bytes], honest_header: bool = True) -> Any:
    """A registry that changes what it serves after it was pushed."""
    manifest = oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR,
                            (oci.Descriptor(oci.LAYER_GZIP, sha256(b"layer"), 5),))
    data = json.dumps(manifest.to_json()).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served_bytes = change(data) if "/manifests/" in scope["path"] else change(b"layer")
        claimed = sha256(data if honest_header else served_bytes)
        await respond(send, 200, served_bytes, oci.MANIFEST.encode(), [(b"docker-content-digest", claimed.encode())])

    return app, sha256(data)


def test_manifest_bytes_that_lie(adapter: Callable[[], Any]) -> None:
    app, digest = lying(lambda data: data.replace(b"gzip", b"zstd"), honest_header=False)
    with served(app) as url:
        ref = parse(f"{url.removeprefix('http://')}/app@{digest}")
        with pytest.raises(VerificationError, match=f"manifest bytes are sha256:.*, asked for {digest}"):
            with_client(adapter, lambda client: client.manifest(ref))
        with pytest.raises(VerificationError, match=f"answered with sha256:.*, asked for {digest}"):
            with_client(adapter, lambda client: client.resolve(ref))


def test_a_tag_answer_that_contradicts_its_own_header(adapter: Callable[[], Any]) -> None:
    app, _ = lying(lambda data: data + b" ")
    with served(app) as url, pytest.raises(VerificationError, match="the registry says sha256:"):
        with_client(adapter, lambda client: client.manifest(parse(f"{url.removeprefix('http://')}/app:1")))


@pytest.mark.parametrize(("change", "reason"), [
    (lambda data: b"LAYER", "blob bytes are sha256:.*, expected sha256:"),
    (lambda data: data + b"!", "has 6 bytes or more, expected 5"),
    (lambda data: data[:3], "has 3 bytes or more, expected 5"),
])
def test_blob_bytes_that_lie(adapter: Callable[[], Any], change: Callable[[bytes], bytes], reason: str,
                             tmp_path: Path) -> None:
    app, _ = lying(change)
    layer = oci.Descriptor(oci.LAYER_GZIP, sha256(b"layer"), 5)
    with served(app) as url:
        ref = parse(f"{url.removeprefix('http://')}/app:1")
        with pytest.raises(VerificationError, match=reason):
            with_client(adapter, lambda client: client.blob(ref, layer))
        with pytest.raises(VerificationError, match=reason):
            with_client(adapter, lambda client: client.blob_to(ref, layer, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_mirrors_change_the_place_not_the_name(adapter: Callable[[], Any], host: str) -> None:
    mirrors = {"ghcr.io/myorg": f"{host}/mirror", "ghcr.io/myorg/special": f"{host}/other"}

    async def work(client: RegistryClient) -> None:
        await push_image(client, parse("ghcr.io/myorg/app:1"), "1")
        await push_image(client, parse("ghcr.io/myorg/special/x:1"), "1")
        assert await client.tags(parse(f"{host}/mirror/app")) == ["1"]
        assert await client.tags(parse(f"{host}/other/x")) == ["1"]
        with pytest.raises(NetworkError):
            await client.tags(parse("ghcr.io.invalid/myorg/app"))

    with_client(adapter, work, mirrors=mirrors)


def test_offline_opens_no_socket(adapter: Callable[..., Any]) -> None:
    async def main() -> None:
        async with RegistryClient(adapter(offline=True)) as client:
            await client.resolve(parse("127.0.0.1:1/app:1"))

    with pytest.raises(OfflineError, match="--offline"):
        asyncio.run(main())


def test_nobody_listens(adapter: Callable[[], Any]) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:1/v2/app"):
        with_client(adapter, lambda client: client.resolve(parse("127.0.0.1:1/app:1")))


def guarded(url: str) -> Any:
    """Docker's token flow: Basic at the token service, Bearer at the registry."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if scope["path"] == "/token":
            good = b"Basic " + base64.b64encode(b"ann:secret")
            if headers.get(b"authorization") != good:
                await respond(send, 401)
                return
            assert b"scope=repository%3Aapp%3Apull" in scope["query_string"]
            await respond_json(send, 200, {"token": "let-me-in"})
        elif headers.get(b"authorization") == b"Bearer let-me-in":
            await respond_json(send, 200, {"name": "app", "tags": ["1"]})
        else:
            await respond(send, 401, headers=[(b"www-authenticate",
                          f'Bearer realm="{url}/token",service="s",scope="repository:app:pull"'.encode())])

    return app


def test_token_flow(adapter: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with served(lambda url: guarded(url)) as url:
        host = url.removeprefix("http://")
        with pytest.raises(AuthenticationError, match="the token service answered 401"):
            with_client(adapter, lambda client: client.tags(parse(f"{host}/app")))
        auth = base64.b64encode(b"ann:secret").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        assert with_client(adapter, lambda client: client.tags(parse(f"{host}/app"))) == ["1"]


def test_credentials_do_not_follow_a_redirect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    seen: list[dict[bytes, bytes]] = []

    async def storage(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        await respond(send, 200, b"layer")

    with served(storage) as elsewhere:
        async def front(scope: Any, receive: Any, send: Any) -> None:
            if b"authorization" not in dict(scope["headers"]):
                await respond(send, 401, headers=[(b"www-authenticate", b'Basic realm="x"')])
            else:
                await respond(send, 307, headers=[(b"location", f"{elsewhere}/object".encode())])

        with served(front) as url:
            host = url.removeprefix("http://")
            (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"username": "a", "password": "b"}}}))
            blob = oci.Descriptor(oci.LAYER_GZIP, sha256(b"layer"), 5)
            assert with_client(StdlibHttp, lambda c: c.blob(parse(f"{host}/app"), blob)) == b"layer"
    assert len(seen) == 1
    assert b"authorization" not in seen[0]


def test_redirects_without_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, 307, headers=[(b"location", b"/v2/again")])

    with served(app) as url, pytest.raises(NetworkError, match="redirected without end"):
        with_client(StdlibHttp, lambda client: client.tags(parse(f"{url.removeprefix('http://')}/app")))


@pytest.mark.parametrize(("mirrors", "reason"), [
    ({"docker.io": "https://mirror.example"}, "mirrors: docker.io: got 'https:', expected a registry's host name"),
    ({"docker.io": ""}, "mirrors: docker.io: got ''"), ({"docker.io": "m.example/../y"}, "expected registry"),
    ({"docker.io": "m.example/a//b"}, "expected registry"), ({"ghcr.io//my": "m.example"}, "expected registry"),
    ({"ghcr.io/My": "m.example"}, "expected registry"),
])
def test_mirrors_that_lead_nowhere(mirrors: dict[str, str], reason: str) -> None:
    """A prefix that no name has would leave its images to the registry that was to be mirrored."""
    with pytest.raises(MalformedError, match=reason):
        asyncio.run(RegistryClient(StdlibHttp(), mirrors=mirrors).resolve(parse("docker.io/library/nginx:1")))
