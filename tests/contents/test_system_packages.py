"""Packages of pacman, Portage, opkg, Chisel, snap, Homebrew, Nix and Bitnami, and of Linux itself."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard

from custody.formats.bom import Catalog, Package
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import choose, read
from tests.contents.images import METADATA, Member, elf, image

ARCH = b"ID=arch\nPRETTY_NAME=\"Arch Linux\"\n"
WHEEL = "usr/lib/python3.12/site-packages/flask_login-0.6.2.dist-info/METADATA"


def made(folder: Path, *members: Member) -> tuple[Catalog, dict[str, Package]]:
    found = catalog(image(folder, list(members)))
    return found, {package.name: package for package in found.packages}


def test_pacman(tmp_path: Path) -> None:
    desc = (b"%NAME%\npython-flask-login\n\n%VERSION%\n1:0.6.2-3\n\n%BASE%\nflask-login\n\n%ARCH%\nany\n\n%LICENSE%\n"
            b"MIT\nApache-2.0\n\n%PACKAGER%\nA <a@archlinux.org>\n\n%DEPENDS%\nglibc>=2.38\nlibz.so=1-64\n\n"
            b"%VALIDATION%\npgp\n")
    glibc = b"%NAME%\nglibc\n\n%VERSION%\n2.40-1\n\n%ARCH%\nx86_64\n\n%PROVIDES%\nlibz.so=1-64\n"
    found, packages = made(
        tmp_path, ("etc/os-release", ARCH), ("var/lib/pacman/local/python-flask-login-1:0.6.2-3/desc", desc),
        ("var/lib/pacman/local/python-flask-login-1:0.6.2-3/files", f"%FILES%\nusr/\nusr/lib/\n{WHEEL}\n".encode()),
        ("var/lib/pacman/local/glibc-2.40-1/desc", glibc), (WHEEL, METADATA))
    login = packages["python-flask-login"]
    assert login.purl == "pkg:alpm/arch/python-flask-login@1:0.6.2-3?arch=any"
    assert (login.source, login.licenses, login.supplier) == ("flask-login", ("MIT", "Apache-2.0"),
                                                              "A <a@archlinux.org>")
    assert login.requires == (packages["glibc"].purl,)
    assert (login.ecosystem, login.advised) == ("Arch Linux", ("python-flask-login", "1:0.6.2-3"))
    assert packages["Flask_Login"].owner == login.purl
    assert found.unknowns == ()


def test_portage(tmp_path: Path) -> None:
    contents = (b"dir /usr\nobj /usr/lib/python3.12/site-packages/flask_login-0.6.2.dist-info/METADATA "
                b"d41d8cd98f00b204e9800998ecf8427e 1700000000\nsym /usr/lib/a -> b 1700000000\n")
    folder = "var/db/pkg/dev-python/flask-login-0.6.2_p1-r3"
    found, packages = made(tmp_path, ("etc/os-release", b"ID=gentoo\nVERSION_ID=2.14\n"),
                           (f"{folder}/CONTENTS", contents), (f"{folder}/LICENSE", b"|| ( MIT BSD )\n"),
                           (WHEEL, METADATA))
    login = packages["dev-python/flask-login"]
    assert login.purl == "pkg:ebuild/dev-python/flask-login@0.6.2_p1-r3?distro=gentoo-2.14"
    assert (login.licenses, login.ecosystem) == (("MIT", "BSD"), "Gentoo")
    assert packages["Flask_Login"].owner == login.purl
    assert found.unknowns == ()


@pytest.mark.parametrize(("folder", "name", "version"), [
    ("a/b-1", "a/b", "1"), ("a/b-c-1.2.3b_rc4_p5-r6", "a/b-c", "1.2.3b_rc4_p5-r6"), ("a/x-2-3", "a/x-2", "3"),
    ("a/font-misc-100dpi-1.0.4", "a/font-misc-100dpi", "1.0.4"), ("a/gtk+-3.24", "a/gtk+", "3.24")])
def test_names_of_portage_packages(folder: str, name: str, version: str) -> None:
    [fact] = read("Portage", f"var/db/pkg/{folder}/CONTENTS", b"")
    assert (fact.name, fact.version) == (name, version)


def test_opkg(tmp_path: Path) -> None:
    status = (b"Package: libc\nVersion: 1.2.4-r4\nStatus: install hold installed\nArchitecture: x86_64\n"
              b"Provides: libgcc\n\n"
              b"Package: gone\nVersion: 1\nStatus: deinstall ok not-installed\nArchitecture: all\n\n"
              b"Package: curl\nVersion: 8.4-r1\nDepends: libc, libgcc (>= 1)\nStatus: install user installed\n"
              b"Architecture: x86_64\n")
    control = (b"Package: curl\nVersion: 8.4-r1\nDepends: libc\nLicense: MIT & GPL-2.0\nSourceName: curl-src\n"
               b"Architecture: x86_64\nCPE-ID: cpe:2.3:a:haxx:curl:8.4:*:*:*:*:*:*:*\n")
    system = b"ID=openwrt\nVERSION_ID=23.05.2\n"
    found, packages = made(tmp_path, ("etc/os-release", system), ("usr/lib/opkg/status", status),
                           ("usr/lib/opkg/info/curl.control", control))
    assert set(packages) == {"libc", "curl"}
    curl = packages["curl"]
    assert curl.purl == "pkg:opkg/openwrt/curl@8.4-r1?arch=x86_64&distro=openwrt-23.05.2"
    assert curl.requires == (packages["libc"].purl,)
    assert curl.cpes == ("cpe:2.3:a:haxx:curl:8.4:*:*:*:*:*:*:*",)
    assert found.unknowns == ()


def wall(*entries: dict[str, object]) -> bytes:
    lines = [json.dumps(entry) for entry in ({"jsonwall": "1.0", "schema": "1.0", "count": len(entries) + 1}, *entries)]
    return zstandard.compress("\n".join(lines).encode() + b"\n")


CHISELLED = wall(
    {"kind": "content", "slice": "python3-flask-login_libs", "path": f"/{WHEEL}"},
    {"kind": "package", "name": "python3-flask-login", "version": "0.6.2-1", "sha256": "ab" * 32, "arch": "all"},
    {"kind": "path", "path": "/etc/passwd", "mode": "0644", "slices": ["a_b"], "sha256": "cd" * 32, "size": 3},
    {"kind": "slice", "name": "python3-flask-login_libs"})


def test_chisel(tmp_path: Path) -> None:
    system = b'ID=ubuntu\nVERSION_ID="24.04"\n'
    found, packages = made(tmp_path / "i", ("etc/os-release", system), ("var/lib/chisel/manifest.wall", CHISELLED),
                           (WHEEL, METADATA))
    login = packages["python3-flask-login"]
    assert login.purl == "pkg:deb/ubuntu/python3-flask-login@0.6.2-1?arch=all&distro=ubuntu-24.04"
    assert login.hashes == (("sha256", "ab" * 32),)
    # Ubuntu's advisories name source packages, of which the manifest says nothing: a gap, not silence.
    assert [str(unknown) for unknown in found.unknowns] == [
        "Chisel package of which it is not said what it was built from: 1"]
    status = b"Package: python3-flask-login\nStatus: install ok installed\nVersion: 0.6.2-1\nArchitecture: all\n"
    found, packages = made(tmp_path / "j", ("etc/os-release", system), ("var/lib/chisel/manifest.wall", CHISELLED),
                           ("var/lib/dpkg/status", status))
    assert (len(packages), found.unknowns) == (1, ())


@pytest.mark.parametrize("content", [
    b"", b"x", CHISELLED[:-3], zstandard.compress(b"{}\n"), zstandard.compress(b"[1]\n"), zstandard.compress(b"x\n"),
    zstandard.compress(b'{"jsonwall": "1.0"}\n' + b" " * (65 << 20)),
    zstandard.compress(b'{"jsonwall": "1.0"}\n{"kind": "package", "name": 1}\n')])
def test_broken_manifests_of_chisel_are_said(content: bytes) -> None:
    told = read("Chisel", "var/lib/chisel/manifest.wall", content)
    assert [fact.name for fact in told] in (
        ["unreadable Chisel file"], ["Chisel package without a name or a version"])


def test_snap_homebrew_and_bitnami(tmp_path: Path) -> None:
    spdx = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "redis", "packages": [
        {"SPDXID": "SPDXRef-redis", "name": "redis", "versionInfo": "7.0.5-1", "licenseDeclared": "BSD-3-Clause",
         "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                           "referenceLocator": "pkg:bitnami/redis@7.0.5-1?arch=amd64&distro=debian-11"}]},
        {"SPDXID": "SPDXRef-x", "name": "x", "versionInfo": "1", "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/x@1"}]}]}
    found, _ = made(
        tmp_path, ("snap/jq/6/meta/snap.yaml",
                   b"name: jq\nversion: 1.6\nlicense: MIT\nbase: core\narchitectures: [amd64]\n"),
        ("home/linuxbrew/.linuxbrew/Cellar/jq/1.7.1_2/.brew/jq.rb", b'class Jq < Formula\n  license "MIT"\nend\n'),
        ("opt/bitnami/redis/.spdx-redis.spdx", json.dumps(spdx).encode()))
    assert {package.purl: package.licenses for package in found.packages} == {
        "pkg:snap/jq@1.6?arch=amd64": ("MIT",), "pkg:brew/jq@1.7.1_2": ("MIT",),
        "pkg:bitnami/redis@7.0.5-1?arch=amd64&distro=debian-11": ("BSD-3-Clause",)}
    assert found.unknowns == ()


@pytest.mark.parametrize(("name", "purl"), [
    ("openssl-3.0.8", "pkg:nix/openssl@3.0.8?outputhash=0a1b"),
    ("openssl-3.0.8-dev", "pkg:nix/openssl@3.0.8?output=dev&outputhash=0a1b"),
    ("python3.11-flask-2.3.2", "pkg:nix/python3.11-flask@2.3.2?outputhash=0a1b"),
    ("glibc-2.38-44", "pkg:nix/glibc@2.38-44?outputhash=0a1b"),
    ("nix-2.18.1-unstable-2024-01-01", "pkg:nix/nix@2.18.1-unstable-2024-01-01?outputhash=0a1b"),
    ("source", ""), ("stdenv-linux", ""), ("openssl-3.0.8.drv", None)])
def test_nix(tmp_path: Path, name: str, purl: str | None) -> None:
    found, _ = made(tmp_path, (f"nix/store/0a1b-{name}/bin/x", b"x"), (f"nix/store/0a1b-{name}/bin/y", b"x"))
    assert [package.purl for package in found.packages] == ([purl] if purl else [])
    assert [unknown.kind for unknown in found.unknowns] == (["Nix store path"] if purl == "" else [])


def module(**stated: str) -> bytes:
    return elf({".modinfo": b"".join(f"{key}={value}".encode() + b"\0" for key, value in stated.items())})


def test_linux(tmp_path: Path) -> None:
    image_ = bytearray(4096)
    image_[0x202:0x206] = b"HdrS"
    image_[0x20E:0x210] = (0x300).to_bytes(2, "little")
    image_[0x500:0x520] = b"5.10.121-linuxkit (root@x) #1\0\0\0"
    found, packages = made(
        tmp_path, ("boot/vmlinuz-5.10.121-linuxkit", bytes(image_)),
        ("usr/lib/modules/5.10.121-linuxkit/modules.dep", b""),
        ("lib/modules/5.10.121-linuxkit/kernel/fs/ext4.ko.xz", b"not looked into"),
        ("lib/modules/5.10.121-linuxkit/extra/zfs.ko.zst", zstandard.compress(
            module(name="zfs", version="2.2.2-1", license="CDDL", vermagic="5.10.121-linuxkit SMP"))),
        ("opt/a.ko.xz", lzma.compress(module(name="a", version="1", vermagic="5.10.121-linuxkit SMP"))),
        ("opt/b.ko.gz", gzip.compress(module(name="b", intree="Y", vermagic="5.10.121-linuxkit SMP"))),
        ("opt/c.ko", module(name="c", vermagic="6.1 SMP")),
        ("x/vmlinux", b"\0" * 70 + b"Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)"))
    assert set(packages) == {"linux-kernel", "zfs", "a"}
    kernels = {package.version: package for package in found.packages if package.name == "linux-kernel"}
    assert kernels["5.10.121-linuxkit"].purl == "pkg:generic/linux-kernel@5.10.121-linuxkit"
    assert kernels["5.10.121-linuxkit"].cpes == ("cpe:2.3:o:linux:linux_kernel:5.10.121:*:*:*:*:*:*:*",)
    assert len(kernels["5.10.121-linuxkit"].locations) == 4
    assert kernels["6.1.0-18-amd64"].locations[0].evidence == "banner at 0x46"
    assert (packages["zfs"].version, packages["zfs"].licenses) == ("2.2.2-1", ("CDDL",))
    assert [str(unknown) for unknown in found.unknowns] == ["Linux kernel module without a name or a version: 1"]


@pytest.mark.parametrize("content", [
    b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd\0\0", b"\x7fELF", b"\x7fELF" + b"\xff" * 80, b"BZh9", b"",
    gzip.compress(bytes(65 << 20), mtime=0)])
def test_broken_modules_are_said(tmp_path: Path, content: bytes) -> None:
    found, _ = made(tmp_path, ("m/x.ko.gz", content))
    assert [unknown.kind for unknown in found.unknowns] == ["unreadable Linux kernel module file"]


def test_names_that_only_look_alike() -> None:
    assert not any(map(choose, ("etc/desc", "a/files", "var/db/pkg/CONTENTS", "meta/snap.yml", "boot/config-6", "x.koo",
                                "usr/share/LICENSE", "opt/x/.spdx-redis.spdx", "Cellar/a/b/jq.rb", "etc/opkg/status")))
