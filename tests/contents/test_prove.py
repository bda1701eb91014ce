"""`sbom --prove`: every file that is not what its package says is named, and none that is."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.run import run as invoke
from custody.errors import CustodyError
from custody.formats.bom import Proof
from custody.sbom.catalog import catalog, catalog_folder
from custody.sbom.folder import Folder
from custody.sbom.proof import statements
from tests.contents import rpms
from tests.contents.images import OS_RELEASE, Member, image, layout, tar

STATUS = (b"Package: coreutils\nStatus: install ok installed\nVersion: 9.1-1\nArchitecture: amd64\n"
          b"Conffiles:\n /etc/core.conf " + hashlib.md5(b"as shipped").hexdigest().encode() + b"\n\n")


def record(files: dict[str, bytes]) -> bytes:
    digests = {path: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for path, data in files.items()}
    lines = [f"{path},sha256={digest.decode().rstrip('=')},1" for path, digest in digests.items()]
    return "\n".join([*lines, "pkg-1.dist-info/RECORD,,", ""]).encode()


def wheel(files: dict[str, bytes], site: str = "usr/lib/python3/site-packages") -> list[Member]:
    metadata = b"Metadata-Version: 2.1\nName: pkg\nVersion: 1\n"
    files = {**files, "pkg-1.dist-info/METADATA": metadata}
    return [*((f"{site}/{path}", data) for path, data in files.items()),
            (f"{site}/pkg-1.dist-info/RECORD", record(files))]


def debian(files: dict[str, bytes], listed: Sequence[str] = ()) -> list[Member]:
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files.items()).encode()
    names = "".join(f"/{path}\n" for path in (*files, *listed)).encode()
    return [("etc/os-release", OS_RELEASE), ("etc/debian_version", b"12\n"), *files.items(),
            ("etc/core.conf", b"as shipped"), ("var/lib/dpkg/status", STATUS),
            ("var/lib/dpkg/info/coreutils.md5sums", sums),
            ("var/lib/dpkg/info/coreutils.list", b"/.\n" + names)]


def alpine(files: dict[str, bytes]) -> list[Member]:
    lines = ["P:busybox", "V:1.36-r0", "A:x86_64"]
    for path, data in files.items():
        folder, _, base = path.rpartition("/")
        lines += [f"F:{folder}", f"R:{base}", "Z:Q1" + base64.b64encode(hashlib.sha1(data).digest()).decode()]
    database = "\n".join(lines).encode() + b"\n\n"
    return [("etc/alpine-release", b"3.20\n"), *files.items(), ("lib/apk/db/installed", database)]


def redhat(files: dict[str, bytes]) -> list[Member]:
    core = rpms.header("core", "1", "1", files=[f"/{path}" for path in files], FILEDIGESTALGO=8,
                       DIGESTS=[hashlib.sha256(data).hexdigest() for data in files.values()])
    return [*files.items(), ("var/lib/rpm/rpmdb.sqlite", rpms.sqlite([core]))]


def arch(files: dict[str, bytes]) -> list[Member]:
    tree = "#mtree\n/set type=file uid=0\n" + "".join(
        f"./{path} time=1.0 size={len(data)} sha256digest={hashlib.sha256(data).hexdigest()}\n"
        for path, data in files.items())
    return [*files.items(), ("var/lib/pacman/local/core-1-1/mtree", gzip.compress(tree.encode())),
            ("var/lib/pacman/local/core-1-1/desc", b"%NAME%\ncore\n\n%VERSION%\n1-1\n\n")]


def conda(files: dict[str, bytes]) -> list[Member]:
    paths = [{"_path": path, "sha256": "0" * 64, "sha256_in_prefix": hashlib.sha256(data).hexdigest(),
              "path_type": "hardlink"} for path, data in files.items()]
    document = {"name": "core", "version": "1", "paths_data": {"paths": paths}}
    return [*((f"opt/conda/{path}", data) for path, data in files.items()),
            ("opt/conda/conda-meta/core-1-0.json", json.dumps(document).encode())]


def proof(folder: Path, *layers: Sequence[Member]) -> Proof:
    proven = catalog(image(folder, *layers), prove=True).proof
    assert proven is not None
    return proven


def states(proven: Proof) -> dict[str, str]:
    return {entry.path: entry.state for entry in proven.differences}


@pytest.mark.parametrize("make", [debian, alpine, redhat, wheel, arch, conda])
def test_a_byte_flipped_in_a_thousand_files_is_found_a_thousand_times(make: object, tmp_path: Path) -> None:
    assert callable(make)
    files = {f"pkg/lib/file{number}": b"content %d" % number * 20 for number in range(1000)}
    members = make(files)
    assert proof(tmp_path / "same", members).counts == ()
    bent = [(path, data[:7] + bytes([data[7] ^ 1]) + data[8:]) if "/file" in path else (path, data)
            for path, data in members]
    proven = proof(tmp_path / "bent", bent)
    assert (proven.count("changed"), proven.same) == (1000, proven.stated - 1000)


def test_what_a_later_layer_put_there_is_named_with_the_layer(tmp_path: Path) -> None:
    packed = image(tmp_path, debian({"usr/bin/ls": b"list", "usr/bin/cp": b"copy"}), [("usr/bin/ls", b"evil")])
    proven = catalog(packed, prove=True).proof
    assert proven is not None
    [difference] = proven.differences
    assert (difference.path, difference.state) == ("usr/bin/ls", "changed")
    assert difference.layer == packed.manifest.layers[1].digest
    assert difference.package == "pkg:deb/debian/coreutils@9.1-1?arch=amd64&distro=debian-12"
    assert difference.reason == "another layer than its package's put it there"


def test_a_wheels_list_vouches_for_no_file_of_the_systems(tmp_path: Path) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"evil").digest()).rstrip(b"=").decode()
    proven = proof(tmp_path, debian({"usr/bin/ls": b"list"}), [
        ("usr/bin/ls", b"evil"), ("srv/a-1.dist-info/METADATA", b"Name: a\nVersion: 1\n"),
        ("srv/a-1.dist-info/RECORD", f"../usr/bin/ls,sha256={digest},4\n".encode())])
    assert states(proven) == {"usr/bin/ls": "changed"}


def test_the_visible_file_counts(tmp_path: Path) -> None:
    """A layer that puts the right file back makes it right; one that takes it away makes it missing."""
    files = {"usr/bin/ls": b"list", "usr/bin/cp": b"copy"}
    proven = proof(tmp_path, debian(files), [("usr/bin/ls", b"evil"), ("usr/bin/.wh.cp", b"")],
                   [("usr/bin/ls", b"list")])
    assert states(proven) == {"usr/bin/cp": "missing"}


def test_an_opaque_folder_hides_what_is_below(tmp_path: Path) -> None:
    proven = proof(tmp_path, debian({"usr/bin/ls": b"list"}), [("usr/bin/.wh..wh..opq", b""), ("usr/bin/cp", b"x")])
    assert states(proven) == {"usr/bin/ls": "missing", "usr/bin/cp": "unowned"}


def test_merged_folders_links_and_hard_links_are_followed(tmp_path: Path) -> None:
    files = {"bin/ls": b"list", "bin/dir": b"list"}
    members = [(f"usr/{path}" if path in files else path, data) for path, data in debian(files)]
    members = [entry for entry in members if entry[0] != "usr/bin/dir"]
    proven = proof(tmp_path, [("bin", ("symlink", "usr/bin")), *members, ("usr/bin/dir", ("link", "usr/bin/ls"))])
    assert (proven.same, proven.differences) == (3, ())


def test_a_link_in_a_files_place_is_a_change_where_it_leads_to_another(tmp_path: Path) -> None:
    proven = proof(tmp_path, debian({"usr/bin/ls": b"list"}),
                   [("opt/evil", b"evil"), ("usr/bin/ls", ("symlink", "/opt/evil"))])
    [difference] = proven.differences
    assert (difference.state, difference.reason) == ("changed", "it is a symbolic link to opt/evil")


def test_apks_links_are_stated_by_what_they_say(tmp_path: Path) -> None:
    """And a busybox that was changed is one change, however many links lead to it."""
    lines = (b"P:busybox\nV:1\nA:x86_64\nF:bin\nR:busybox\nZ:Q1" + base64.b64encode(hashlib.sha1(b"box").digest())
             + b"\nR:ls\nZ:Q1" + base64.b64encode(hashlib.sha1(b"/bin/busybox").digest()) + b"\n\n")
    members: list[Member] = [("bin/ls", ("symlink", "/bin/busybox")), ("lib/apk/db/installed", lines)]
    assert proof(tmp_path / "same", [("bin/busybox", b"box"), *members]).same == 2
    assert states(proof(tmp_path / "bent", [("bin/busybox", b"bad"), *members])) == {"bin/busybox": "changed"}
    swapped = proof(tmp_path / "link", [("bin/busybox", b"box"), *members], [("bin/ls", ("symlink", "/tmp/x"))])
    assert states(swapped) == {"bin/ls": "changed"}


def test_configuration_is_told_apart(tmp_path: Path) -> None:
    proven = proof(tmp_path, [*debian({}), ("etc/core.conf", b"mine")])
    assert states(proven) == {"etc/core.conf": "configuration"}


def test_diverted_files_are_where_they_were_put(tmp_path: Path) -> None:
    proven = proof(tmp_path, [*debian({"usr/bin/cp": b"copy"}), ("usr/bin/cp", b"other"),
                              ("usr/bin/cp.distrib", b"copy"),
                              ("var/lib/dpkg/diversions", b"/usr/bin/cp\n/usr/bin/cp.distrib\ndash\n")])
    assert (proven.same, states(proven)) == (2, {"usr/bin/cp": "unowned"})


def test_files_that_were_added_to_a_package_are_named(tmp_path: Path) -> None:
    """Python's own compiled files are not; a compiled file without a source is code that nobody states."""
    site = "usr/lib/python3/site-packages"
    added: list[Member] = [(f"{site}/pkg/extra.py", b"evil"), (f"{site}/pkg/__pycache__/mod.cpython-311.pyc", b"x"),
                           (f"{site}/pkg/__pycache__/gone.cpython-311.pyc", b"x")]
    proven = proof(tmp_path, wheel({"pkg/mod.py": b"import this"}), added)
    assert states(proven) == {f"{site}/pkg/extra.py": "added", f"{site}/pkg/__pycache__/gone.cpython-311.pyc": "added"}
    assert {entry.package for entry in proven.differences} == {"pkg:pypi/pkg@1"}


