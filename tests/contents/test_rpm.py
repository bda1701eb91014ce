"""RPM databases in their three forms, and what their packages are called in an SBOM."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.formats.bom import from_purl
from custody.formats.rpmheader import Header, Source, source
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import Fact, read
from custody.sbom.databases import berkeley, ndb, sqlite
from tests.contents import rpms
from tests.contents.images import METADATA, image

ALMA = b'ID="almalinux"\nVERSION_ID="9.3"\nPRETTY_NAME="AlmaLinux 9.3"\n'
LIBS = rpms.header(EPOCH=1, ARCH="x86_64", SOURCERPM="openssl-3.0.7-24.el9.src.rpm", VENDOR="AlmaLinux",
                   LICENSE="ASL 2.0", PROVIDENAME=["openssl-libs", "libssl.so.3()(64bit)"],
                   REQUIRENAME=["rpmlib(PayloadIsZstd)", "/bin/sh", "(glibc >= 2 or musl)", "absent"],
                   files=["/usr/lib64/libssl.so.3", "/usr/bin/openssl"])
BASH = rpms.header("bash", "5.1.8", "6.el9_1", ARCH="x86_64", VENDOR="AlmaLinux", files=["/bin/sh", "/usr/bin/bash"],
                   REQUIRENAME=["libssl.so.3()(64bit)", "(a if b)"])
GLIBC = rpms.header("glibc", "2.34", "60.el9", ARCH="x86_64", VENDOR="AlmaLinux",
                    files=[f"/usr/share/i18n/locales/{number}" for number in range(60)])  # of more than one page
NODE = rpms.header("nodejs", "16.20.2", "4.module_el9", EPOCH=1, ARCH="x86_64", VENDOR="Nginx, Inc.",
                   MODULARITYLABEL="nodejs:16:9030020231023141150:rhel9", SOURCERPM="nodejs-16.20.2-4.src.rpm",
                   files=["/usr/lib/node_modules/x/package.json"])
KEY = rpms.header("gpg-pubkey", "3abb34f8", "5ffd890e")
ALL = (LIBS, BASH, GLIBC, NODE, KEY)
FORMS: list[tuple[str, Callable[[], bytes]]] = [
    ("var/lib/rpm/rpmdb.sqlite", lambda: rpms.sqlite(ALL)), ("usr/lib/sysimage/rpm/rpmdb.sqlite", lambda: rpms.sqlite(
        ALL, 512)), ("usr/share/rpm/rpmdb.sqlite", lambda: rpms.sqlite(ALL, 65536)),
    ("usr/lib/sysimage/rpm/Packages.db", lambda: rpms.ndb(ALL)),
    ("var/lib/rpm/Packages", lambda: berkeley_db("little")), ("var/lib/rpm/Packages", lambda: berkeley_db("big"))]


def berkeley_db(order: str) -> bytes:
    """`Packages` with the five headers, written by Berkeley DB 5.3: db5.3_load, `type=hash`, `db_pagesize=512`,
    `db_lorder=1234` and `4321`; numbers 1 to 5 as keys, and the number of packages at 0.
    """
    return gzip.decompress((Path(__file__).parent / f"packages-{order}.bdb.gz").read_bytes())


@pytest.mark.parametrize(("path", "make"), FORMS)
def test_all_forms_of_the_database_say_the_same(tmp_path: Path, path: str, make: Callable[[], bytes]) -> None:
    found = catalog(image(tmp_path, [("etc/os-release", ALMA), (path, make())]))
    assert found.unknowns == ()
    by_name = {package.name: package for package in found.packages}
    assert {name: package.purl for name, package in by_name.items()} == {
        "openssl-libs": "pkg:rpm/almalinux/openssl-libs@3.0.7-24.el9?arch=x86_64&distro=almalinux-9.3&epoch=1",
        "bash": "pkg:rpm/almalinux/bash@5.1.8-6.el9_1?arch=x86_64&distro=almalinux-9.3",
        "glibc": "pkg:rpm/almalinux/glibc@2.34-60.el9?arch=x86_64&distro=almalinux-9.3",
        "nodejs": "pkg:rpm/almalinux/nodejs@16.20.2-4.module_el9?arch=x86_64&distro=almalinux-9.3&epoch=1"
                  "&rpmmod=nodejs:16:9030020231023141150:rhel9"}
    libs = by_name["openssl-libs"]
    assert (libs.version, libs.source, libs.source_version, libs.licenses, libs.supplier, libs.ecosystem) == (
        "1:3.0.7-24.el9", "openssl", "1:3.0.7-24.el9", ("Apache-2.0",), "AlmaLinux", "AlmaLinux:9")
    assert libs.advised == ("openssl-libs", "1:3.0.7-24.el9")
    # By a file that the other has, by alternatives, and by what it provides.
    assert set(libs.requires) == {by_name["bash"].purl, by_name["glibc"].purl}
    assert by_name["bash"].requires == (libs.purl,)


def test_the_packages_own_their_files(tmp_path: Path) -> None:
    python = rpms.header("python3-flask-login", VENDOR="AlmaLinux", files=[
        "/usr/lib/python3.9/site-packages/flask_login-0.6.2.dist-info/METADATA"])
    found = catalog(image(tmp_path, [
        ("etc/os-release", ALMA), ("var/lib/rpm/rpmdb.sqlite", rpms.sqlite([python, NODE])),
        ("usr/lib/python3.9/site-packages/flask_login-0.6.2.dist-info/METADATA", METADATA),
        ("usr/lib/node_modules/x/package.json", b'{"name": "x", "version": "1.0.0"}')]))
    owners = {package.name: package.owner for package in found.packages if package.type != "rpm"}
    assert owners["Flask_Login"].startswith("pkg:rpm/almalinux/python3-flask-login@")
    assert owners["x"] == ""  # of another vendor's package


@pytest.mark.parametrize(("system", "vendor", "release", "own"), [
    ("rhel", "Red Hat, Inc.", "1.el9", True), ("amzn", "", "1.amzn2023", True), ("amzn", "", "1.el7", False),
    ("amzn", "Amazon Linux", "1", True), ("ol", "Oracle America", "1", True), ("photon", "VMware, Inc.", "1", True),
    ("azurelinux", "Microsoft Corporation", "1", True), ("sles", "SUSE LLC <https://www.suse.com/>", "1", True),
    ("almalinux", "not-almalinux", "1", False), ("almalinux", "AlmaLinux fans", "1", False),
    ("fedora", "Fedora Copr - user mallory", "1", False),
    ("opensuse", "obs://build.opensuse.org/home:mallory", "1", False), ("opensuse", "openSUSE.example", "1", False),
    ("rhel", "Red Hat, Inc. <http://bugzilla.redhat.com/bugzilla>", "1", True),
    ("opensuse-leap", "openSUSE", "1", True), ("rocky", "Rocky Enterprise Software Foundation", "1", True),
    ("fedora", "Fedora Project", "1", True), ("almalinux", "Fedora Project", "1", False),
    ("almalinux", "", "1", False)])
def test_whose_packages_they_are(tmp_path: Path, system: str, vendor: str, release: str, own: bool) -> None:
    package = rpms.header("x", release=release, files=["/usr/lib/x.dist-info/METADATA"],
                          **({"VENDOR": vendor} if vendor else {}))
    found = catalog(image(tmp_path, [("etc/os-release", f"ID={system}\nVERSION_ID=9\n".encode()),
                                     ("usr/lib/x.dist-info/METADATA", METADATA),
                                     ("var/lib/rpm/rpmdb.sqlite", rpms.sqlite([package]))]))
    [login] = [package for package in found.packages if package.type == "pypi"]
    assert bool(login.owner) == own


def test_manifests_of_distroless_images(tmp_path: Path) -> None:
    lines = (b"bash\t5.1.8-1.cm2\t1\t1\tMicrosoft Corporation\t(none)\t9\tx86_64\t0\tbash-5.1.8-1.cm2.src.rpm\n"
             b"openssl-libs\t1.1.1k-15.cm2\t1\t1\tMicrosoft Corporation\t1\t9\tx86_64\t1\t"
             b"openssl-1.1.1k-15.cm2.src.rpm\n"
             b"gpg-pubkey\t3135ce90-5e6fda74\t1\t1\t(none)\t(none)\t0\t(none)\t0\t(none)\nbroken\t1\n")
    found = catalog(image(tmp_path, [("etc/os-release", b'ID=mariner\nVERSION_ID="2.0"\n'),
                                     ("var/lib/rpmmanifest/container-manifest-2", lines)]))
    assert [(package.purl, package.ecosystem, package.advised) for package in found.packages] == [
        ("pkg:rpm/mariner/bash@5.1.8-1.cm2?arch=x86_64&distro=mariner-2.0", "Azure Linux:2",
         ("bash", "5.1.8-1.cm2")),
        ("pkg:rpm/mariner/openssl-libs@1.1.1k-15.cm2?arch=x86_64&distro=mariner-2.0&epoch=1", "Azure Linux:2",
         ("openssl", "1:1.1.1k-15.cm2"))]
    assert [str(unknown) for unknown in found.unknowns] == ["rpm package without a name, a version or a release: 1"]


@pytest.mark.parametrize(("purl", "ecosystem", "advised"), [
    ("pkg:rpm/almalinux/openssl-libs@3.0.7-24.el9?epoch=1&distro=almalinux-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
     "AlmaLinux:9", ("openssl-libs", "1:3.0.7-24.el9")),
    ("pkg:rpm/rocky/openssl-libs@3.0.7-24.el9?epoch=1&distro=rocky-9.3&upstream=openssl-3.0.7-24.el9.src.rpm",
     "Rocky Linux:9", ("openssl", "1:3.0.7-24.el9")),
    ("pkg:rpm/redhat/bash@5?distro=rhel-9.3", "Red Hat:9", ("bash", "5")),
    ("pkg:rpm/opensuse/bash@5?distro=opensuse-leap-15.5", "openSUSE:Leap 15.5", ("bash", "5")),
    ("pkg:rpm/opensuse/bash@5?distro=opensuse-tumbleweed-20240101", "openSUSE:Tumbleweed", ("bash", "5")),
    ("pkg:rpm/suse/bash@5?distro=sles-15.5", "SUSE:Linux Enterprise Server 15 SP5", ("bash", "5")),
    ("pkg:rpm/suse/bash@5?distro=sles-16.0", "SUSE:Linux Enterprise Server 16.0", ("bash", "5")),
    ("pkg:rpm/fedora/bash@5?distro=fedora-41", "Fedora:41", ("bash", "5")),
    ("pkg:rpm/mageia/bash@5?distro=mageia-9", "Mageia:9", ("bash", "5"))])
def test_which_advisories_speak_of_a_package(purl: str, ecosystem: str, advised: tuple[str, str]) -> None:
    package = from_purl(purl, None)
    assert (package.ecosystem, package.advised) == (ecosystem, advised)


def test_what_a_journal_has_is_unknown(tmp_path: Path) -> None:
    journal = b"\x37\x7f\x06\x82" + bytes(28 + 4120)
    found = catalog(image(tmp_path / "i", [("var/lib/rpm/rpmdb.sqlite", rpms.sqlite(ALL)),
                                           ("var/lib/rpm/rpmdb.sqlite-wal", journal)]))
    assert [str(unknown) for unknown in found.unknowns] == ["rpm database whose last changes are in a journal: 1"]
    found = catalog(image(tmp_path / "j", [("var/lib/rpm/rpmdb.sqlite", rpms.sqlite(ALL)),
                                           ("var/lib/rpm/rpmdb.sqlite-wal", b"")]))
    assert (len(found.packages), found.unknowns) == (4, ())


def test_names_of_source_packages() -> None:
    assert source("a-b-1.0-2.el9.src.rpm") == Source("a-b", "1.0-2.el9")
    assert not any(map(source, ("", "(none)", "a.src.rpm", "a-1.src.rpm", "a-1-2.src", "-1-2.src.rpm")))


def _headers(name: str, data: bytes) -> list[bytes]:
    file = io.BytesIO(data)
    if name.endswith("sqlite"):
        return [bytes(row[1]) for row in sqlite.rows(file, "Packages") if isinstance(row[1], bytes)]
    if name.endswith(".db"):
        return list(ndb.values(file))
    return [value for key, value in berkeley.values(file) if key.strip(b"\0")]


@pytest.mark.parametrize(("path", "make"), FORMS)
def test_large_headers_are_read_whole(path: str, make: Callable[[], bytes]) -> None:
    assert sorted(_headers(path, make())) == sorted(ALL)
    if path.rpartition("/")[2] != "Packages":
        long = [rpms.header(f"p{number}", files=[f"/d/{place}" for place in range(number * 40)])
                for number in range(1, 60)]
        write = rpms.ndb if path.endswith(".db") else rpms.sqlite
        assert _headers(path, write(long)) == long


@pytest.mark.parametrize(("data", "words"), [
    (rpms.sqlite(ALL)[:5000], "of a file of 5000"), (rpms.sqlite(ALL)[:90], "not an SQLite database"),
    (rpms.ndb(ALL)[:4096 + 100], "of a file of 4196"),
    (rpms.ndb(ALL).replace(b"BlbS", b"BlbX"), "no header of package 1"),
    (rpms.ndb(ALL).replace(b"RpmP\0\0\0\0\1\0\0\0\1", b"RpmP\0\0\0\0\1\0\0\0\xff"), "no slot at|of a file of"),
    (b"RpmP" + bytes(28), "0 pages of slots"), (b"nothing at all, really", "no database that rpm has ever written")])
def test_broken_databases_say_how(data: bytes, words: str) -> None:
    from custody.sbom.catalogers import cataloger

    with pytest.raises(ValueError, match=words):
        list(cataloger("rpm").facts("var/lib/rpm/x", io.BytesIO(data), lambda _: None))


def test_pages_in_circles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    database = bytearray(berkeley_db("little"))
    for page in range(0, len(database), 512):
        if database[page + 25] == 7:  # each overflow page is followed by itself
            database[page + 16:page + 20] = (page // 512).to_bytes(4, "little")
    with pytest.raises(ValueError, match="two ways to page"):
        list(berkeley.values(io.BytesIO(database)))
    tables = bytearray(rpms.sqlite([rpms.header(f"p{n}", files=["/x" * 200]) for n in range(60)], 512))
    root = next(page for page in range(512, len(tables), 512) if tables[page] == 5)
    tables[root + 8:root + 12] = (root // 512 + 1).to_bytes(4, "big")
    with pytest.raises(ValueError, match="two ways to page"):
        list(sqlite.rows(io.BytesIO(tables), "Packages"))


@pytest.mark.parametrize(("path", "make"), FORMS)
@pytest.mark.parametrize("seed", range(40))
def test_a_database_with_wrong_bytes_is_read_or_refused(path: str, make: Callable[[], bytes], seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(make())
    used = [place for place, byte in enumerate(data) if byte]
    for _ in range(dice.randint(1, 12)):
        data[dice.choice(used)] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
    cut = dice.randrange(len(data)) if dice.randrange(3) == 0 else len(data)
    spent = 0

    def spend(amount: int) -> None:
        nonlocal spent
        spent += amount

    told = read("rpm", path, io.BytesIO(data[:cut]), None, spend)
    assert told == (Fact(type="UNKNOWN", name="unreadable rpm file"),) or {fact.type for fact in told} <= {
        "rpm", "OWNS", "UNKNOWN"}
    assert spent < 40 * len(data)


@given(st.binary(max_size=400))
def test_headers_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        header = Header(data)
        header.files(), header.digests(), header.text(1000), header.texts(1049), header.numbers(1003)
