"""Layers: digests that lie, streams that explode, and what layers do to each other."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats.bom import Catalog
from custody.formats.oci import Descriptor
from custody.kit.digest import sha256
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
from custody.sbom.layers import read_layer
from custody.sbom.limits import Limits
from tests.contents.images import GZIP, METADATA, OS_RELEASE, PLAIN, STATUS, ZSTD, Member, image, layout, tar

_SITE = "app/site/flask_login-0.6.2.dist-info/METADATA"


def names(found: Catalog) -> set[str]:
    return {package.name for package in found.packages}


@pytest.mark.parametrize("media_type", [GZIP, ZSTD, PLAIN])
def test_every_compression(tmp_path: Path, media_type: str) -> None:
    found = catalog(
        open_layout(layout(tmp_path / "i", [tar([(_SITE, METADATA), ("pad", bytes(3_000_000))])], media_type))
    )
    assert names(found) == {"Flask_Login"}
    assert found.layers[0].entries == 2


def test_gzip_members_one_after_the_other(tmp_path: Path) -> None:
    data = tar([(_SITE, METADATA), ("pad", bytes(100_000))])
    members = b"".join(gzip.compress(data[place:place + 999]) for place in range(0, len(data), 999))
    packed = open_layout(layout(tmp_path / "i", [members], PLAIN))
    layer = packed.manifest.layers[0]
    facts = read_layer(packed, Descriptor(GZIP, layer.digest, layer.size), sha256(data))
    assert list(facts.found) == [_SITE]


def test_a_blob_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    good = tar([(_SITE, METADATA)])
    other = gzip.compress(tar([(_SITE, METADATA.replace(b"0.6.2", b"9.9.9"))]), 6, mtime=0)
    folder = layout(tmp_path / "i", [good], blobs={0: other})
    with pytest.raises(VerificationError, match="blob"):
        catalog(open_layout(folder))


def test_a_diff_id_that_lies(tmp_path: Path) -> None:
    folder = layout(tmp_path / "i", [tar([(_SITE, METADATA)])], diff_ids={0: "sha256:" + "0" * 64})
    with pytest.raises(VerificationError, match="the image config says sha256:000"):
        catalog(open_layout(folder))


def test_bytes_behind_the_end_of_the_tar_count_for_the_digest(tmp_path: Path) -> None:
    good = tar([(_SITE, METADATA)])
    folder = layout(tmp_path / "i", [good + b"more"], diff_ids={0: sha256(good)})
    with pytest.raises(VerificationError, match="uncompressed bytes"):
        catalog(open_layout(folder))


def test_a_truncated_layer(tmp_path: Path) -> None:
    data = gzip.compress(tar([(_SITE, METADATA)]))[:-20]
    packed = open_layout(layout(tmp_path / "i", [data], PLAIN))
    layer = packed.manifest.layers[0]
    with pytest.raises(MalformedError, match=r"the middle of (a gzip stream|an entry)"):
        read_layer(packed, Descriptor(GZIP, layer.digest, layer.size), sha256(b""))


def test_a_decompression_bomb(tmp_path: Path) -> None:
    folder = layout(tmp_path / "i", [tar([("zeros", bytes(20_000_000))])])
    assert names(catalog(open_layout(folder))) == set()
    with pytest.raises(MalformedError, match="decompression bomb"):
        catalog(open_layout(folder), limits=Limits(ratio_from=10_000_000, ratio=100))
    with pytest.raises(MalformedError, match="decompression bomb"):
        catalog(open_layout(folder), limits=Limits(size=10_000_000))


def test_layers_that_are_not_read_are_named(tmp_path: Path) -> None:
    folder = layout(tmp_path / "i", [tar([])], "application/vnd.oci.image.layer.nondistributable.v1.tar")
    with pytest.raises(UnsupportedError, match="nondistributable"):
        catalog(open_layout(folder))


def test_whiteouts_opaque_folders_and_replacements(tmp_path: Path) -> None:
    base = [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS), (_SITE, METADATA),
            ("b/x/node_modules/a/package.json", b'{"name":"a","version":"1"}'),
            ("b/y/node_modules/b/package.json", b'{"name":"b","version":"1"}'),
            ("c/node_modules/c/package.json", b'{"name":"c","version":"1"}')]
    assert names(catalog(image(tmp_path / "0", base))) == {"libssl3", "libc6", "cdebconf", "Flask_Login", "a", "b", "c"}
    for number, (top, gone) in enumerate((
            ([("app/site/.wh.flask_login-0.6.2.dist-info", b"")], {"Flask_Login"}),
            ([("b/.wh.x", b"")], {"a"}),
            ([("b/.wh..wh..opq", b"")], {"a", "b"}),
            ([(".wh..wh..opq", b"")], {"libssl3", "libc6", "cdebconf", "Flask_Login", "a", "b", "c"}),
            ([("b", b"a file now")], {"a", "b"}),
            ([("b/x", ("symlink", "y"))], {"a"}),
            ([("c/node_modules/c/package.json", None)], {"c"}),
            ([("c/node_modules/c/package.json", b"{}")], {"c"}),
            ([("b/.wh..wh.plnk", b"")], set()),
            ([("b", None)], set()))):
        found = catalog(image(tmp_path / f"{number + 1}", base, top))  # type: ignore[arg-type]
        assert {"libssl3", "libc6", "cdebconf", "Flask_Login", "a", "b", "c"} - names(found) == gone, top


def test_what_an_opaque_layer_brings_itself_stays(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [(_SITE, METADATA)],
                          [("app/.wh..wh..opq", b""), ("app/n/package.json", b'{"name":"n","version":"1"}')]))
    assert names(found) == {"n"}


def test_a_whiteout_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="a whiteout of nothing"):
        catalog(image(tmp_path / "i", [("a/.wh...", b"")]))


def test_hard_links_have_their_targets_content(tmp_path: Path) -> None:
    store = ("store/00ab", b'{"name":"linked","version":"2"}')
    link = ("app/node_modules/linked/package.json", ("link", "store/00ab"))
    assert names(catalog(image(tmp_path / "1", [store, link]))) == {"linked"}
    found = catalog(image(tmp_path / "2", [link]))
    assert [unknown.kind for unknown in found.unknowns] == ["hard link into another layer"]
    # What is below under a name that tells nothing was not read; what was read there is known.
    found = catalog(image(tmp_path / "3", [store], [link]))
    assert [unknown.kind for unknown in found.unknowns] == ["hard link into another layer"]
    below = ("old/package.json", store[1])
    found = catalog(image(tmp_path / "4", [below], [(link[0], ("link", below[0]))]))
    assert (names(found), found.unknowns) == ({"linked"}, ())
    found = catalog(image(tmp_path / "5", [below], [("os/PKG-INFO", b""), ("a.egg-info", ("link", below[0]))]))
    assert "hard link into another layer" in [unknown.kind for unknown in found.unknowns]


def test_a_package_belongs_to_the_layer_that_brought_it_last(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [(_SITE, METADATA)], [(_SITE, METADATA)]))
    assert [place.layer for place in found.packages[0].locations] == [found.layers[1].digest]


def test_more_facts_than_a_layer_may_have(tmp_path: Path) -> None:
    members = [(f"{number}/package.json", b"{}") for number in range(50)]
    with pytest.raises(MalformedError, match="more than 40 packages"):
        catalog(image(tmp_path / "i", members), limits=Limits(facts=40))


def test_tar_absolute_names(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", [("/usr", None), (f"/{_SITE}", METADATA), ("/etc/../etc/os-release", OS_RELEASE)],
                   [("/app/site/.wh.other", b"")])
    found = catalog(stored)
    assert names(found) == {"Flask_Login"}
    assert found.distribution
    assert found.packages[0].locations[0].path == _SITE
    assert names(catalog(image(tmp_path / "w", [(_SITE, METADATA)], [("/app/.wh.site", b"")]))) == set()


def test_tar_root_entry(tmp_path: Path) -> None:
    for number, root in enumerate(("/", "./", ".", "", "a/..", "//")):
        assert names(catalog(image(tmp_path / f"{number}", [(root, None), (_SITE, METADATA)], [(root, None)]))) == {
            "Flask_Login"}


@pytest.mark.parametrize("links", [
    [("etc/os-release", ("symlink", "../usr/lib/os-release")), ("usr/lib/os-release", OS_RELEASE)],
    [("etc/os-release", ("symlink", "/opt/release")), ("opt/release", OS_RELEASE)],
    [("etc/os-release", ("symlink", "../../../opt/a")), ("opt/a", ("symlink", "b")), ("opt/b", OS_RELEASE)],
    [("etc", ("symlink", "data/etc")), ("data/etc/os-release", OS_RELEASE)],
    [("etc", ("symlink", "data/etc")), ("etc/os-release", OS_RELEASE)],
    [("usr", ("symlink", "data")), ("data/lib/os-release", OS_RELEASE)],
    [("etc/os-release", ("symlink", "os-release")), ("usr/lib/os-release", OS_RELEASE)],
    [("etc/os-release", ("symlink", "nowhere")), ("usr/lib/os-release", OS_RELEASE)]])
def test_symlinked_os_release(tmp_path: Path, links: list[Member]) -> None:
    whole = catalog(image(tmp_path / "1", links))
    apart = catalog(image(tmp_path / "2", *[[link] for link in links]), _Cache())
    assert whole.distribution == apart.distribution
    assert whole.distribution
    assert whole.distribution.id == "debian"


def test_databases_behind_links(tmp_path: Path) -> None:
    debs = {"libssl3", "libc6", "cdebconf"}
    for number, layers in enumerate((
            [[("var/lib/dpkg/status", ("symlink", "../../../data/status")), ("data/status", STATUS)]],
            [[("var/lib/dpkg", ("symlink", "/data")), ("data/status", STATUS)]],
            [[("var/lib/dpkg", ("symlink", "/data"))], [("var/lib/dpkg/status", STATUS)]],
            [[("data/status", STATUS)], [("var", ("symlink", "v")), ("v/lib/dpkg", ("symlink", "../../data"))]],
            [[("data/debs/a", STATUS)], [("var/lib/dpkg/status.d", ("symlink", "../../../data/debs"))]])):
        cache = _Cache()
        stored = image(tmp_path / f"{number}", *layers)  # type: ignore[arg-type]
        assert names(catalog(stored, cache)) == names(catalog(stored, cache)) == debs, layers


def test_what_a_layer_has_behind_a_link_of_a_layer_below_hides_nothing(tmp_path: Path) -> None:
    """Runtimes differ: overlayfs has a folder in the link's place, and what it led to stays."""
    old, new = b"P:a\nV:1\n", b"P:a\nV:2\n"
    base: list[Member] = [("lib", ("symlink", "usr/lib")), ("usr/lib/apk/db/installed", old)]
    for number, (top, versions) in enumerate((
            ([("lib/apk/db/installed", new)], {"1", "2"}),
            ([("lib/apk/db/.wh.installed", b"")], {"1"}),
            ([("lib/apk/.wh..wh..opq", b"")], {"1"}),
            ([("lib", None), ("lib/apk/.wh.db", b"")], {"1"}),
            ([("lib", None), ("lib/apk/db/installed", new)], {"1", "2"}),
            ([("usr/lib/apk/.wh.db", b"")], set()))):
        found = catalog(image(tmp_path / f"{number}", base, top))  # type: ignore[arg-type]
        assert {package.version for package in found.packages} == versions, top
    moved = catalog(image(tmp_path / "moved", [("var/lib/dpkg", ("symlink", "/a/b"))],
                          [("var/lib/dpkg/status", STATUS)], [("a/.wh.b", b"")]))
    assert "libc6" in names(moved)


