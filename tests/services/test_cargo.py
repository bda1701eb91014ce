"""What belongs to an image, at sources that lie, break off or never end: an error that says so, and nothing written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.filesystem.layout import LayoutHttp
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import CustodyError, MissingEvidenceError, NetworkError, VerificationError
from custody.formats import cosign, oci
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient, fallback_tag
from custody.registry.layout import Layout
from custody.services import cargo
from custody.services.cargo import Cargo, pack
from custody.services.copying import Place, carry
from tests.registry.odd import Registry, Request, odd


def packed(registry: Registry, digest: str, *, whole: bool = True) -> Cargo:
    async def read() -> Cargo:
        async with RegistryClient(StdlibHttp()) as client:
            return await pack(client, parse(f"{registry.host}/app@{digest}"), whole=whole)

    return asyncio.run(read())


def listing(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(entries)}).encode()


def entry(digest: str, size: int = 1, kind: str = "a/sig") -> dict[str, Any]:
    return {"mediaType": oci.MANIFEST, "digest": digest, "size": size, "artifactType": kind}


def lists(subject: str, body: Callable[[str], bytes], link: Callable[[str], str] = lambda _: "",
          status: int = 200) -> Callable[[Request], bool]:
    """The referrers of one manifest, as the registry would have them; `body` and `link` see the query."""

    def hook(request: Request) -> bool:
        path, _, query = request.path.partition("?")
        if not path.endswith(f"/referrers/{subject}"):
            return False
        request.answer(status if query or status == 200 else 200, body(query), Content_Type=oci.INDEX,
                       Link=link(query))
        return True

    return hook


def test_a_referrer_of_another_image() -> None:
    """The evidence of a good image listed beside a bad one: its own subject says what it is about."""
    with odd() as registry:
        good, bad = registry.image(layer=b"good"), registry.image(tag="2", layer=b"bad")
        borrowed = registry.referrer("app", good)
        registry.habits.hook = lists(bad, lambda _: listing(entry(borrowed)))
        with pytest.raises(VerificationError, match=rf"@{bad}: the list of its referrers names {borrowed}, whose "
                                                    rf"subject is {good}"):
            packed(registry, bad)


def test_lists_in_a_circle() -> None:
    with odd() as registry:
        image = registry.image()
        first = registry.referrer("app", image)
        second = registry.referrer("app", first)
        registry.habits.hook = lists(second, lambda _: listing(entry(first)))
        packed(registry, image)  # first is known already: it leads nowhere
        third = registry.referrer("app", second)
        registry.habits.hook = lists(third, lambda _: listing(entry(image)))
        packed(registry, image)
        strange = registry.referrer("app", sha256(b"elsewhere"))
        registry.habits.hook = lists(third, lambda _: listing(entry(strange)))
        with pytest.raises(VerificationError, match=f"names {strange}, whose subject is sha256:"):
            packed(registry, image)


def test_an_image_that_is_listed_as_its_own_referrer() -> None:
    with odd() as registry:
        image, other = registry.image(), registry.image(tag="2", layer=b"other")
        registry.habits.hook = lists(image, lambda _: listing(entry(other)))
        with pytest.raises(VerificationError, match=f"names {other}, whose subject is none"):
            packed(registry, image)


def test_bytes_of_another_digest() -> None:
    with odd() as registry:
        image = registry.image()
        referrer = registry.referrer("app", image)
        kind, _ = registry.manifests["app", referrer]
        registry.manifests["app", referrer] = kind, registry.manifests["app", registry.referrer("app", image, x="y")][1]
        registry.habits.hook = lists(image, lambda _: listing(entry(referrer)))
        with pytest.raises(VerificationError, match=f"manifest bytes are sha256:[0-9a-f]*, asked for {referrer}"):
            packed(registry, image)


def test_a_listed_referrer_that_is_not_there() -> None:
    with odd() as registry:
        image, gone = registry.image(), sha256(b"gone")
        registry.habits.hook = lists(image, lambda _: listing(entry(gone)))
        with pytest.raises(MissingEvidenceError, match=f"the list of its referrers names {gone}, which is not there"):
            packed(registry, image)


@pytest.mark.parametrize(("body", "link", "status", "reason"), [
    (lambda _: listing(), lambda query: f"<?n={int(query.partition('=')[2] or 0) + 1}>; rel=\"next\"", 200,
     "more than 1000 pages"),
    (lambda _: listing(), lambda _: '<?n=1>; rel="next"', 200, "the pages link in a circle"),
    (lambda _: listing(), lambda query: "" if query else '<?n=1>; rel="next"', 500, "page 2: .*500"),
    (lambda _: b"<html>", lambda _: "", 200, "expected one JSON document"),
    (lambda query: listing(*(entry(sha256(f"{query}{n}".encode())) for n in range(6000))),
     lambda query: "" if query else '<?n=1>; rel="next"', 200, "more than 10000 referrers"),
], ids=["endless", "circle", "fails", "no list", "too many"])
def test_a_list_that_cannot_be_read_whole(monkeypatch: pytest.MonkeyPatch, body: Any, link: Any, status: int,
                                          reason: str) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("custody.registry.transport.asyncio.sleep", at_once)
    with odd() as registry:
        image = registry.image()
        registry.referrer("app", image)
        path = f"/v2/app/referrers/{image}"
        registry.habits.hook = lists(image, body, lambda query: link(query).replace("<?", f"<{path}?"), status)
        with pytest.raises(VerificationError, match=reason):
            packed(registry, image)
        with pytest.raises(VerificationError, match=reason):
            packed(registry, image, whole=False)


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom"])
def test_a_tag_that_fails_is_no_absence(suffix: str) -> None:
    with odd() as registry:
        image = registry.image()

        def hook(request: Request) -> bool:
            if not request.path.endswith(cosign.tag(image, suffix)):
                return False
            request.error(403, "DENIED")
            return True

        registry.habits.hook = hook
        with pytest.raises(CustodyError, match=r"DENIED|denied"):
            packed(registry, image)


def test_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    with odd() as registry:
        top = image = registry.image()
        for _ in range(cargo.MAX_DEPTH):
            top = registry.referrer("app", top)
        assert len(packed(registry, image).pieces) == cargo.MAX_DEPTH + 1
        registry.referrer("app", top)
        with pytest.raises(VerificationError, match="refer to one another more than 8 deep"):
            packed(registry, image)
        monkeypatch.setattr(cargo, "MAX_DEPTH", 100)
        monkeypatch.setattr(cargo, "MAX_MANIFESTS", 9)
        with pytest.raises(VerificationError, match="more than 9 manifests belong to it"):
            packed(registry, image)


def test_a_fallback_tag_of_lies_without_the_api() -> None:
    with odd(referrers=404) as registry:
        good, bad = registry.image(layer=b"good"), registry.image(tag="2", layer=b"bad")
        borrowed = registry.referrer("app", good)
        registry.put("app", fallback_tag(bad), listing(entry(borrowed)), oci.INDEX)
        with pytest.raises(VerificationError, match=f"names {borrowed}, whose subject is {good}"):
            packed(registry, bad)
        registry.put("app", fallback_tag(bad), json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "config":
                     oci.EMPTY_DESCRIPTOR.to_json(), "layers": []}).encode())
        with pytest.raises(VerificationError, match="got an image manifest, expected an index"):
            packed(registry, bad)


def carried(source: Registry, digest: str, folder: Path) -> None:
    async def copy() -> None:
        layout = Layout.made(folder, "target")
        ref = parse(f"{source.host}/app:1")
        async with RegistryClient(StdlibHttp()) as client, RegistryClient(LayoutHttp(layout, writable=True)) as into:
            load = await pack(client, ref.at(digest), whole=True)
            await carry(Place(client, ref), Place(into, ref, "x"), load, tag="1")

    asyncio.run(copy())


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_blob_of_other_bytes_is_not_carried(tmp_path: Path, size: int) -> None:
    """Small ones are in memory, large ones go through a file: neither gets to the target, nor does the image."""
    with odd() as registry:
        image = registry.image(layer=b"x" * size)
        registry.blobs["app", sha256(b"x" * size)] = b"y" * size
        with pytest.raises(VerificationError, match=f"blob bytes are sha256:[0-9a-f]*, expected {sha256(b'x' * size)}"):
            carried(registry, image, tmp_path / "layout")
    assert json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"] == []
    assert sha256(b"x" * size).partition(":")[2] not in {path.name for path in tmp_path.rglob("*")}
    assert not list((tmp_path / "layout").glob(".draft-*"))


def test_nothing_is_written_where_the_list_is_not_whole(tmp_path: Path) -> None:
    with odd() as registry:
        image = registry.image()
        registry.habits.hook = lists(image, lambda _: listing(entry(sha256(b"gone"))))
        with pytest.raises(MissingEvidenceError):
            carried(registry, image, tmp_path / "layout")
    assert not (tmp_path / "layout" / "blobs").exists()


def test_the_tag_is_written_last() -> None:
    with odd() as source, odd() as target:
        image = source.image()
        source.referrer("app", image)

        async def copy() -> None:
            ref, place = parse(f"{source.host}/app@{image}"), parse(f"{target.host}/app:1")
            async with RegistryClient(StdlibHttp()) as client:
                load = await pack(client, ref, whole=True)
                await carry(Place(client, ref), Place(client, place), load, tag="1")

        asyncio.run(copy())
        put = [seen.path.rpartition("/")[2] for seen in target.seen if seen.method == "PUT" and "/manifests/" in
               seen.path]
        assert put[0] == image
        assert put[-1] == "1"
        assert len(put) == 3


def test_a_target_that_stops_in_the_middle_has_no_tag() -> None:
    with odd() as source, odd(put=500) as target:
        image = source.image()

        async def copy() -> None:
            ref, place = parse(f"{source.host}/app@{image}"), parse(f"{target.host}/app:1")
            async with RegistryClient(StdlibHttp()) as client:
                load = await pack(client, ref, whole=True)
                await carry(Place(client, ref), Place(client, place), load, tag="1")

        with pytest.raises(NetworkError, match="500"):
            asyncio.run(copy())
        assert not any(seen.method == "PUT" and seen.path.endswith("/manifests/1") for seen in target.seen)


def test_a_manifest_of_many_names_is_asked_about_once(tmp_path: Path) -> None:
    """Each level under three tags and as a referrer: four times as much at each, for who asks each time anew."""
    layout = Layout.made(tmp_path, "target")

    async def read() -> Cargo:
        reads = 0

        def advance(count: int) -> None:
            nonlocal reads
            reads += count

        async with RegistryClient(LayoutHttp(layout, writable=True)) as client:
            name = parse("registry.example/app:1")
            config = await client.push_blob(name, oci.EMPTY_BLOB)
            below = None
            for level in range(7):
                manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.EMPTY, config.digest, config.size), (), below,
                                        "x/y", {"level": str(level)})
                data = json.dumps(manifest.to_json()).encode()
                for tag in ([cosign.tag(below.digest, kind) for kind in (".sig", ".att", ".sbom")] if below else ["1"]):
                    pushed = await client.push_manifest(name, data, oci.MANIFEST, tag=tag)
                below = pushed
            cargo_ = await pack(client, name.at((await client.resolve(name)).digest), whole=True, advance=advance)
        assert reads <= 1 + 6 * 4
        return cargo_

    assert len({piece.descriptor.digest for piece in asyncio.run(read()).pieces}) == 7


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cargo, "MAX_MANIFESTS", 3)
    with odd() as registry:
        image = registry.image()
        for number in range(3):
            registry.referrer("app", image, number=str(number))
        with pytest.raises(VerificationError, match="more than 3 manifests belong to it"):
            packed(registry, image)
