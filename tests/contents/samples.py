"""Ten images and folders for the peers beside custody, made of real packages of Debian, PyPI and npm and of files as
apk, rpm, conda and the lockers write them. What was downloaded is kept in `$CUSTODY_SAMPLES`.

usage: python -m tests.contents.samples FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.conftest import ROOT
from tests.contents import images, rpms
from tests.contents.images import Member, tar
from tests.contents.jars import jar, library, properties
from tests.contents.lockfiles import SAMPLES

CACHE = Path(os.environ.get("CUSTODY_SAMPLES", Path.home() / ".cache/custody/samples"))
_DEBS = ("python3-requests", "python3-urllib3", "ruby-rack", "node-semver", "node-lodash", "libcommons-lang3-java",
         "libjackson2-core-java", "r-cran-jsonlite", "php-psr-log", "libjs-jquery", "tzdata", "libssl3")
_WHEELS = ("flask==3.0.0", "jinja2==3.1.2", "MarkupSafe==2.1.3", "PyYAML==6.0.1", "zope.interface==6.1",
           "ruamel.yaml==0.18.5", "cryptography==41.0.7", "Pygments==2.17.2")
_NPM = ("JSONStream@1.3.5", "@babel/parser@7.23.6",
        "express@4.18.2", "left-pad@1.3.0", "uuid@9.0.1", "typescript@5.3.3")
_ALPINE = (b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n')
_APK = b"""C:Q1abcdefghijklmnopqrstuvwxyz0=
P:musl
V:1.2.4_git20230717-r4
A:x86_64
S:1
I:2
T:the musl c library
U:https://musl.libc.org/
L:MIT
o:musl
m:A <a@example.org>
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1

C:Q1bbcdefghijklmnopqrstuvwxyz0=
P:libssl3
V:3.1.4-r5
A:x86_64
S:1
I:2
T:SSL shared libraries
U:https://www.openssl.org/
L:Apache-2.0
o:openssl
m:A <a@example.org>
D:so:libc.musl-x86_64.so.1
F:lib
R:libssl.so.3