def test_programs_that_are_nobodys_are_named(tmp_path: Path) -> None:
    proven = proof(tmp_path, debian({"usr/bin/ls": b"list"}, ["usr/bin/made"]),
                   [("usr/bin/made", b"x"), ("usr/bin/miner", b"x"), ("usr/lib/x.pyc", b"")])
    assert states(proven) == {"usr/bin/miner": "unowned"}


def test_a_wrong_guess_of_the_digest_reads_the_layer_again(tmp_path: Path) -> None:
    """Where nothing in front says which distribution it is, or a package is where none is looked for."""
    assert proof(tmp_path / "a", wheel({"pkg/a": b"a"}, "srv/unusual")).same == 2
    bent = [(path, b"bad" if path.endswith("/a") else data) for path, data in wheel({"pkg/a": b"a"}, "srv/unusual")]
    assert states(proof(tmp_path / "b", bent)) == {"srv/unusual/pkg/a": "changed"}


def test_what_states_nothing_is_counted_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    proven = proof(tmp_path, [("app/node_modules/a/package.json", b'{"name":"a","version":"1"}'),
                              ("x/pkg-1.dist-info/RECORD", b"a,sha256=!!!,3\n")])
    assert proven.unproven == (("npm", 1),)
    assert proven.unreadable == ("x/pkg-1.dist-info/RECORD: a digest that is no base64",)


