"""What answers policies' questions of a cluster, over API servers that do not answer as they should."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.lookup import HttpLookup
from custody.adapters.kubernetes import lookup as adapter
from custody.adapters.kubernetes.access import Access, token_file
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.adapters.kubernetes.pod import of_pod
from custody.admission.certs import ServingCertificate
from custody.admission.judging import Judging
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Request, Verdict
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import (
    Absent,
    Addresses,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    ExternalData,
    Failed,
    HttpCall,
    ImageData,
    NamespaceLabels,
    NoLookup,
    Question,
)
from custody.server.asgi import read_body
from custody.services.evidencelookup import EvidenceLookup
from custody.services.manifests import Manifest, Namespaces
from tests.policy.test_podsecurity_engine import BAD, configuration
from tests.serving import served

SHOP = NamespaceLabels("shop")
SHOP_PATH = "/api/v1/namespaces/shop"


def namespace(name: str = "shop", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def status(code: int, reason: str, message: str = "no") -> tuple[int, dict[str, Any]]:
    return code, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
                  "message": message}


class ApiServer:
    """Answers as the table says: (status, document or bytes), by path. `wait` is how long it thinks, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.wait: dict[str, float] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.bodies: list[bytes] = []
        self.under_way = self.most = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(f"{scope['method']} {path}" + (f"?{query}" if (query := scope["query_string"].decode())
                                                         else ""))
        self.tokens.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        self.bodies.append(await read_body(receive, 1 << 22))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.wait.get(path, 0))
            code, body = self.answers.get(path, status(404, "NotFound"))
        finally:
            self.under_way -= 1
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await send({"type": "http.response.start", "status": code, "headers": [(b"content-length",
                                                                                b"%d" % len(data))]})
        await send({"type": "http.response.body", "body": data})


class Site:
    def __init__(self, api: ApiServer, url: str, authority: Path) -> None:
        self.api, self.url, self.authority = api, url, authority

    def access(self, token: Callable[[], str] = lambda: "one") -> Access:
        return Access("here", self.url, ssl.create_default_context(cafile=str(self.authority)), token)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    certificate = ServingCertificate(tmp_path / "certificates", ["127.0.0.1"])
    certificate.ensure(system_clock())
    authority = tmp_path / "ca.crt"
    authority.write_bytes(certificate.ca_bundle)
    api = ApiServer()
    with served(api, certificate=certificate.certificate, key=certificate.key) as url:
        yield Site(api, url, authority)


def using(access: Access, work: Callable[[ClusterLookup], Awaitable[Any]], *, offline: bool = False) -> Any:
    async def main() -> Any:
        lookup = ClusterLookup(Cluster(access, AiohttpHttp(tls=access.tls, offline=offline)))
        try:
            return await work(lookup)
        finally:
            await lookup.close()
            await asyncio.sleep(0.05)  # until TLS that was broken off has said goodbye: the loop ends here

    return asyncio.run(main())


def answer(access: Access, question: Question, **given: Any) -> Answer:
    return using(access, lambda lookup: lookup.answer(question), **given)  # type: ignore[no-any-return]


def test_what_is_there_is_answered(site: Site) -> None:
    site.api.answers = {
        SHOP_PATH: (200, namespace(team="a")), "/api/v1/namespaces/bare": (200, {
            "kind": "Namespace", "metadata": {"name": "bare"}}),
        f"{SHOP_PATH}/configmaps/sizes.example": (200, {"kind": "ConfigMap", "metadata": {"name": "sizes.example"},
                                                        "data": {"a": "1"}}),
        f"{SHOP_PATH}/pods": (200, {"items": []}),
        "/apis/authorization.k8s.io/v1/subjectaccessreviews": (201, {"status": {"allowed": True}})}
    access = site.access()
    assert answer(access, SHOP) == Answered({"team": "a"})
    assert answer(access, NamespaceLabels("bare")) == Answered({})
    config_map = answer(access, ConfigMap("shop", "sizes.example"))
    assert isinstance(config_map, Answered)
    assert config_map.value["data"] == {"a": "1"}
    assert answer(access, ApiCall(f"{SHOP_PATH}/pods?labelSelector=app in (a,b)&limit=5")) == Answered({"items": []})
    review = ApiCall("/apis/authorization.k8s.io/v1/subjectaccessreviews", "POST", '{"spec":{}}')
    assert answer(access, review) == Answered({"status": {"allowed": True}})
    assert site.api.bodies[-1] == b'{"spec":{}}'
    assert site.api.asked[-2:] == [f"GET {SHOP_PATH}/pods?labelSelector=app%20in%20(a,b)&limit=5",
                                   f"POST {review.path}"]
    assert set(site.api.tokens) == {"Bearer one"}