C:Q1cbcdefghijklmnopqrstuvwxyz0=
P:py3-six
V:1.16.0-r8
A:noarch
S:1
I:2
T:six
U:https://pypi.org/project/six
L:MIT
o:py3-six
m:A <a@example.org>
F:usr/lib/python3.11/site-packages/six-1.16.0-py3.11.egg-info
R:PKG-INFO
"""
_SIX = b"Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\nLicense: MIT\n"


class UnavailableError(Exception):
    """What cannot be had on this machine, and why."""


def layers(layout: Path) -> list[Path]:
    """The blobs of the image's layers, lowest first."""
    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]).read_text())
    return [blob(layer["digest"]) for layer in manifest["layers"]]


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
        raise UnavailableError(f"{command[0]}: {words[-1] if words else error}") from error


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the cache; filled at the first time, whole or not at all."""
    place = CACHE / name
    if not place.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fetch(Path(folder, "new").resolve())
            Path(folder, "new").rename(place)
    return place


def _peer(name: str) -> bytes:
    built = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache/custody/peers"), name)
    if not built.is_file():
        raise UnavailableError(f"{name} is not installed")
    return built.read_bytes()


def _members(root: Path, under: str = "") -> list[Member]:
    members: list[Member] = []
    for path in sorted(root.rglob("*")):
        name = under + path.relative_to(root).as_posix()
        if path.is_symlink():
            members.append((name, ("symlink", os.readlink(path))))
        elif path.is_file():
            members.append((name, path.read_bytes()))
    return members


def _release(data: bytes) -> list[Member]:
    """os-release as distributions have it: a symbolic link."""
    return [("usr/lib/os-release", data), ("etc/os-release", ("symlink", "../usr/lib/os-release"))]


def _debian(folder: Path, *, distroless: bool) -> Path:
    def fetch(new: Path) -> None:
        new.mkdir()
        _run("apt-get", "download", *_DEBS, cwd=new)

    root, records = folder / "root", []
    root.mkdir(parents=True)
    members: list[Member] = [("var/lib/dpkg", None), ("var/lib/dpkg/status.d", None)] if distroless else []
    for archive in sorted(_kept("debs", fetch).glob("*.deb")):
        _run("dpkg-deb", "-x", str(archive), str(root), cwd=folder)
        record = subprocess.run(["dpkg-deb", "-f", str(archive)], check=True, capture_output=True).stdout
        name = archive.name.partition("_")[0]
        files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, capture_output=True).stdout
        listing = subprocess.run(["tar", "-t"], input=files, check=True, capture_output=True).stdout
        names = listing.decode().split("\n")
        if distroless:
            members += [(f"var/lib/dpkg/status.d/{name}", record), (f"var/lib/dpkg/status.d/{name}.md5sums", "".join(
                f"{'0' * 32}  {entry[2:]}\n" for entry in names if entry and not entry.endswith("/")).encode())]
        else:
            records.append(record.replace(b"\n", b"\nStatus: install ok installed\n", 1))
            members.append((f"var/lib/dpkg/info/{name}.list",
                            "".join(entry[1:].rstrip("/") + "\n" for entry in names if entry).encode()))
    if records:
        members.append(("var/lib/dpkg/status", b"\n".join(records)))
    return _image(folder / "image", [*_members(root), *_release(images.OS_RELEASE),
                                     ("etc/debian_version", b"12.5\n"), *members])


def _image(folder: Path, *content: Sequence[Member]) -> Path:
    return images.layout(folder, [tar(members, programs=("usr/local/bin/crane",)) for members in content])


def debian(folder: Path) -> Path:
    return _debian(folder, distroless=False)


def distroless(folder: Path) -> Path:
    return _debian(folder, distroless=True)


def python(folder: Path) -> Path:
    """Wheels, an egg's metadata with capitals, an environment of its own below."""
    def fetch(new: Path) -> None:
        _run(sys.executable, "-m", "pip", "-q", "install", "--no-compile", "--no-deps", "--only-binary=:all:",
             "--target", str(new), *_WHEELS, cwd=CACHE)

    wheels = _members(_kept("wheels", fetch), "srv/app/lib/python3.11/site-packages/")
    return _image(folder, [*_release(images.OS_RELEASE), *wheels, (
        "opt/venv/lib/python3.12/site-packages/Flask_Login-0.6.2.dist-info/METADATA", images.METADATA), (
        "usr/local/lib/python3.9/site-packages/Old_Egg-2.0-py3.9.egg-info",
        b"Metadata-Version: 1.0\nName: Old.Egg\nVersion: 2.0\n")])


def npm(folder: Path) -> Path:
    def fetch(new: Path) -> None:
        new.mkdir()
        (new / "package.json").write_text('{"name": "Web", "version": "1.0.0", "private": true}\n')
        _run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *_NPM, cwd=new)

    return _image(folder, [*_release(_ALPINE), *_members(_kept("npm", fetch), "srv/web/")])


def alpine(folder: Path) -> Path:
    return _image(folder, [*_release(_ALPINE), ("lib/apk/db/installed", _APK),
                           ("usr/lib/python3.11/site-packages/six-1.16.0-py3.11.egg-info/PKG-INFO", _SIX)])


def rhel(folder: Path) -> Path:
    headers = [rpms.header(SOURCERPM="openssl-3.0.7-24.el9.src.rpm", ARCH="x86_64", VENDOR="Red Hat, Inc."),
               rpms.header("bash", "5.1.8", "6.el9", SOURCERPM="bash-5.1.8-6.el9.src.rpm", ARCH="x86_64"),
               rpms.header("shadow-utils", "4.9", "8.el9", EPOCH=2, SOURCERPM="shadow-utils-4.9-8.el9.src.rpm",
                           ARCH="x86_64")]
    return _image(folder, [*_release(b'ID="rhel"\nVERSION_ID="9.3"\nPRETTY_NAME="Red Hat Enterprise Linux 9.3"\n'),
                           ("var/lib/rpm/rpmdb.sqlite", rpms.sqlite(headers))])