def test_links_in_circles_end(tmp_path: Path) -> None:
    circle: list[Member] = [("a", ("symlink", "b")), ("b", ("symlink", "a"))]
    assert names(catalog(image(tmp_path / "1", [*circle, (_SITE, METADATA)]))) == {"Flask_Login"}
    with pytest.raises(MalformedError, match="more than 255 symbolic links"):
        catalog(image(tmp_path / "2", [*circle, ("a/package.json", b'{"name":"n","version":"1"}')]))
    with pytest.raises(MalformedError, match="more than 100 parts of names"):
        catalog(image(tmp_path / "3", [("a", ("symlink", "x/../" * 60)), *[(f"a/{n}/b", b"") for n in range(9)]]),
                limits=Limits(steps=100))


def test_names_that_differ_in_bytes_are_two_files(tmp_path: Path) -> None:
    latin, escaped = "a\udcff", "a\\xff"
    package = b'{"name":"n","version":"%d"}'
    found = catalog(image(tmp_path / "i", [
        (f"{latin}/package.json", package % 1), (f"{escaped}/package.json", package % 2),
        ("c\nd/x.dist-info/METADATA", METADATA)]))
    assert {package.version for package in found.packages} == {"1", "2", "0.6.2"}
    gone = catalog(image(tmp_path / "j", [(f"{latin}/package.json", package % 1)], [(f".wh.{escaped}", b"")]))
    assert names(gone) == {"n"}