BIG = b'{"kind":"Namespace","metadata":{"name":"shop","labels":{"a":"' + b"x" * (3 << 20) + b'"}}}'


@pytest.mark.parametrize(("reply", "words"), [
    (status(403, "Forbidden", 'namespaces "shop" is forbidden: User "custody" cannot get'), "answered 403: namespaces"),
    (status(401, "Unauthorized"), "answered 401"), (status(500, "InternalError", "etcd"), "answered 500: etcd"),
    (status(503, "NotFound"), "answered 503"), (status(404, "Expired"), "answered 404"), (status(410, "Gone"), "410"),
    ((404, b"404 page not found\n"), "answered 404"), ((404, {"kind": "Other", "reason": "NotFound"}), "answered 404"),
    ((302, b""), "answered 302"), ((200, b"<html>"), "expected one JSON document"), ((200, b""), "expected one JSON"),
    ((200, b'{"kind":"Namespace","kind":"Pod"}'), "each key once"), ((200, BIG), "got more than 2097152 bytes"),
    ((200, b"[" * 1000 + b"]" * 1000), "nesting deeper"), ((200, b"[" + b"[]," * 600_000 + b"[]]"), "would take"),
    ((200, namespace("other")), "expected Namespace shop"), ((200, {"kind": "Namespace"}), "expected Namespace shop"),
    ((200, {**namespace(), "kind": "Pod"}), "expected Namespace shop"), ((200, None), "expected Namespace shop"),
    ((200, {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": 1}}}), "expected a map of texts"),
    ((200, {"kind": "Namespace", "metadata": {"name": "shop", "labels": ["a"]}}), "expected a map of texts")],
    ids=range(21))
def test_what_is_no_answer_has_failed_and_is_never_absent(site: Site, reply: tuple[int, Any], words: str) -> None:
    site.api.answers[SHOP_PATH] = reply
    failed = answer(site.access(), SHOP)
    assert isinstance(failed, Failed)
    assert words in failed.reason


def test_only_the_api_server_says_that_something_is_absent(site: Site) -> None:
    assert answer(site.access(), SHOP) == Absent()
    assert answer(site.access(), ConfigMap("shop", "sizes")) == Absent()
    assert answer(site.access(), ApiCall(f"{SHOP_PATH}/pods/p")) == Absent()


def test_a_server_that_is_not_reached_has_failed(site: Site, tmp_path: Path) -> None:
    stranger = ServingCertificate(tmp_path / "stranger", ["127.0.0.1"])
    stranger.ensure(system_clock())
    tls = ssl.create_default_context(cadata=stranger.ca_bundle.decode())
    failed = answer(Access("here", site.url, tls, str), SHOP)
    assert isinstance(failed, Failed)
    assert "certificate verify failed" in failed.reason
    refused = answer(Access("here", "https://127.0.0.1:1", tls, str), SHOP)
    assert isinstance(refused, Failed)
    assert "127.0.0.1:1" in refused.reason
    offline = answer(site.access(), SHOP, offline=True)
    assert isinstance(offline, Failed)
    assert "no sockets with --offline" in offline.reason
    assert site.api.asked == []


def test_a_slow_server_fails_by_its_own_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "LONGEST", 0.2)
    site.api.wait[SHOP_PATH] = 5
    failed = answer(site.access(), SHOP)
    assert failed == Failed(f"{site.url} did not answer within 0.2 s")


@pytest.mark.parametrize(("question", "words"), [
    (HttpCall("GET", "https://example.com/"), "GET https://example.com/: the API server of a cluster is all"),
    (ImageData("a:1"), "the data of image a:1"), (ExternalData("p", ("k",)), "external data of provider p"),
    (Addresses("example.com"), "the addresses of example.com"),
    (ApiCall(SHOP_PATH, "DELETE"), "method DELETE of an API call: GET and POST are"),
    (ApiCall("/api/v1", "POST", "x" * (2 << 20) + "y"), "expected at most 2097152"),
    (NamespaceLabels("../nodes"), "name of a namespace"), (NamespaceLabels(""), "name of a namespace"),
    (ConfigMap("shop", "a/b"), "name of a ConfigMap"), (ConfigMap("shop", ".."), "name of a ConfigMap"),
    *((ApiCall(path), "path of an API call") for path in (
        "", "api/v1", "@example.com/api", "//example.com/api", "/api/v1/namespaces/../nodes", "/api/./v1",
        "/api/v1/namespaces/%2e%2e/nodes", "/api/v1/namespaces/a%2fsecrets", "/api/v1/namespaces/%252e%252e/x",
        "/api/v1\r\nHost: a", "/api/v1/pods#x", "/api/v1/a b", "/api/v1\\..\\x"))])
def test_what_is_not_asked_is_said_by_name(site: Site, question: Question, words: str) -> None:
    failed = answer(site.access(), question)
    assert isinstance(failed, Failed)
    assert words in failed.reason
    assert site.api.asked == []


def test_a_token_is_read_again_when_it_was_rotated(site: Site, tmp_path: Path) -> None:
    site.api.answers[SHOP_PATH] = (200, namespace())
    file = tmp_path / "token"
    file.write_text("first\n")
    access = site.access(token_file(file))
    assert answer(access, SHOP) == Answered({})
    file.write_text("second")
    assert answer(access, SHOP) == Answered({})
    assert site.api.tokens == ["Bearer first", "Bearer second"]
    for content in ("", "two\nlines"):
        file.write_text(content)
        assert isinstance(answer(access, SHOP), Failed)
    file.unlink()
    failed = answer(access, SHOP)
    assert isinstance(failed, Failed)
    assert "the token cannot be read (FileNotFoundError)" in failed.reason
    assert len(site.api.asked) == 2


def test_answers_are_shared_for_a_second_and_what_is_none_is_not_kept(site: Site,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "KEEP", 0.5)
    site.api.wait[SHOP_PATH] = 0.1

    async def work(lookup: ClusterLookup) -> None:
        assert await lookup.answer(SHOP) == Absent()
        site.api.answers[SHOP_PATH] = status(500, "InternalError")
        assert isinstance(await lookup.answer(SHOP), Failed)
        site.api.answers[SHOP_PATH] = (200, namespace(a="1"))
        assert await asyncio.gather(*(lookup.answer(SHOP) for _ in range(50))) == [Answered({"a": "1"})] * 50
        assert len(site.api.asked) == 3
        # A namespace that is deleted, or whose labels change, counts as it was no longer than that.
        site.api.answers[SHOP_PATH] = status(404, "NotFound")
        assert await lookup.answer(SHOP) == Answered({"a": "1"})
        await asyncio.sleep(0.5)
        assert await lookup.answer(SHOP) == Absent()
        call = ApiCall(SHOP_PATH, "POST", "{}")
        assert [await lookup.answer(call) for _ in range(2)] == [Absent()] * 2
        assert Counter(site.api.asked) == {f"GET {SHOP_PATH}": 4, f"POST {SHOP_PATH}": 2}

    using(site.access(), work)


def test_what_counts_is_known_without_asking(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else: not what failed, is absent, is being asked, or is too old."""
    monkeypatch.setattr(adapter, "KEEP", 0.5)
    site.api.wait[SHOP_PATH] = 0.1

    async def work(lookup: ClusterLookup) -> None:
        assert lookup.known(SHOP) is None
        assert await lookup.answer(SHOP) == Absent()
        assert lookup.known(SHOP) is None
        site.api.answers[SHOP_PATH] = status(500, "InternalError")
        assert isinstance(await lookup.answer(SHOP), Failed)
        assert lookup.known(SHOP) is None
        site.api.answers[SHOP_PATH] = (200, namespace(a="1"))
        asking = asyncio.create_task(lookup.answer(SHOP))
        await asyncio.sleep(0.02)
        assert lookup.known(SHOP) is None
        await asking
        asked = len(site.api.asked)
        beyond = EvidenceLookup(cast(Any, None), HttpLookup(cast(Any, None), (), lookup))
        assert lookup.known(SHOP) == beyond.known(SHOP) == Answered({"a": "1"})
        assert beyond.known(HttpCall("GET", "https://a.example")) is beyond.known(ImageData("a")) is None
        await asyncio.sleep(0.5)
        assert lookup.known(SHOP) is None
        assert len(site.api.asked) == asked

    using(site.access(), work)
    assert EvidenceLookup(cast(Any, None)).known(SHOP) == NoLookup().known(SHOP)


def test_an_answer_that_took_long_is_as_old_as_its_question(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "KEEP", 0.1)
    site.api.answers[SHOP_PATH] = (200, namespace(a="1"))
    site.api.wait[SHOP_PATH] = 0.3

    async def work(lookup: ClusterLookup) -> None:
        first = asyncio.create_task(lookup.answer(SHOP))
        await asyncio.sleep(0.2)
        site.api.answers[SHOP_PATH] = (200, namespace(a="2"))
        site.api.wait[SHOP_PATH] = 0
        assert await lookup.answer(SHOP) == Answered({"a": "2"})  # by a request of its own
        await first

    using(site.access(), work)


def test_what_is_kept_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MAX_KEPT", 10)
    monkeypatch.setattr(adapter, "KEEP", 60.0)
    for number in range(30):
        site.api.answers[f"/api/v1/namespaces/n{number}"] = (200, namespace(f"n{number}"))
        site.api.answers[f"/api/v1/nodes/n{number}"] = (200, ["x" * 1_000_000])

    async def work(lookup: ClusterLookup) -> None:
        for number in range(30):
            await lookup.answer(NamespaceLabels(f"n{number}"))
        assert len(lookup._asked) <= 10
        assert len(lookup._bytes) <= 10
        monkeypatch.setattr(adapter, "_MAX_KEPT", 1000)
        for number in range(30):
            assert isinstance(await lookup.answer(ApiCall(f"/api/v1/nodes/n{number}")), Answered)
        assert sum(lookup._bytes.values()) <= (16 << 20) + 1_100_000

    using(site.access(), work)


def test_a_flood_takes_turns_and_who_gives_up_ends_his_request(site: Site) -> None:
    """A policy's calls that hang do not keep labels from being asked; nothing is left when nobody waits."""
    for number in range(100):
        site.api.wait[f"/apis/slow/v1/{number}"] = 30
    site.api.answers[SHOP_PATH] = (200, namespace())

    async def work(lookup: ClusterLookup) -> None:
        calls = [asyncio.create_task(lookup.answer(ApiCall(f"/apis/slow/v1/{number}"))) for number in range(100)]
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        assert await lookup.answer(SHOP) == Answered({})
        assert time.monotonic() - begun < 2
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(lookup._asked) == 1

    using(site.access(), work)
    assert site.api.most <= 17


# ── of a pod ────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_pod_asks_its_own_cluster(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    host, _, port = site.url.removeprefix("https://").partition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    assert of_pod(environ, folder) is None
    (folder / "token").write_text("of-the-pod")
    assert of_pod(environ, folder) is None
    (folder / "ca.crt").write_bytes(site.authority.read_bytes())
    assert of_pod({}, folder) is None
    access = of_pod(environ, folder)
    assert access is not None
    assert access.url == site.url
    assert answer(access, SHOP) == Absent()
    assert site.api.tokens == ["Bearer of-the-pod"]
    address = of_pod({**environ, "KUBERNETES_SERVICE_HOST": "fd00::1"}, folder)
    assert address is not None
    assert address.url == f"https://[fd00::1]:{port}"


# ── to the decision ─────────────────────────────────────────────────────────────────────────────────────────────────

async def _no_evidence(snapshot: Snapshot, images: list[str]) -> dict[str, Any]:
    return {}


def decided(site: Site, seconds: float = 5.0) -> Decision:
    async def work(lookup: ClusterLookup) -> Decision:
        judging = Judging(_no_evidence, system_clock, lookup)
        policies = Snapshot(PolicySet([configuration(enforce="privileged")]))
        deadline = asyncio.get_running_loop().time() + seconds
        return (await judging.judge(Request.create(BAD), policies, Course.VALIDATING, deadline=deadline)).decision

    return using(site.access(), work)  # type: ignore[no-any-return]


def test_what_the_cluster_says_decides_and_what_it_does_not_say_denies(site: Site) -> None:
    site.api.answers[SHOP_PATH] = (200, namespace())
    assert decided(site).allowed
    site.api.answers[SHOP_PATH] = (200, namespace(**{"pod-security.kubernetes.io/enforce": "baseline"}))
    assert 'violates PodSecurity "baseline:latest"' in decided(site).results[0].message
    site.api.answers[SHOP_PATH] = status(403, "Forbidden", "cannot get resource")
    forbidden = decided(site)
    assert forbidden.verdict is Verdict.DENIED
    assert "answered 403: cannot get resource" in forbidden.results[0].message
    del site.api.answers[SHOP_PATH]
    assert "there is no such namespace" in decided(site).results[0].message


def test_a_slow_cluster_ends_with_the_review(site: Site) -> None:
    site.api.wait[SHOP_PATH] = 20
    begun = time.monotonic()
    late = decided(site, 0.5)
    assert time.monotonic() - begun < 3
    assert late.verdict is Verdict.DENIED
    assert "not answered within 0.5 s" in late.results[0].message


def test_namespaces_that_are_given_come_before_those_of_the_cluster(site: Site) -> None:
    site.api.answers = {SHOP_PATH: (200, namespace(a="cluster")),
                        "/api/v1/namespaces/db": (200, namespace("db", b="1"))}

    async def work(lookup: ClusterLookup) -> list[Answer]:
        known = Namespaces([Manifest("n.yaml", namespace(a="file"))], lookup)
        return [await known.answer(NamespaceLabels(name)) for name in ("shop", "db", "none")]

    assert using(site.access(), work) == [Answered({"a": "file", "kubernetes.io/metadata.name": "shop"}),
                                          Answered({"b": "1"}), Absent()]