def suse(folder: Path) -> Path:
    headers = [rpms.header("libopenssl3", "3.0.8", "150500.5.24.1", SOURCERPM="openssl-3-3.0.8-150500.5.24.1.src.rpm",
                           ARCH="x86_64", VENDOR="SUSE LLC <https://www.suse.com/>"),
               rpms.header("zypper", "1.14.68", "150500.6.6.8", SOURCERPM="zypper-1.14.68-150500.6.6.8.src.rpm",
                           ARCH="x86_64")]
    return _image(folder, [*_release(b'ID="sles"\nVERSION_ID="15.5"\nPRETTY_NAME="SLES 15 SP5"\n'),
                           ("usr/lib/sysimage/rpm/Packages.db", rpms.ndb(headers))])


def programs(folder: Path) -> Path:
    """A program of Go, jars in jars, conda, a gem of its own; two are taken away by the layer above."""
    gem = (b"# -*- encoding: utf-8 -*-\n# stub: Rack 3.0.8 ruby lib\n\nGem::Specification.new do |s|\n"
           b'  s.name = "Rack".freeze\n  s.version = "3.0.8"\n  s.licenses = ["MIT".freeze]\nend\n')
    conda = b'{"name": "numpy", "version": "1.26.2", "build": "py311_0", "channel": "conda-forge"}'
    outer = jar({"BOOT-INF/lib/inner-2.1.jar": library("org.inner", "inner", "2.1"),
                 **properties("org.shaded", "Shaded", "1.5")}, manifest={})
    lower: list[Member] = [
        *_release(images.OS_RELEASE), ("usr/local/bin/crane", _peer("crane")),
        ("opt/app/outer.jar", outer), ("opt/gone/gone-1.0.jar", library("org.gone", "gone", "1.0")),
        ("opt/conda/conda-meta/numpy-1.26.2-py311_0.json", conda),
        ("usr/lib/ruby/gems/3.2.0/specifications/Rack-3.0.8.gemspec", gem),
        ("usr/lib/ruby/gems/3.2.0/specifications/away-1.0.gemspec", gem.replace(b"Rack", b"away"))]
    upper: list[Member] = [("opt/.wh.gone", b""), ("usr/lib/ruby/gems/3.2.0/specifications/.wh.away-1.0.gemspec", b"")]
    return _image(folder, lower, upper)


def locks(folder: Path) -> Path:
    """A folder of sources: one project a locker."""
    for number, (path, text) in enumerate(SAMPLES.values()):
        place = folder / f"project-{number:02}" / path
        place.parent.mkdir(parents=True)
        place.write_text(text)
    return folder


def checkout(folder: Path) -> Path:
    """The sources of custody's example, with its requirements, and a real lock file that npm wrote."""
    def fetch(new: Path) -> None:
        new.mkdir()
        (new / "package.json").write_text('{"name": "site", "version": "1.0.0"}\n')
        _run("npm", "install", "--package-lock-only", "--no-audit", "--no-fund", "--ignore-scripts", *_NPM, cwd=new)

    shutil.copytree(ROOT / "examples/shop", folder)
    shutil.copytree(_kept("npm-lock", fetch), folder / "site")
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {make.__name__: make for make in (
    debian, distroless, python, npm, alpine, rhel, suse, programs, locks, checkout)}
"""By its name what makes a sample in a folder that is not there yet; raises UnavailableError."""


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for name, make in MAKERS.items():
        print(make(Path(sys.argv[1]).resolve() / name))


if __name__ == "__main__":
    main()