def test_folders_are_proven_too(tmp_path: Path) -> None:
    for path, data in wheel({"pkg/a.py": b"a", "pkg/b.py": b"b"}, ".venv/lib/python3.11/site-packages"):
        assert isinstance(data, bytes)
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (tmp_path / ".venv/lib/python3.11/site-packages/pkg/b.py").write_bytes(b"B")
    result, _ = catalog_folder(Folder(path=tmp_path, declared=True), "directory", prove=True)
    assert result.proof is not None
    assert states(result.proof) == {".venv/lib/python3.11/site-packages/pkg/b.py": "changed"}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    layout(tmp_path / "good", [tar(debian({"usr/bin/ls": b"list"}))])
    layout(tmp_path / "bad", [tar(debian({"usr/bin/ls": b"list"})), tar([("usr/bin/ls", b"evil")])])
    layout(tmp_path / "none", [tar([("etc/os-release", OS_RELEASE)])])

    def run(*arguments: str) -> tuple[int, str, str]:
        code = invoke(["sbom", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    assert run("oci:good", "--prove", "--fail-on-changed")[0] == 0
    code, table, said = run("oci:bad", "--prove", "--fail-on-changed")
    assert code == 3
    assert table.splitlines()[1].split()[:2] == ["changed", "usr/bin/ls"]
    assert "1 file not as its package says, first: usr/bin/ls: changed" in said
    assert "proven: 1 of 2 files" in said
    assert run("oci:none", "--prove", "--fail-on-changed")[0] == 4
    assert run("oci:good", "--fail-on-changed")[0] == 2
    assert run("oci:good", "-o", "proof")[0] == 2
    assert json.loads(run("oci:bad", "--prove", "-o", "proof")[1])["counts"] == {"changed": 1}
    document = json.loads(run("oci:bad", "--prove", "-o", "cyclonedx-json")[1])
    values = {entry["name"]: entry["value"] for entry in document["metadata"]["component"]["properties"]}
    assert values["custody:proof:changed"].startswith("usr/bin/ls pkg:deb/debian/coreutils@9.1-1")


@given(st.sampled_from(sorted(statements.READERS)), st.binary(max_size=300))
def test_lists_of_any_bytes_are_read_or_refused(kind: str, content: bytes) -> None:
    try:
        list(statements.READERS[kind]("a/b-1.dist-info/RECORD", content))
    except (CustodyError, ValueError):
        pass


def test_a_byte_flipped_in_a_large_file_is_found(tmp_path: Path) -> None:
    sizes = (2046, 2047, 2048, 4094, 4095, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3 << 20, 5 << 20)
    files = {f"usr/bin/f{size}": bytes([size % 251]) * size for size in sizes}
    assert proof(tmp_path / "same", debian(files), [("usr/bin/again", ("link", "usr/bin/f5242880"))]).count(
        "changed") == 0
    members = [(path, data[:-1] + b"\xff") if path in files and isinstance(data, bytes) else (path, data)
               for path, data in debian(files)]
    proven = proof(tmp_path / "bent", members)
    assert states(proven) == dict.fromkeys(files, "changed")


def test_a_large_file_and_its_hard_link_have_one_digest(tmp_path: Path) -> None:
    large = b"large" * 100_000
    members = debian({"usr/bin/a": large, "usr/bin/b": large})
    members = [(path, ("link", "usr/bin/a")) if path == "usr/bin/b" else (path, data) for path, data in members]
    assert proof(tmp_path, members).differences == ()
