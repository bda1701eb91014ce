"""One test per kind of file that says which packages there are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.bom import Package
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import choose, read
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, go_program, image, rust_program

_APK = b"""C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl
m:Someone <a@example.org>
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1

P:ssl_client
V:1.36.1-r29
A:x86_64
L:GPL-2.0-only
o:busybox
D:so:libc.musl-x86_64.so.1 !conflict
"""


def packages(folder: Path, *members: Member) -> dict[str, Package]:
    return {package.purl: package for package in catalog(image(folder, members)).packages}


def test_debian(tmp_path: Path) -> None:
    copyright_ = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: Apache-2.0\n"
    found = packages(tmp_path / "i", ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS),
                     ("usr/share/doc/libssl3/copyright", copyright_))
    ssl = found["pkg:deb/debian/libssl3@3.0.11-1%2Bb1?arch=amd64&distro=debian-12"]
    assert (ssl.ecosystem, ssl.source, ssl.source_version) == ("Debian:12", "openssl", "3.0.11-1")
    assert ssl.licenses == ("Apache-2.0",)
    assert ssl.supplier == "Debian OpenSSL Team <pkg@example.org>"
    assert [ref.split("@")[0] for ref in ssl.requires] == ["pkg:deb/debian/cdebconf", "pkg:deb/debian/libc6"]
    assert len(found) == 3  # not the one that is only configured


def test_distroless_debian(tmp_path: Path) -> None:
    found = packages(
        tmp_path / "i",
        ("var/lib/dpkg/status.d/tzdata", b"Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n"),
        ("var/lib/dpkg/status.d/tzdata.md5sums", b"0 usr/x\n"),
    )
    assert list(found) == ["pkg:deb/debian/tzdata@2024a-0?arch=all"]


def test_alpine(tmp_path: Path) -> None:
    found = packages(
        tmp_path / "i", ("etc/os-release", b"ID=alpine\nVERSION_ID=3.19.1\n"), ("lib/apk/db/installed", _APK)
    )
    client = found["pkg:apk/alpine/ssl_client@1.36.1-r29?arch=x86_64&distro=alpine-3.19.1"]
    assert (client.ecosystem, client.source, client.licenses) == ("Alpine:v3.19", "busybox", ("GPL-2.0-only",))
    assert client.requires == ("pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.19.1",)


def test_python(tmp_path: Path) -> None:
    flask = (
        b"Metadata-Version: 2.1\nName: Flask\nVersion: 2.0.1\nClassifier: License :: OSI Approved :: BSD License\n\n"
    )
    found = packages(tmp_path / "i", ("s/flask_login-0.6.2.dist-info/METADATA", METADATA),
                     ("s/flask-2.0.1.dist-info/METADATA", flask), ("t/old.egg-info", b"Name: old\nVersion: 1\n"),
                     ("u/older.egg-info/PKG-INFO", b"Name: older\nVersion: 1\n"), ("s/METADATA", METADATA))
    assert set(found) == {"pkg:pypi/flask-login@0.6.2", "pkg:pypi/flask@2.0.1", "pkg:pypi/old@1", "pkg:pypi/older@1"}
    assert found["pkg:pypi/flask-login@0.6.2"].requires == ("pkg:pypi/flask@2.0.1",)
    assert found["pkg:pypi/flask@2.0.1"].licenses == ("BSD License",)


def test_npm_finds_dependencies_where_node_would(tmp_path: Path) -> None:
    def module(name: str, version: str, *needs: str) -> bytes:
        return json.dumps({"name": name, "version": version, "license": "MIT", "author": {"name": "A"},
                           "dependencies": dict.fromkeys(needs, "*")}).encode()

    found = packages(tmp_path / "i", ("w/node_modules/a/package.json", module("a", "1.0.0", "b", "@s/c")),
                     ("w/node_modules/a/node_modules/b/package.json", module("b", "2.0.0", "@s/c")),
                     ("w/node_modules/b/package.json", module("b", "1.0.0")),
                     ("w/node_modules/@s/c/package.json", module("@s/c", "1.0.0")),
                     ("w/node_modules/a/esm/package.json", b'{"type":"module"}'))
    assert found["pkg:npm/a@1.0.0"].requires == ("pkg:npm/%40s/c@1.0.0", "pkg:npm/b@2.0.0")
    assert found["pkg:npm/b@2.0.0"].requires == ("pkg:npm/%40s/c@1.0.0",)
    assert found["pkg:npm/%40s/c@1.0.0"].name == "@s/c"
    assert len(found) == 4


def test_go_and_rust_programs(tmp_path: Path) -> None:
    modules = "path\texample.org/main\nmod\texample.org/main\t(devel)\t\ndep\tgolang.org/x/net\tv0.17.0\th1:x=\n" \
              "dep\texample.org/old\tv1.0.0\n=>\texample.org/new\tv1.1.0\th1:y=\n"
    crates = [
        {"name": "app", "version": "0.1.0", "root": True, "dependencies": [1, 2]},
        {"name": "serde", "version": "1.0.1"},
        {"name": "cc", "version": "1.0.0", "kind": "build"},
    ]
    found = packages(tmp_path / "i", ("usr/bin/go", go_program(modules)), ("usr/bin/rust", rust_program(crates)))
    assert set(found) == {
        "pkg:golang/example.org/main",
        "pkg:golang/golang.org/x/net@v0.17.0",
        "pkg:golang/stdlib@1.21.3",
        "pkg:golang/example.org/new@v1.1.0",
        "pkg:cargo/app@0.1.0",
        "pkg:cargo/serde@1.0.1",
    }
    assert found["pkg:cargo/app@0.1.0"].requires == ("pkg:cargo/serde@1.0.1",)
    assert "pkg:golang/stdlib@1.21.3" in found["pkg:golang/example.org/main"].requires


@pytest.mark.parametrize(("state", "there"), [
    ("install ok installed", True), ("hold ok installed", True), ("deinstall ok installed", True),
    ("install ok triggers-pending", True), ("install ok triggers-awaited", True), ("install ok half-configured", True),
    ("install ok unpacked", True), ("install reinstreq half-installed", False), ("deinstall ok config-files", False),
    ("purge ok not-installed", False), ("install ok nonsense", False)])
def test_dpkg_states(tmp_path: Path, state: str, there: bool) -> None:
    status = f"Package: ccc\nStatus: {state}\nArchitecture: amd64\nVersion: 1.0-1\n".encode()
    found = catalog(image(tmp_path, [("var/lib/dpkg/status", status)]))
    assert [package.name for package in found.packages] == (["ccc"] if there else [])
    assert [unknown.kind for unknown in found.unknowns] == (
        ["half-installed Debian package"] if "half-installed" in state else
        ["Debian package without a name, a version or a known state"] if "nonsense" in state else [])


@pytest.mark.parametrize("folder", ["../lib", "./lib", "..", ".", "/src/lib", "C:\\src\\lib", "..\\lib"])
def test_go_local_replace(tmp_path: Path, folder: str) -> None:
    modules = f"path\tx\nmod\texample.org/main\t(devel)\t\ndep\texample.com/lib\tv0.0.0\n=>\t{folder}\t(devel)\t\n"
    found = catalog(image(tmp_path, [("bin/app", go_program(modules))]))
    assert [package.purl for package in found.packages] == [
        "pkg:golang/example.com/lib", "pkg:golang/example.org/main", "pkg:golang/stdlib@1.21.3"]
    assert [(unknown.kind, unknown.count) for unknown in found.unknowns] == [
        ("Go module replaced by a local folder", 1)]


def test_rust_duplicates(tmp_path: Path) -> None:
    def crate(name: str, purl: str, **more: object) -> dict[str, object]:
        return {"bom-ref": name, "type": "library", "name": name.partition("#")[0], "version": "1.0.0", "purl": purl,
                **more}

    inner = {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
        crate("uv-client", "pkg:cargo/uv-client@1.0.0?download_url=file://.", components=[
            crate("uv-client#lib", "pkg:cargo/uv-client@1.0.0?download_url=file:%2F%2F..%2Fx#src/lib.rs")]),
        crate("uv-client#again", "pkg:cargo/uv-client@1.0.0"),
        crate("git", "pkg:cargo/git@1.0.0?download_url=https://x.example/a"),
        crate("cc", "pkg:cargo/cc@1.0.0", scope="excluded", components=[crate("in", "pkg:cargo/in-cc@1.0.0")]),
        crate("serde", "pkg:cargo/serde@1.0.0", scope="required")],
        "dependencies": [{"ref": "serde", "dependsOn": ["uv-client", "cc"]}]}
    found = packages(tmp_path / "i", ("s/uv-1.dist-info/sboms/uv.cyclonedx.json", json.dumps(inner).encode()))
    assert set(found) == {"pkg:cargo/uv-client@1.0.0", "pkg:cargo/serde@1.0.0",
                          "pkg:cargo/git@1.0.0?download_url=https:%2F%2Fx.example%2Fa"}
    assert found["pkg:cargo/serde@1.0.0"].requires == ("pkg:cargo/uv-client@1.0.0",)


def test_sboms_inside_wheels(tmp_path: Path) -> None:
    inner = {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
        {"bom-ref": "1", "type": "library", "name": "ryu", "version": "1.0.15", "purl": "pkg:cargo/ryu@1.0.15",
         "licenses": [{"expression": "Apache-2.0 OR BSL-1.0"}]},
        {"bom-ref": "2", "type": "library", "name": "orjson", "version": "3", "purl": "pkg:pypi/orjson@3"}]}
    path = "s/orjson-3.dist-info/sboms/orjson.cyclonedx.json"
    found = packages(tmp_path / "i", (path, json.dumps(inner).encode()))
    assert list(found) == ["pkg:cargo/ryu@1.0.15"]
    assert found["pkg:cargo/ryu@1.0.15"].licenses == ("Apache-2.0 OR BSL-1.0",)
    assert found["pkg:cargo/ryu@1.0.15"].locations[0].path == path


def test_what_the_distribution_installed_is_its_own(tmp_path: Path) -> None:
    listed = b"/.\n/lib/python3/dist-packages/flask_login-0.6.2.dist-info/METADATA\n/usr/share/doc/x\n"
    found = packages(tmp_path / "i", ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS),
                     ("var/lib/dpkg/info/libssl3:amd64.list", listed),
                     ("usr/lib/python3/dist-packages/flask_login-0.6.2.dist-info/METADATA", METADATA))
    assert found["pkg:pypi/flask-login@0.6.2"].owner.startswith("pkg:deb/debian/libssl3@")
    # A second copy that nobody owns makes the package the user's business again.
    found = packages(
        tmp_path / "j",
        ("etc/os-release", OS_RELEASE),
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/info/libssl3:amd64.list", listed),
        ("srv/flask_login-0.6.2.dist-info/METADATA", METADATA),
        ("usr/lib/python3/dist-packages/flask_login-0.6.2.dist-info/METADATA", METADATA),
    )
    assert found["pkg:pypi/flask-login@0.6.2"].owner == ""


def test_what_is_seen_and_not_read_is_counted_by_name(tmp_path: Path) -> None:
    found = catalog(
        image(
            tmp_path / "i",
            [
                ("var/lib/rpm/rpmdb.sqlite", b"x"),
                ("app/a.jar", b"PK"),
                ("app/b.jar", b"PK"),
                ("x/specifications/r.gemspec", b""),
                ("q/package.json", b'{"name":"\\ud800","version":"1"}'), ("s/x.dist-info/METADATA", b"nothing"),
                ("p/package.json", b"{"),
                ("a/app.deps.json", b"{"),
            ],
        )
    )
    assert {unknown.kind: unknown.count for unknown in found.unknowns} == {
        "unreadable rpm file": 1, "unreadable Java archive file": 2, "Ruby gem without a name and a version": 1,
        "unreadable python file": 1, "unreadable npm file": 2, "unreadable .NET dependencies file": 1}


_PATHS = ["var/lib/dpkg/status", "lib/apk/db/installed", "a.dist-info/METADATA", "package.json", "etc/os-release",
          "a.dist-info/sboms/x.json", "var/lib/dpkg/info/a.list", "usr/share/doc/a/copyright"]


@pytest.mark.parametrize("path", _PATHS)
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_hostile_files_never_raise(path: str, data: bytes) -> None:
    name = choose(path)
    assert name is not None
    read(name, path, data)


@given(st.data())
def test_hostile_binaries_never_raise(data: st.DataObject) -> None:
    program = bytearray(
        data.draw(st.sampled_from([go_program("mod\ta\tv1\n"), rust_program([{"name": "a", "version": "1"}])]))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        program[data.draw(st.integers(4, len(program) - 1))] = data.draw(st.integers(0, 255))
    read("program", "a", io.BytesIO(program))
