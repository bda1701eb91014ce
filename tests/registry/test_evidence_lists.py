"""Lists of referrers and tags: whole, or an error that says what could not be had; never "none"."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import CustodyError, NetworkError, NotFoundError, VerificationError
from custody.formats import oci
from custody.formats.reference import Reference, parse
from custody.kit.digest import sha256
from custody.registry.budget import Budget
from custody.registry.client import RegistryClient, fallback_tag
from tests.registry.odd import Registry, Request, odd
from tests.serving import registry_on

T = TypeVar("T")
OCI_ERROR = '{"errors":[{"code":"CODE","message":"words"}]}'


@pytest.fixture(params=[StdlibHttp, AiohttpHttp], ids=["stdlib", "aiohttp"])
def adapter(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return request.param  # type: ignore[no-any-return]


def run(adapter: Callable[[], Any], work: Callable[[RegistryClient], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        async with RegistryClient(adapter(), **options) as client:
            return await work(client)

    return asyncio.run(main())


def subject_of(registry: Registry, repository: str = "app") -> Reference:
    return parse(f"{registry.host}/{repository}@{registry.image(repository)}")


def write_fallback(registry: Registry, subject: Reference, *digests: str, kind: str | None = "a/forged") -> None:
    entries = tuple(oci.Descriptor(oci.MANIFEST, digest, 1, artifact_type=kind) for digest in digests)
    registry.put(subject.repository, fallback_tag(subject.digest or ""),
                 json.dumps(oci.Index(oci.INDEX, entries).to_json()).encode(), oci.INDEX)


def page(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(entries)}).encode()


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {"mediaType": oci.MANIFEST, "digest": f"sha256:{number:064x}", "size": 7, "artifactType": "a/b", **more}


def paged(answer: Callable[[int], tuple[int, bytes, str]]) -> Callable[[Request], bool]:
    """A referrers or tags list whose page n is `answer(n)`: status, body, Link."""

    def hook(request: Request) -> bool:
        if "/referrers/" not in request.path and "/tags/" not in request.path:
            return False
        status, body, link = answer(int(request.path.partition("page=")[2] or 0))
        request.answer(status, body, Link=link, Content_Type=oci.INDEX)
        return True

    return hook


# What says that there is no referrers API


@pytest.mark.parametrize(("status", "body"), [
    (404, "404 page not found"), (404, "{}"), (404, ""), (404, OCI_ERROR.replace("CODE", "NOT_FOUND")), (405, ""),
    (406, OCI_ERROR.replace("CODE", "UNSUPPORTED")), (400, OCI_ERROR.replace("CODE", "UNSUPPORTED")),
    (400, "Bad Request"), (501, ""),
])
def test_referrers_status(adapter: Callable[[], Any], status: int, body: str) -> None:
    """What is pushed to a registry without the API is found through the fallback tag."""
    with odd(referrers=status, referrers_body=body.encode()) as registry:
        subject = subject_of(registry)

        async def work(client: RegistryClient) -> None:
            manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": "a/sig",
                        "config": oci.EMPTY_DESCRIPTOR.to_json(), "layers": [], "annotations": {"made": "here"},
                        "subject": {"mediaType": oci.MANIFEST, "digest": subject.digest, "size": 1}}
            pushed = await client.push_manifest(subject, json.dumps(manifest).encode(), oci.MANIFEST)
            for _ in range(3):
                found = await client.referrers(subject)
                assert [(one.digest, one.artifact_type, one.annotations) for one in found] == [
                    (pushed.digest, "a/sig", {"made": "here"})]

        run(adapter, work)
        assert registry.count("GET", "/referrers/") == 1  # learned


@pytest.mark.parametrize(("status", "body", "error", "reason"), [
    (400, OCI_ERROR.replace("CODE", "DIGEST_INVALID"), VerificationError, "referrers answered 400: words"),
    (403, "", CustodyError, "answered 403"),
    (410, "", NetworkError, "answered 410"),
    (200, "<html>", VerificationError, "one JSON document"),
    (200, "{}", VerificationError, "schemaVersion"),
])
def test_answers_that_say_nothing_of_the_api(adapter: Callable[[], Any], status: int, body: str,
                                             error: type[CustodyError], reason: str) -> None:
    with odd(referrers=status, referrers_body=body.encode() or b" ") as registry:
        subject = subject_of(registry)
        write_fallback(registry, subject, subject.digest or "")
        with pytest.raises(error, match=reason):
            run(adapter, lambda client: client.referrers(subject))
        assert registry.count("GET", fallback_tag(subject.digest or "")) == 0


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])
def test_404_of_an_image_that_is_there_says_that_there_is_no_api_and_is_not_remembered(
        adapter: Callable[[], Any], code: str) -> None:
    """With the API there is no 404 at all (distribution-spec, "Listing Referrers"); the words are about this image."""
    with odd(referrers=404, referrers_body=OCI_ERROR.replace("CODE", code).encode()) as registry:
        subject = subject_of(registry)
        write_fallback(registry, subject, subject.digest or "")

        async def work(client: RegistryClient) -> None:
            for _ in range(3):
                assert [entry.digest for entry in await client.referrers(subject)] == [subject.digest]

        run(adapter, work)
        assert registry.count("GET", "/referrers/") == 3
        with pytest.raises(NotFoundError, match="answered 404"):
            run(adapter, lambda client: client.referrers(subject.at("sha256:" + "0" * 64)))


def test_404_once_is_for_ever(adapter: Callable[[], Any]) -> None:
    """A 404 about one image decides nothing about others, and what is learned is forgotten."""
    seconds = [0.0]
    with odd() as registry:
        subject = subject_of(registry)
        sig = registry.referrer("app", subject.digest or "")

        async def work(client: RegistryClient) -> None:
            async def listed() -> list[str]:
                return [one.digest for one in await client.referrers(subject)]

            registry.habits.referrers, registry.habits.referrers_body = 404, b"{}"
            with pytest.raises(NotFoundError, match="answered 404"):
                await client.referrers(subject.at("sha256:" + "0" * 64))  # is not there at all
            registry.habits.referrers = 200
            registry.habits.referrers_body = b""
            assert await listed() == [sig]
            # From now on the API is known to be there, and a 404 is a failure.
            registry.habits.referrers, registry.habits.referrers_body = 404, b"404 page not found"
            write_fallback(registry, subject)
            with pytest.raises(VerificationError, match="answered 404"):
                await listed()
            # That, too, is not for ever: after an hour the registry may be another one, for minutes.
            seconds[0] += 3601
            assert await listed() == []
            registry.habits.referrers, registry.habits.referrers_body = 200, b""
            assert await listed() == []
            seconds[0] += 301
            assert await listed() == [sig]

        run(adapter, work, now=lambda: seconds[0])


def test_one_repository_with_the_api_is_not_taken_for_one_without(adapter: Callable[[], Any]) -> None:
    """A front may have the API for one repository only: what it lacks for another is not learned for the host."""
    def hook(request: Request) -> bool:
        if request.path.startswith("/v2/old/referrers/"):
            request.answer(404, b"404 page not found")
            return True
        return False

    with odd(hook) as registry:
        new, old = subject_of(registry, "new"), subject_of(registry, "old")
        sig = registry.referrer("new", new.digest or "")
        write_fallback(registry, new)
        write_fallback(registry, old, new.digest or "")

        async def work(client: RegistryClient) -> None:
            for _ in range(2):
                assert [one.digest for one in await client.referrers(old)] == [new.digest]
                assert [one.digest for one in await client.referrers(new)] == [sig]

        run(adapter, work)


# Whole or not at all


def test_hide_evidence(adapter: Callable[[], Any]) -> None:
    """A page made too big by what somebody pushed does not send the client to the tag that he wrote as well."""
    with odd() as registry:
        subject = subject_of(registry)
        registry.referrer("app", subject.digest or "", "a/scan")
        registry.referrer("app", subject.digest or "", "x/y", **{f"{n:x}": "" for n in range(400_000)})
        write_fallback(registry, subject)
        with pytest.raises(VerificationError, match=r"referrers/sha256:\w+: page 1: more than 4194304 bytes"):
            run(adapter, lambda client: client.referrers(subject))
        assert registry.count("GET", fallback_tag(subject.digest or "")) == 0


def link(page: int) -> str:
    return f'<?page={page}>; rel="next"'


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda n: (200, page(entry(n)), link((n + 1) % 3)), "pages link in a circle"),
    (lambda n: (200, page(entry(n)), link(n)), "pages link in a circle"),
    (lambda n: (200, page(entry(n)), link(n + 1)), "more than 1000 pages"),
    (lambda n: (200, page(*(entry(n * 5000 + i) for i in range(5000))), link(n + 1)), "more than 10000 referrers"),
    (lambda n: (200, page(entry(n, annotations={"x": "y" * 3_900_000})), link(n + 1)), "more than 16777216 bytes"),
    (lambda n: (200 if n < 2 else 404, page(entry(n)), link(n + 1)), "page 3: .* answered 404"),
    (lambda n: (200 if n < 2 else 403, page(entry(n)), link(n + 1)), "page 3: .* answered 403"),
    (lambda n: (200, page(entry(n)) if n < 2 else b"{", link(n + 1)), "expected one JSON document"),
    (lambda n: (200, page(entry(n, digest="sha256:0")), ""), r"manifests\[0\].digest"),
    (lambda n: (200, page(*[entry(n)] * 10_001), ""), "at most 10000 descriptors"),
    (lambda n: (200, page(entry(n)), '<http://127.0.0.2:1/v2/x>; rel="next"'), "page is at another origin"),
    (lambda n: (200, page(entry(n)), '<http://[/>; rel="next"'), "link to the next page: got the URL"),
    (lambda n: (200, page(*(entry(i, artifactType=None) for i in range(201))), ""), "201 referrers are listed without"),
    (lambda n: (200, page(entry(n)), "<?page=1>"), "Link: got .*, expected <URL>; rel=\"next\""),
    (lambda n: (200, page(entry(n)), "<?page=1; rel=next"), "Link: got"),
    (lambda n: (200, page(entry(n)), "?page=1; rel=next"), "Link: got"),
    (lambda n: (200, page(entry(n)), '<?page=1>; rel="'), "Link: got"),
    (lambda n: (200, page(entry(n)), '<?page=1>; rel="next", <?page=2>; rel="next"'), "expected one next page"),
    (lambda n: (200, page(entry(n)), '<>; rel="next"'), "pages link in a circle"),
], ids=range(19))
def test_lists_that_cannot_be_had_whole(answer: Callable[[int], tuple[int, bytes, str]], reason: str) -> None:
    with odd(paged(answer)) as registry:
        subject = subject_of(registry)
        write_fallback(registry, subject)
        with pytest.raises((VerificationError, NetworkError), match=reason) as caught:
            run(StdlibHttp, lambda client: client.referrers(subject))
        assert not isinstance(caught.value, NotFoundError)
        assert registry.count("GET", fallback_tag(subject.digest or "")) == 0


@pytest.mark.parametrize("form", ['<?page=1>; rel="next"', "<?page=1>;rel=next", '<?page=1>; REL="Last NEXT"',
                                  '<?page=1>; title="<a>, \\"b"; rel="next"', "<?page=1>; rel='next'",
                                  "<?page=1>;;rel=next,",
                                  '</v2/app/tags/list?page=1>; rel="next"',
                                  '<?a=b>; rel="prev", <?page=1>; title="x"; rel="next"'])
def test_pages_are_followed(adapter: Callable[[], Any], form: str) -> None:
    bodies = [b'{"name":"app","tags":["1"]}', b'{"name":"app","tags":["2"]}']
    with odd(paged(lambda n: (200, bodies[n], form if n == 0 else ""))) as registry:
        assert run(adapter, lambda client: client.tags(parse(f"{registry.host}/app"))) == ["1", "2"]


def test_a_list_that_was_filtered_unasked_is_not_whole(adapter: Callable[[], Any]) -> None:
    def hook(request: Request) -> bool:
        if "/referrers/" in request.path:
            request.answer(200, page(entry(1)), OCI_Filters_Applied="artifactType", Content_Type=oci.INDEX)
            return True
        return False

    with odd(hook) as registry:
        subject = subject_of(registry)
        with pytest.raises(VerificationError, match="filtered by artifactType, which nobody asked for"):
            run(adapter, lambda client: client.referrers(subject))


def test_referrers_of_every_kind_keep_their_annotations(adapter: Callable[[], Any]) -> None:
    entries = [entry(1, artifactType="x/unknown", annotations={"a": "b"}), entry(2, mediaType="z/z", artifactType=None)]
    with odd(paged(lambda n: (200, page(entries[n]), link(1) if n == 0 else ""))) as registry:
        subject = subject_of(registry)
        found = run(adapter, lambda client: client.referrers(subject))
    assert [(one.artifact_type, one.annotations, one.media_type) for one in found] == [
        ("x/unknown", {"a": "b"}, oci.MANIFEST), (None, {}, "z/z")]


def test_a_bad_neighbour_in_a_fallback_index_stays_in_the_list(adapter: Callable[[], Any]) -> None:
    with odd(referrers=404, referrers_body=b"404 page not found") as registry:
        subject = subject_of(registry)
        good = registry.referrer("app", subject.digest or "", "a/sig")
        bad = registry.put("app", "", b"no JSON")
        gone = "sha256:" + "9" * 64
        write_fallback(registry, subject, good, bad, gone, kind=None)
        found = run(adapter, lambda client: client.referrers(subject))
    assert [(one.digest, one.artifact_type) for one in found] == [(good, "a/sig"), (bad, None), (gone, None)]


@pytest.mark.parametrize("data", [b"{", b"{}", json.dumps(oci.Manifest(
    oci.MANIFEST, oci.EMPTY_DESCRIPTOR, ()).to_json()).encode()])
def test_a_fallback_tag_that_is_no_index(adapter: Callable[[], Any], data: bytes) -> None:
    with odd(referrers=404, referrers_body=b"404 page not found") as registry:
        subject = subject_of(registry)
        registry.put("app", fallback_tag(subject.digest or ""), data)
        with pytest.raises(VerificationError, match="fallback tag sha256-"):
            run(adapter, lambda client: client.referrers(subject))


def test_a_list_counts_against_the_budget(adapter: Callable[[], Any]) -> None:
    with odd() as registry:
        subject = subject_of(registry)
        registry.referrer("app", subject.digest or "", "x/y", big="x" * 50_000)
        with pytest.raises(VerificationError, match="more than 40000 bytes of evidence"):
            run(adapter, lambda client: client.within(Budget(30, 40_000)).referrers(subject))


def test_sha384_and_sha512(adapter: Callable[[], Any]) -> None:
    import hashlib

    with odd() as registry:
        registry.image()
        media_type, data = registry.manifests["app", "1"]
        for name in ("sha384", "sha512"):
            digest = f"{name}:{hashlib.new(name, data).hexdigest()}"
            registry.manifests["app", digest] = (media_type, data)
            wrong = f"{name}:{hashlib.new(name, b'other').hexdigest()}"
            registry.manifests["app", wrong] = (media_type, data)
            ref = parse(f"{registry.host}/app@{digest}")
            assert run(adapter, lambda client, ref=ref: client.manifest(ref))[0].digest == digest  # type: ignore[misc]
            with pytest.raises(VerificationError, match=f"manifest bytes are {digest}, asked for {wrong}"):
                run(adapter, lambda client, ref=ref, wrong=wrong: client.manifest(ref.at(wrong)))  # type: ignore[misc]


def test_a_registry_of_custodys_keeps_sha384_blobs(adapter: Callable[[], Any], tmp_path: Path) -> None:
    import hashlib

    blob = oci.Descriptor("a/b", f"sha384:{hashlib.sha384(b'data').hexdigest()}", 4)
    with registry_on(tmp_path) as (host, _):
        ref = parse(f"{host}/app:1")

        async def work(client: RegistryClient) -> bytes:
            await client.push_blob(ref, b"data", blob)
            return await client.blob(ref, blob)

        assert run(adapter, work) == b"data"


# Platforms


def with_platforms(registry: Registry, *names: tuple[str, str]) -> Reference:
    """An index whose entries say the first name, and whose images say the second."""
    entries = []
    for said, true in names:
        (_, claimed), (os, architecture) = said.split("/"), true.split("/")
        config = json.dumps({"os": os, "architecture": architecture}).encode()
        registry.blobs["app", sha256(config)] = config
        manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, sha256(config), len(config)), ())
        digest = registry.put("app", "", json.dumps(manifest.to_json()).encode())
        entries.append(oci.Descriptor(oci.MANIFEST, digest, 1, platform={"os": "linux", "architecture": claimed}))
    registry.put("app", "multi", json.dumps(oci.Index(oci.INDEX, tuple(entries)).to_json()).encode(), oci.INDEX)
    return parse(f"{registry.host}/app:multi")


def test_an_image_is_of_the_platform_that_it_says(adapter: Callable[[], Any]) -> None:
    with odd() as registry:
        ref = with_platforms(registry, ("linux/arm64", "linux/arm64"), ("linux/amd64", "linux/riscv64"))
        with pytest.raises(VerificationError, match=r"is an image of linux/riscv64 .* asked for linux/amd64"):
            run(adapter, lambda client: client.image(ref))
        descriptor, _ = run(adapter, lambda client: client.image(ref, "linux/arm64/v8"))
        with pytest.raises(CustodyError, match="no such platform: linux/s390x; it has linux/arm64, linux/amd64"):
            run(adapter, lambda client: client.image(ref, "linux/s390x"))
        alone = ref.at(descriptor.digest)
        assert run(adapter, lambda client: client.image(alone))[0].digest == descriptor.digest
        with pytest.raises(VerificationError, match=r"is an image of linux/arm64 .* asked for linux/amd64"):
            run(adapter, lambda client: client.image(alone, "linux/amd64"))
