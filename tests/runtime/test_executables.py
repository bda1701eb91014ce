"""What is executed, beside what an image holds: each verdict, and what layers may do to names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from custody.errors import MalformedError, VerificationError
from custody.registry.image import open_layout
from custody.runtime.executables import Executables, Stated, Verdict, read
from custody.runtime.indexing import index
from custody.runtime.layerfiles import list_files
from tests.contents.images import GZIP, PLAIN, ZSTD, Member, layout, tar
from tests.fuzz import overlays

SHELL, TOOL, EVIL = b"\x7fELF shell", b"\x7fELF tool", b"\x7fELF evil"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files_of(folder: Path, *layers: Sequence[Member], media_type: str = GZIP) -> Executables:
    image = open_layout(layout(folder, [tar(members) for members in layers], media_type))
    return index([list_files(image, layer, diff) for layer, diff in
                  zip(image.manifest.layers, image.config.diff_ids, strict=True)],
                 digest=image.descriptor.digest, name="image", platform="linux/amd64",
                 blobs=[layer.digest for layer in image.manifest.layers])


@pytest.fixture
def files(tmp_path: Path) -> Executables:
    return files_of(tmp_path / "image", [("bin", ("symlink", "usr/bin")), ("usr/bin", None), ("usr/bin/dash", SHELL),
                                         ("usr/bin/sh", ("symlink", "dash")), ("usr/bin/tool", TOOL)],
                    [("opt/app/run", b"#!/bin/sh\n")])


@pytest.mark.parametrize("media_type", [GZIP, ZSTD, PLAIN])
def test_a_file_of_the_image_is_known(tmp_path: Path, media_type: str) -> None:
    files = files_of(tmp_path / "image", [("bin/sh", SHELL)], media_type=media_type)
    judged = files.judge("/bin/sh", sha(SHELL))
    assert (judged.verdict, judged.entry and judged.entry.layer) == (Verdict.KNOWN, files.layers[0])


@pytest.mark.parametrize("path", ["/usr/bin/dash", "/bin/sh", "/bin/dash", "usr/bin/sh", "/usr//bin/./dash",
                                  "/opt/../bin/sh"])
def test_links_of_the_image_are_followed(files: Executables, path: str) -> None:
    assert files.judge(path, sha(SHELL)).verdict is Verdict.KNOWN


def test_other_bytes_at_a_path_of_the_image_are_modified(files: Executables) -> None:
    judged = files.judge("/bin/sh", sha(EVIL))
    assert judged.verdict is Verdict.MODIFIED
    assert sha(EVIL) in judged.reason
    assert sha(SHELL) in judged.reason


def test_the_bytes_of_another_file_at_a_path_are_modified(files: Executables) -> None:
    """A shell that was copied over a tool is no tool."""
    assert files.judge("/usr/bin/tool", sha(SHELL)).verdict is Verdict.MODIFIED


def test_bytes_of_the_image_under_another_name_are_copied(files: Executables) -> None:
    judged = files.judge("/tmp/nginx", sha(SHELL))
    assert judged.verdict is Verdict.COPIED
    assert judged.entry is not None
    assert judged.entry.path == "usr/bin/dash"


def test_what_the_image_does_not_have_is_unknown(files: Executables) -> None:
    assert files.judge("/tmp/x", sha(EVIL)).verdict is Verdict.UNKNOWN


def test_bytes_that_nobody_read_are_not_judged(files: Executables) -> None:
    assert files.judge("/bin/sh", None).verdict is Verdict.NOT_JUDGED
    assert files.judge("/tmp/x", None).verdict is Verdict.UNKNOWN
    assert files.judge("/bin/sh", None, upper=True).verdict is Verdict.MODIFIED


@pytest.mark.parametrize(("path", "digest", "verdict"), [
    ("/data/x", sha(EVIL), Verdict.VOLUME), ("/data/x", None, Verdict.VOLUME), ("/data/sh", sha(SHELL), Verdict.VOLUME),
    ("/database/x", sha(EVIL), Verdict.UNKNOWN), ("/data", sha(EVIL), Verdict.VOLUME)])
def test_volumes_are_their_own_verdict(files: Executables, path: str, digest: str | None, verdict: Verdict) -> None:
    assert files.judge(path, digest, volumes=("/data/",)).verdict is verdict


def test_a_volume_over_a_folder_of_the_image_excuses_no_file_of_the_image(files: Executables) -> None:
    assert files.judge("/usr/bin/dash", sha(SHELL), volumes=("/usr/bin",)).verdict is Verdict.KNOWN
    assert files.judge("/usr/bin/dash", sha(EVIL), volumes=("/usr/bin",)).verdict is Verdict.VOLUME


def test_the_root_is_no_volume(files: Executables) -> None:
    assert files.judge("/tmp/x", sha(EVIL), volumes=("/",)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("path", "digest", "verdict"), [
    ("/memfd:x (deleted)", sha(EVIL), Verdict.UNKNOWN), ("memfd:x", None, Verdict.UNKNOWN),
    ("/memfd:runc_cloned:/proc/self/exe (deleted)", sha(SHELL), Verdict.COPIED),
    ("/proc/self/fd/3", sha(SHELL), Verdict.KNOWN), ("/dev/fd/3", sha(EVIL), Verdict.UNKNOWN),
    ("/usr/bin/tool (deleted)", sha(TOOL), Verdict.KNOWN), ("/tmp/x (deleted)", sha(EVIL), Verdict.UNKNOWN)])
def test_files_without_a_name(files: Executables, path: str, digest: str | None, verdict: Verdict) -> None:
    assert files.judge(path, digest).verdict is verdict


def test_a_name_may_end_as_deleted_ones_do(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("x (deleted)", TOOL)])
    assert files.judge("/x (deleted)", sha(TOOL)).verdict is Verdict.KNOWN


def test_whiteouts_take_files_away(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("bin/a", SHELL), ("lib/x/b", TOOL), ("lib/x/c", EVIL)],
                     [("bin/.wh.a", b""), ("lib/x/.wh..wh..opq", b""), ("lib/x/new", b"new")])
    assert sorted(entry.path for entry in files.entries()) == ["lib/x/new"]
    assert files.judge("/bin/a", sha(SHELL)).verdict is Verdict.UNKNOWN


def test_an_opaque_folder_counts_wherever_it_stands_in_its_layer(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("x/old", TOOL)], [("x/new", SHELL), ("x/.wh..wh..opq", b"")])
    assert [entry.path for entry in files.entries()] == ["x/new"]


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("bin/busybox", SHELL), ("bin/ls", ("link", "bin/busybox"))],
                     [("bin/.wh.busybox", b""), ("bin/cat", ("link", "bin/ls"))])
    assert {entry.path: entry.sha256 for entry in files.entries()} == dict.fromkeys(("bin/ls", "bin/cat"), sha(SHELL))


def test_a_layer_above_takes_the_place_of_a_file(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("bin/a", SHELL)], [("bin/a", TOOL)])
    assert files.judge("/bin/a", sha(TOOL)).verdict is Verdict.KNOWN
    assert files.judge("/bin/a", sha(SHELL)).verdict is Verdict.MODIFIED


def test_an_entry_behind_a_link_of_a_layer_below_is_known_at_both_places(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("lib", ("symlink", "usr/lib")), ("usr/lib/a", TOOL)], [("lib/b", SHELL)])
    for path in ("/lib/b", "/usr/lib/b"):
        assert files.judge(path, sha(SHELL)).verdict is Verdict.KNOWN
    assert files.judge("/usr/lib/a", sha(TOOL)).verdict is Verdict.KNOWN


def test_an_entry_behind_a_link_of_its_own_layer_goes_where_it_leads(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("lib", ("symlink", "usr/lib")), ("lib/b", SHELL)])
    assert [entry.path for entry in files.entries()] == ["usr/lib/b"]
    assert files.judge("/lib/b", sha(SHELL)).verdict is Verdict.KNOWN


def test_links_in_circles_end(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("a", ("symlink", "b")), ("b", ("symlink", "a")), ("c", SHELL)])
    assert files.judge("/a", sha(SHELL)).verdict is Verdict.COPIED
    with pytest.raises(MalformedError, match="in circles"):
        files_of(tmp_path / "other", [("a", ("symlink", "b")), ("b", ("symlink", "a")), ("a/c", SHELL)])


def test_a_link_that_climbs_stays_in_the_image(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("bin/sh", ("symlink", "../../../../x")), ("x", SHELL)])
    assert files.judge("/bin/sh", sha(SHELL)).verdict is Verdict.KNOWN


def test_names_that_are_no_utf8_are_those_that_the_kernel_says(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("bin/\udcff", SHELL)])
    assert files.judge("/bin/\udcff", sha(SHELL)).verdict is Verdict.KNOWN
    assert files.judge("/bin/\\xff", sha(SHELL)).verdict is not Verdict.KNOWN


def test_a_layer_with_another_digest_is_refused(tmp_path: Path) -> None:
    place = layout(tmp_path / "image", [tar([("a", SHELL)])], diff_ids={0: "sha256:" + "0" * 64})
    image = open_layout(place)
    with pytest.raises(VerificationError, match="its uncompressed bytes are"):
        list_files(image, image.manifest.layers[0], image.config.diff_ids[0])


def test_it_is_read_as_it_was_written(files: Executables) -> None:
    again = read(files.to_bytes())
    assert again is not None
    assert list(again.entries()) == list(files.entries())
    assert again.judge("/bin/sh", sha(SHELL)) == files.judge("/bin/sh", sha(SHELL))


def test_what_a_disk_changed_is_not_read(files: Executables) -> None:
    data = bytearray(files.to_bytes())
    data[len(data) // 2] ^= 1
    assert read(bytes(data)) is None
    assert read(b"") is None


def test_packages_own_files(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [
        ("bin", ("symlink", "usr/bin")), ("usr/bin/dash", SHELL), ("usr/bin/other", TOOL),
        ("var/lib/dpkg/info/dash.list", b"/.\n/bin\n/bin/dash\n")])
    assert {entry.path: entry.owner for entry in files.entries() if entry.path.startswith("usr/bin")} == {
        "usr/bin/dash": "deb dash", "usr/bin/other": ""}


def test_an_sbom_that_states_another_digest_is_said(files: Executables) -> None:
    compared = files.compared([("/usr/bin/dash", sha(SHELL)), ("./usr/bin/tool", sha(EVIL))], "builder@example.org")
    assert compared.at("/usr/bin/dash")[0].stated is Stated.SAME
    assert compared.at("/usr/bin/tool")[0].stated is Stated.ANOTHER
    assert compared.at("/opt/app/run")[0].stated is Stated.NOTHING
    assert (read(compared.to_bytes()) or files).sbom == "builder@example.org"


def test_random_layers_beside_a_real_file_system() -> None:
    compared, wrong = overlays.run(range(1000, 1150))
    assert wrong == []
    assert compared > 20


def test_an_entry_behind_a_link_to_the_root_is_known_there(tmp_path: Path) -> None:
    files = files_of(tmp_path / "image", [("b", ("symlink", "/"))], [("b/bin/x", SHELL)])
    assert files.judge("/bin/x", sha(SHELL)).verdict is Verdict.KNOWN
