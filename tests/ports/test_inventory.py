"""What `ports.inventory` promises, of SQLite's adapter and of PostgreSQL's on a real server."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec

from custody.formats.bom import Catalog, Layer, Location, Package
from custody.kit.digest import sha256
from custody.ports.inventory import Numbered, Sighting
from custody.versions import sortable
from tests.ports.conftest import Make

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def npm(name: str, version: str, *places: Location) -> Package:
    return Package(type="npm", name=name, version=version, purl=f"pkg:npm/{name}@{version}", ecosystem="npm",
                   source=name, source_version=version, locations=places)


def image(name: str, *packages: Package, layers: tuple[str, ...] = ("sha256:base", "sha256:top")) -> Catalog:
    return Catalog(name=name, digest=sha256(name.encode()), packages=packages,
                   layers=tuple(Layer(digest=layer, diff_id=layer, entries=1, size=1) for layer in layers))


BASE = Location(path="usr/a", layer="sha256:base")
TOP = Location(path="usr/b", layer="sha256:top", within="x.jar!y.jar")
SHOP = image("shop", npm("left", "1.0.0", BASE), npm("right", "2.0.0", BASE, TOP))


def names(rows: list[Numbered] | object) -> list[str]:
    return [f"{row.component.package.name}@{row.component.package.version}" for row in rows]  # type: ignore[attr-defined]


def test_what_was_kept_comes_back_after_a_restart(make: Make) -> None:
    assert make().keep(SHOP, NOW)
    store = make()
    assert store.catalog(SHOP.digest) == SHOP
    assert store.catalog("sha256:none") is None
    assert store.kept([SHOP.digest, "sha256:none"]) == {SHOP.digest}
    assert store.status() == (1, NOW)


def test_the_same_again_changes_nothing_but_when(make: Make) -> None:
    store = make()
    assert store.keep(SHOP, NOW)
    assert not store.keep(SHOP, LATER)
    assert store.status() == (1, LATER)


def test_another_word_on_an_image_replaces_the_first(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    assert store.keep(msgspec.structs.replace(SHOP, packages=(npm("new", "3.0.0", TOP),)), LATER)
    assert store.status() == (1, LATER)
    assert names(store.named("left", "npm")) == []
    assert names(store.named("new", "npm")) == ["new@3.0.0"]


def test_places_name_image_layer_and_path(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    store.keep(image("plant", npm("left", "1.0.0", BASE), npm("right", "2.0.0", BASE, TOP)), NOW)
    (right,) = store.named("right", "npm")
    plant = sha256(b"plant")
    assert sorted(place[1:] for place in store.places([right.number])) == sorted(
        [(digest, *rest) for digest in (SHOP.digest, plant)
         for rest in (("sha256:base", "usr/a"), ("sha256:top", "usr/b!x.jar!y.jar"))])
    assert store.places([]) == []


def test_a_package_without_a_place_has_one_that_says_nothing(make: Make) -> None:
    store = make()
    store.keep(image("bare", npm("left", "1.0.0")), NOW)
    (left,) = store.named("left", "npm")
    assert [place[1:] for place in store.places([left.number])] == [(sha256(b"bare"), "", "")]
    assert store.catalog(sha256(b"bare")) == image("bare", npm("left", "1.0.0"))


def test_forgetting_one_image_leaves_what_others_have(make: Make) -> None:
    store = make()
    store.keep(SHOP, NOW)
    store.keep(image("plant", npm("left", "1.0.0", BASE)), NOW)
    store.see([Sighting(SHOP.digest, "name", "shop:1", NOW)])
    assert store.forget(SHOP.digest)
    assert not store.forget(SHOP.digest)
    assert store.status().images == 1
    assert names(store.named("left", "npm")) == ["left@1.0.0"]
    assert names(store.named("right", "npm")) == []
    assert store.seen([SHOP.digest]) == {}


def test_versions_within_bounds_and_those_that_have_no_place(make: Make) -> None:
    store = make()
    store.keep(image("many", *(npm("left", version, BASE) for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0",
                                                                        "latest"))), NOW)
    assert names(store.named("left", "npm")) == ["left@1.10.0", "left@1.9.0", "left@2.0.0", "left@2.0.0-rc.1",
                                                 "left@latest"]
    low, high = sortable("npm", "1.10.0"), sortable("npm", "2.0.0-rc.1")
    assert names(store.named("left", "npm", low, high)) == ["left@1.10.0", "left@2.0.0-rc.1", "left@latest"]
    assert names(store.named("left", "PyPI", low, high)) == []


def test_a_component_is_known_by_the_whole_name_its_last_part_and_its_source(make: Make) -> None:
    store = make()
    jar = Package(type="maven", name="org.example/core", version="1", purl="pkg:maven/org.example/core@1",
                  ecosystem="Maven", source="org.example:core", source_version="1")
    deb = Package(type="deb", name="libssl3", version="3-1", purl="pkg:deb/debian/libssl3@3-1", ecosystem="Debian:12",
                  source="openssl", source_version="3-1")
    store.keep(image("two", jar, deb), NOW)
    for name in ("org.example/core", "core"):
        assert store.ecosystems(name) == ["Maven"]
    for name in ("libssl3", "openssl"):
        assert store.ecosystems(name) == ["Debian:12"]
    assert store.ecosystems("nobody") == []
    assert names(store.advised("Debian:12", "openssl")) == ["libssl3@3-1"]
    assert names(store.advised("Debian:11", "openssl")) == []
    assert names(store.advised("Maven", "org.example:core")) == ["org.example/core@1"]


def test_what_a_package_installed_is_asked_for_with_it(make: Make) -> None:
    store = make()
    deb = Package(type="deb", name="python3-left", version="1-1", purl="pkg:deb/debian/python3-left@1-1",
                  ecosystem="Debian:12", source="left", source_version="1-1")
    egg = Package(type="pypi", name="left", version="1", purl="pkg:pypi/left@1", ecosystem="PyPI", source="left",
                  source_version="1", owner=deb.purl)
    store.keep(image("owned", deb, egg), NOW)
    assert names(store.advised("Debian:12", "left")) == ["python3-left@1-1", "left@1"]
    assert store.advised("PyPI", "left")[0].component.owner == ("Debian:12", "left")


def test_marks(make: Make) -> None:
    store = make()
    marked = msgspec.structs.replace(npm("left", "1.0.0", BASE), licenses=("GPL-3.0-only",),
                                     hashes=(("sha256", "AB" * 32),))
    store.keep(image("marked", marked), NOW)
    for mark in ("license:gpl-3.0-only", "sha256:" + "ab" * 32):
        assert names(store.marked(mark)) == ["left@1.0.0"]
    assert store.marked("license:mit") == []


def test_all_components_a_few_at_a_time(make: Make) -> None:
    store = make()
    store.keep(image("many", *(npm(f"p{number}", "1.0.0", BASE) for number in range(7))), NOW)
    number, read = 0, []
    while rows := store.after(number, 3):
        assert len(rows) <= 3
        read += names(rows)
        number = rows[-1].number
    assert read == [f"p{number}@1.0.0" for number in range(7)]


def test_sightings_begin_and_go_on(make: Make) -> None:
    store = make()
    store.see([Sighting("sha256:a", "pod", "c/ns/p1", LATER), Sighting("sha256:a", "pod", "c/ns/p1", NOW),
               Sighting("sha256:a", "name", "shop:1", NOW)])
    assert store.seen(["sha256:a", "sha256:b"]) == {
        "sha256:a": [("name", "shop:1", NOW, NOW), ("pod", "c/ns/p1", LATER, LATER)]}
    store.see([Sighting("sha256:b", "name", "shop:1", LATER)])
    assert store.holders("name", "shop:1") == ["sha256:b", "sha256:a"]
    store.see([Sighting("sha256:a", "pod", "d/ns/p1", NOW)])
    assert store.gone("pod", LATER + timedelta(seconds=1), "c/") == 1
    assert store.gone("pod", NOW) == 0
    assert [row.where for row in store.seen(["sha256:a"])["sha256:a"]] == ["shop:1", "d/ns/p1"]


def test_texts_that_are_none_are_kept_in_a_spelling_that_is(make: Make) -> None:
    store = make()
    odd = npm("od\0d\udce9", "1.0.0", Location(path="p\0\udcff" + "x" * 5000, layer="sha256:base"))
    long = msgspec.structs.replace(npm("n" * 4000, "1" * 900, BASE), licenses=("words " * 1000,))
    assert store.keep(image("odd", odd, long), NOW)
    assert len(store.after(0, 10)) == 2
    (row,) = store.named("od\\x00d\\udce9", "npm")
    (place,) = store.places([row.number])
    assert place.path.startswith("p\\x00\\udcffxxx")
    assert len(place.path) <= 600


def test_two_that_keep_at_once_both_do(make: Make) -> None:
    make()
    failures: list[BaseException] = []

    def keep(first: int) -> None:
        try:
            store = make()
            for number in range(first, first + 5):
                store.keep(image(f"i{number}", *(npm(f"p{row}", "1.0.0", BASE) for row in range(20))), NOW)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=keep, args=(first,)) for first in (0, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (make().status().images, len(make().after(0, 100))) == (10, 20)