def test_a_later_entry_of_a_name_counts_whatever_was_linked(tmp_path: Path) -> None:
    one, two = b'{"name":"one","version":"1"}', b'{"name":"two","version":"1"}'
    path = "app/package.json"
    assert names(catalog(image(tmp_path / "1", [("store/package.json", one), (path, ("link", "store/package.json")),
                                                (path, two)]))) == {"one", "two"}
    assert names(catalog(image(tmp_path / "2", [("store/00", one), (path, ("link", "store/00")),
                                                ("store/00", two)]))) == {"one"}


class _Cache(dict[str, bytes]):
    def put(self, key: str, value: bytes) -> None:
        self[key] = value


def test_known_layers_are_not_opened(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", [(_SITE, METADATA), ("etc/os-release", OS_RELEASE)], [("b/.wh.x", b"")])
    cache = _Cache()
    first = catalog(stored, cache)
    for layer in stored.manifest.layers:
        (tmp_path / "i/blobs/sha256" / layer.digest[7:]).unlink()
    assert catalog(stored, cache) == first
    for key in cache:
        cache[key] = cache[key][:-3]
    with pytest.raises(CustodyError):  # what is broken is not believed
        catalog(stored, cache)
    with pytest.raises(CustodyError):
        catalog(stored, _Cache())


def test_a_known_diff_id_does_not_vouch_for_another_blob(tmp_path: Path) -> None:
    good, bad = tar([(_SITE, METADATA)]), tar([("app/evil/package.json", b'{"name":"evil","version":"1"}')])
    cache = _Cache()
    catalog(open_layout(layout(tmp_path / "good", [good])), cache)
    with pytest.raises(VerificationError, match="the image config says"):
        catalog(open_layout(layout(tmp_path / "bad", [bad], diff_ids={0: sha256(good)})), cache)


@given(st.binary(max_size=2000))
def test_random_bytes_as_a_layer_raise_only_our_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for media_type in (GZIP, ZSTD, PLAIN):
        folder = tmp_path_factory.mktemp("fuzz") / "i"
        layout(folder, [b""], PLAIN)
        stored = open_layout(folder)
        (folder / "blobs/sha256" / sha256(data)[7:]).write_bytes(data)
        with pytest.raises(CustodyError):
            read_layer(stored, Descriptor(media_type, sha256(data), len(data)), "sha256:" + "0" * 64)
