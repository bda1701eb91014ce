"""Broken bytes for every reader of the contents gate: catalogers, advisories, VEX, ignore files, what --prove holds to.

    python -m tests.fuzz.contents [SECONDS] [SEED] [ROW…]

Each row is a document as its maker writes it; bytes, lines and values are taken out, doubled, moved and replaced. A
reader gives facts, or an error of ours, within a second; what it gave is taken as far as it would go: to a package URL
and a licence, into the store, to a verdict on a version. Prints how many did what, the slowest, and what went wrong,
each kind once.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError
from custody.formats import ignorefile, vex
from custody.formats.bom import Distribution, identify
from custody.formats.licenses import stated
from custody.formats.osv import Advisory
from custody.sbom import catalogers
from custody.sbom.catalog import _purl
from custody.sbom.catalogers.fact import MARKERS
from custody.sbom.proof import statements
from custody.sbom.suppliers import supplier
from custody.versions import sortable
from custody.vulns import sources
from custody.vulns.match import affected_by
from custody.vulns.severity import rate
from tests.contents import feeds, nixdb, rpms
from tests.contents.images import METADATA, OS_RELEASE, STATUS, go_program, rust_program, tar
from tests.contents.jars import jar, library
from tests.contents.lockfiles import SAMPLES
from tests.contents.test_dotnet import pe
from tests.contents.test_packed import alpine_file, deb_file, rpm_file
from tests.fuzz.sboms import mutate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOW = 1.0
LARGE = 1 << 20
"""Bytes of a document of which a piece is written again and again."""
_SIGNS = (b"\n", b"{", b"}", b"[", b"]", b'"', b"'", b":", b"  ", b"\\", b"\xff", b"- ", b"@", b"==", b"\0",
    b"null", b"#",
          b"\xed\xa0\x80", b"\\ud800", b"9" * 400, b"1e999", b"-", b"%", b"%zz", b"/", b"../", b"\xc2\xa0",
              b"\x85", b"\r",
          b"NaN", b"\xe2\x80\xae", b"~", b"<", b"&x;", b"]]>")
_APK = (b"C:Q1abcdefghijklmnopqrstuvwxyz0=\nP:libssl3\nV:3.1.4-r5\nA:x86_64\nS:1\nI:2\nT:x\nU:https://o.example"
        b"/\nL:MIT\n"
        b"o:openssl\nm:A <a@example.org>\nD:so:libc.musl-x86_64.so.1 !b c>=1\np:so:a=1\nF:lib\nR:a.so\na:0:0:755\n"
        b"Z:Q1bbcdefghijklmnopqrstuvwxyz0=\n\n")
_DEB = rpms.header("a", files=["/usr/lib/x"], MODULARITYLABEL="nodejs:18:1:2")
_POM = ("<project><parent><groupId>o.a</groupId><artifactId>p</artifactId><version>1</version></parent><artifactId>b"
        "</artifactId><properties><v>2</v></properties><dependencies><dependency><groupId>${project.groupId}</groupId>"
        "<artifactId>c</artifactId><version>${v}</version><scope>test</scope></dependency></dependencies></project>")
_FILES: dict[str, tuple[str, bytes]] = {
    "apk": ("lib/apk/db/installed", _APK), "dpkg": ("var/lib/dpkg/status", STATUS),
    "dpkg copyright": ("usr/share/doc/a/copyright", b"Format: https://www.debian.org/doc/packaging-manuals/copyright-"
                       b"format/1.0/\n\nFiles: *\nLicense: GPL-2+ or MIT\n text\n\nLicense: MIT\n text\n"),
    "dpkg sums": ("var/lib/dpkg/status.d/a.md5sums", b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/node\n" * 3),
    "dpkg files": ("var/lib/dpkg/info/a.list", b"/.\n/usr\n/usr/lib/x.jar\n/usr/lib/python3/dist-packages/a.egg-"
                                               b"info\n"),
    "python": ("a.dist-info/METADATA", METADATA + b"Requires-Dist: b (>=1) ; extra == 'x'\nLicense-Expression: MIT\n"),
    "python record": ("a.dist-info/RECORD", b"a.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\na/b.so,,\n"),
    "npm": ("a/package.json", b'{"name":"@s/a","version":"1.0.0","license":{"type":"MIT"},"dependencies":{"b":"^1"},'
            b'"author":{"name":"A","email":"a@b.c"},"repository":"github:o/r","scripts":{"install":"x"}}'),
    "os-release": ("etc/os-release", OS_RELEASE),
    "embedded SBOM": ("a.dist-info/sboms/a.json", b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":'
                      b'"library","name":"a","version":"1","purl":"pkg:cargo/a@1"}]}'),
    ".NET dependencies": ("app.deps.json", b'{"runtimeTarget":{"name":"n"},"targets":{"n":{"A/1.0":{"dependencie'
                                           b's":{"B":'
                          b'"2.0"},"runtime":{"lib/A.dll":{"assemblyVersion":"1"}}},"B/2.0":{}}},"libraries":{"A/1.0":{'
                          b'"type":"package","sha512":"sha512-AAAA","path":"a/1.0"},"B/2.0":{"type":"package"}}}'),
    ".NET assembly": ("a.dll", pe({"FileVersion": "1.2.3.4", "ProductName": "A", "ProductVersion": "1.2.3+abc"})),
    "NuGet lock": ("packages.lock.json", b'{"version":1,"dependencies":{"net8.0":{"A":{"type":"Direct","requeste'
                                         b'd":"[1,)"'
                   b',"resolved":"1.0","contentHash":"AA==","dependencies":{"B":"1"}}}}}'),
    "WordPress": ("wp-includes/version.php", b"<?php\n$wp_version = '6.4.2';\n"),
    "machine learning model": ("m.gguf", b"GGUF\3\0\0\0" + bytes(8) + b"\2" + bytes(7) + b"\x0c" + bytes(7)
                               + b"general.name\x08\0\0\0\1" + bytes(7) + b"a" + bytes(40)),
    "Java archive": ("a.jar", jar({"WEB-INF/lib/b-1.0.jar": library("org.a", "b", "1.0"), "META-INF/maven/o/w/pom.xml":
                                   _POM, "META-INF/maven/o/w/pom.properties": "groupId=o\nartifactId=w\nversion=2\n"})),
    "Maven project": ("pom.xml", _POM.encode()),
    "Gradle lock": ("gradle.lockfile", b"# x\norg.a:b:1.0=compileClasspath,testRuntime\nempty=annotationProcessor\n"),
    "sbt lock": ("build.sbt.lock", b'{"lockVersion":1,"dependencies":[{"org":"o","name":"a","version":"1","artif'
                                   b'acts":[{'
                 b'"name":"a.jar","hash":"sha1:0"}],"configurations":["compile"]}]}'),
    "Ivy file": ("ivy-1.xml", b'<ivy-module version="2.0"><info organisation="o" module="m" revision="1"/><depen'
                              b'dencies>'
                 b'<dependency org="a" name="b" rev="1" conf="x"/></dependencies></ivy-module>'),
    "Java runtime": ("usr/lib/jvm/a/release", b'IMPLEMENTOR="Eclipse Adoptium"\nJAVA_VERSION="17.0.9"\n'
                     b'JAVA_RUNTIME_VERSION="17.0.9+9"\nSEMANTIC_VERSION="17.0.9+9"\nIMAGE_TYPE="JRE"\n'),
    "Portage": ("var/db/pkg/a/b-1.0-r1/CONTENTS", b"dir /usr\nobj /usr/bin/a d41d8cd98f00b204e9800998ecf8427e 17"
                                                  b"00000000\n"
                b"sym /usr/b -> a 1700000000\n"),
    "pacman": ("var/lib/pacman/local/a-1-1/desc", b"%NAME%\na\n\n%VERSION%\n1:1-1\n\n%BASE%\na\n\n%LICENSE%\nMIT\n\n"
               b"%DEPENDS%\nglibc>=2\n\n%PROVIDES%\nlibz.so=1-64\n"),
    "pacman files": ("var/lib/pacman/local/a-1-1/files", b"%FILES%\nusr/\nusr/lib/x.jar\n\n%BACKUP%\netc/a\tx\n"),
    "opkg": ("usr/lib/opkg/status", b"Package: a\nVersion: 1\nStatus: install ok installed\nArchitecture: x\n\n"),
    "snap": ("meta/snap.yaml", b"name: core\nversion: '16'\narchitectures: [amd64]\nbase: core20\n"),
    "Homebrew": ("home/linuxbrew/.linuxbrew/Cellar/a/1.0/.brew/a.rb", b'class A < Formula\n  desc "x"\n  homepage '
                 b'"https://a.example/"\n  url "https://a.example/a.tgz"\n  license "MIT"\nend\n'),
    "Bitnami": ("opt/bitnami/a/.spdx-a.spdx", b'{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"a",'
                b'"packages":[{"SPDXID":"SPDXRef-a","name":"a","versionInfo":"1","externalRefs":[{"referenceType'
                b'":"purl",'
                b'"referenceLocator":"pkg:bitnami/a@1"}]}],"relationships":[]}'),
    "Linux modules": ("lib/modules/6.1/modules.builtin", b"kernel/a.ko\n"),
    "Nix database": ("nix/var/nix/db/db.sqlite", nixdb.serialized([nixdb.CURL, nixdb.OPENSSL], [(1, 1), (1, 2)])),
    "rpm": ("var/lib/rpm/rpmdb.sqlite", rpms.sqlite([rpms.header(), _DEB])),
    "rpm manifest": ("var/lib/rpmmanifest/container-manifest-2", b"bash\t5.1.8-1.cm2\t1\t1\tMicrosoft Corporatio"
                                                            b"n\t(none)\t9\t"
                     b"x86_64\t0\tbash-5.1.8-1.cm2.src.rpm\n"),
    ".NET project": ("a.csproj", b'<Project Sdk="x"><ItemGroup><PackageReference Include="A" Version="1.0"/>'
                     b'<PackageReference Include="B"><Version>2</Version></PackageReference></ItemGroup></Project>'),
    "Directory.Packages.props": ("Directory.Packages.props", b'<Project><ItemGroup><PackageVersion Include="A" '
                                 b'Version="1.0"/></ItemGroup></Project>'),
    "packages.config": ("packages.config", b'<packages><package id="A" version="1.0" '
                        b'targetFramework="net48"/></packages>'),
    "egg-link": ("site-packages/a.egg-link", b"/srv/app\n../\n"),
    "package": ("a.deb", deb_file(gzip.compress(tar([("./control", STATUS)]), mtime=0))),
}
_MORE: dict[str, tuple[str, bytes]] = {
    "rpm in NDB": ("rpm:var/lib/rpm/Packages.db", rpms.ndb([rpms.header(), _DEB])),
    "rpm in Berkeley DB": ("rpm:var/lib/rpm/Packages", gzip.decompress(
        (Path(__file__).parent.parent / "contents/packages-little.bdb.gz").read_bytes())),
    ".rpm": ("package:a.rpm", rpm_file(rpms.header())), ".apk": ("package:a.apk", alpine_file()),
    "Go program": ("program:a", go_program("mod\texample.org/a\tv1.0.0\th1:\ndep\tb\tv1\n=>\tc\tv2\n")),
    "Rust program": ("program:a", rust_program([{"name": "t", "version": "3", "source": "local", "root": True}])),
}
_FEEDS = {
    "Debian's tracker": feeds.debian(), "secdb": feeds.alpine(), "AlmaLinux": feeds.alma(),
    "Rocky Linux": feeds.rocky(),
    "updateinfo": feeds.UPDATEINFO, "OVAL of Oracle": feeds.ORACLE, "OVAL of Azure": feeds.AZURE,
    "Ubuntu's tracker": feeds.TRACKED, "Ubuntu's notices": feeds.notices(), "Photon OS": feeds.photon(),
    "NVD": feeds.nvd(), "CSAF of Red Hat": feeds.csaf(), "CSAF of SUSE": feeds.suse(),
    "OSV": json.dumps({"schema_version": "1.7.0", "id": "GHSA-a", "modified": "2026-01-01T00:00:00Z", "aliases": [
        "CVE-2026-0001"], "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [
            {"introduced": "0"}, {"fixed": "1.2.3"}, {"introduced": "2.0.0-a"}, {"last_affected": "2.1"}]}],
            "versions": ["1.0.0"],
            "database_specific": {"severity": "HIGH", "iocs": {"sha256": ["0" * 64]}}}]}).encode(),
    "EPSS": b"#model_version:v2025.03.14,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\n"
            b"CVE-2026-0001,0.00042,0.05\nCVE-2026-0002,0.9,0.99\n",
    "KEV": json.dumps({"title": "t", "catalogVersion": "2026.01.01", "dateReleased": "2026-01-01T00:00:00Z", "count": 1,
                       "vulnerabilities": [{"cveID": "CVE-2026-0001", "dateAdded": "2026-01-01", "dueDate": "202"
                                                            "6-02-01",
                                            "knownRansomwareCampaignUse": "Known"}]}).encode()}
_VEX = {
    "OpenVEX": json.dumps({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "a", "author": "A", "version": 1,
                           "timestamp": "2026-01-01T00:00:00Z", "statements": [{
                               "vulnerability": {"name": "CVE-2026-0001", "aliases": ["GHSA-a"]},
                               "products": [{"@id": "pkg:oci/a@sha256:0", "subcomponents": [{"@id": "pkg:npm/a@1"}]}],
                               "status": "not_affected", "justification": "component_not_present"}]}).encode(),
    "CycloneDX VEX": json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {
        "timestamp": "2026-01-01T00:00:00Z"}, "components": [{"type": "library", "name": "a", "bom-ref": "r", "purl":
                                                            "pkg:npm/a@1"}], "vulnerabilities": [
        {"id": "CVE-2026-0001", "analysis": {"state": "not_affected", "justification": "code_not_present"},
         "affects": [{"ref": "r", "versions": [{"version": "1", "status": "affected"}]}]}]}).encode(),
    "CSAF VEX": feeds.csaf("https://example.org").replace(b'"tracking": {"id"', b'"tracking": {"status": "final"'
                                                            b', "id"')}
_RULES = {
    ".custodyignore": b"ignore:\n- {id: CVE-2026-0001, reason: r, until: 2026-06-01, packages: ['pkg:npm/a']}\n",
    ".trivyignore": b"# why\nCVE-2026-0001 exp:2026-06-01\nGHSA-a\n",
    ".trivyignore.yaml": b"vulnerabilities:\n- id: CVE-1\n  paths: ['a/**']\n  expired_at: 2026-01-01\n  stateme"
                         b"nt: s\n",
    ".grype.yaml": b"ignore:\n- vulnerability: CVE-1\n  fix-state: unknown\n  package: {name: '.*', type: npm}\n"}
_SUMS = {
    "record": ("a.dist-info/RECORD", _FILES["python record"][1]), "md5sums": ("var/lib/dpkg/info/a.md5sums",
                                                                            _FILES["dpkg sums"][1]),
    "status": ("var/lib/dpkg/status", STATUS + b"Conffiles:\n /etc/a d41d8cd98f00b204e9800998ecf8427e obsolete\n"),
    "apk": ("lib/apk/db/installed", _APK), "mtree": ("var/lib/pacman/local/a/mtree", gzip.compress(
        b"#mtree\n/set type=file uid=0\n./usr/bin/a time=1.0 size=1 sha256digest=" + b"0" * 64 + b"\n", mtime=0)),
    "conda": ("conda-meta/a.json", b'{"name":"a","paths_data":{"paths":[{"_path":"a","sha256":"' + b"0" * 64 +
        b'","path_type"'
              b':"hardlink"}]},"files":["a"]}'), "list": ("var/lib/dpkg/info/a.list", b"/.\n/usr/a\n"),
}



def broken(data: bytes, chance: random.Random) -> bytes:
    """Other bytes: values of JSON, or pieces of whatever it is."""
    if chance.random() < 0.02:
        return swollen(data, chance)
    if data[:1] == b"{" and chance.random() < 0.6:
        with contextlib.suppress(ValueError):  # what only looks like JSON
            return mutate(data, chance)
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 1, 1, 2, 4, 20, 200)))
        piece = data[start:end]
        put = chance.choice((b"", piece * chance.choice((2, 50)), chance.choice(_SIGNS) * chance.choice((1, 3, 300)),
                             data[chance.randint(0, len(data)):][:30], bytes([chance.randrange(256)]) * len(piece),
                             b"\xff" * len(piece), b"\0" * len(piece)))
        data = data[:start] + put + data[end:]
    return data


def swollen(data: bytes, chance: random.Random) -> bytes:
    """A piece of it until it is large, in lines or values with other numbers: what costs a number's square shows."""
    if data[:1] in (b"{", b"[") and chance.random() < 0.6:
        with contextlib.suppress(ValueError):
            document = json.loads(data)
            _swell(document, chance)
            return json.dumps(document).encode()
    lines = data.splitlines(keepends=True)
    start = chance.randrange(len(lines))
    piece = b"".join(lines[start:start + chance.choice((1, 1, 2, 5))])
    if chance.random() < 0.4:
        begin = chance.randrange(len(piece))
        piece = piece[begin:begin + chance.choice((1, 2, 7))] or b"a"
    count = LARGE // len(piece)
    again = piece * count if chance.random() < 0.5 else b"".join(
        piece.replace(b"a", b"a%d" % number, 1) for number in range(count))
    return b"".join(lines[:start]) + again + b"".join(lines[start:])


def _swell(document: Any, chance: random.Random) -> None:
    places = [node for node in _nodes(document) if node]
    node = chance.choice(places)
    if isinstance(node, list):
        node[:] = [chance.choice(node)] * (LARGE // (len(json.dumps(node[0])) + 2)) if chance.random() < 0.5 else [
            f"{number}" for number in range(LARGE // 9)]
    else:
        key = chance.choice(list(node))
        size = len(json.dumps(node[key])) + len(key) + 10
        node.update({f"{key}{number}": node[key] for number in range(LARGE // size)})


def _nodes(value: Any) -> Iterable[Any]:
    if isinstance(value, dict | list):
        yield value
        for below in value.values() if isinstance(value, dict) else value:
            yield from _nodes(below)


def _cataloged(name: str, path: str) -> Callable[[bytes], object]:
    row = catalogers.cataloger(name)

    def run(data: bytes) -> object:
        facts = list(row.facts(path, BytesIO(data) if row.seeks else data, lambda _: None))
        for fact in (fact for fact in facts if fact.type not in MARKERS):
            stated(fact.licenses)
            supplier(fact)
            for system in (None, Distribution(id="debian", version="12", name="x")):
                try:
                    purl = _purl(fact, system)
                except CustodyError:
                    continue
                ecosystem, _ = identify(purl, system)
                if ecosystem:
                    sortable(ecosystem, fact.version)
        return facts

    return run


def _advised(data: bytes) -> object:
    source = sources.of(data)
    said = list(source.read(data, "feed"))
    advisories = [entry for entry in said if isinstance(entry, Advisory)]
    advisories += [advisory for entry in said for advisory in getattr(entry, "advisories", ())]
    for advisory in advisories:
        for affected in advisory.affected:
            rate(advisory, affected)
            for version in ("1", "1.2.3-1", "", affected.versions[0] if affected.versions else "x"):
                try:
                    affected_by(affected, version)
                except CustodyError:
                    continue
    if advisories:
        with tempfile.TemporaryDirectory() as folder:
            SqliteAdvisories(Path(folder) / "a.db").add(
                [advisory if advisory.modified else msgspec.structs.replace(advisory, modified="2026-01-01T00:00:00Z")
                 for advisory in advisories], NOW)
    return said


def _proved(path: str, name: str) -> Callable[[bytes], object]:
    reader: Callable[[str, bytes], Iterable[object]] = statements.READERS[name]
    return lambda data: list(reader(path, data))


def rows() -> dict[str, tuple[bytes, Callable[[bytes], object]]]:
    """By name: what is broken, and who reads it."""
    return {
        **{name: (data, _cataloged(name, path)) for name, (path, data) in _FILES.items()},
        **{name: (text.encode(), _cataloged(name, path)) for name, (path, text) in SAMPLES.items()},
        **{name: (data, _cataloged(*place.split(":", 1))) for name, (place, data) in _MORE.items()},
        **{name: (data, _advised) for name, data in _FEEDS.items()},
        **{name: (data, lambda data: vex.read(data, "vex")) for name, data in _VEX.items()},
        **{name: (data, lambda data, name=name: ignorefile.read(data, name)) for name, data in _RULES.items()},
        **{f"--prove {name}": (data, _proved(path, name)) for name, (path, data) in _SUMS.items()}}


def main(seconds: float, seed: int, chosen: list[str]) -> int:
    chance, counts, slowest = random.Random(seed), Counter[str](), (0.0, "")
    wrong: dict[tuple[str, ...], str] = {}
    table = {name: row for name, row in rows().items() if not chosen or name in chosen}
    for name, (data, read) in table.items():
        try:
            said = "" if read(data) else "nothing"
        except (CustodyError, ValueError) as error:
            said = str(error)
        if said:
            wrong["unbroken", name] = f"{name}: its own document says {said}"
    stop = time.monotonic() + seconds
    names = list(table)
    while time.monotonic() < stop:
        name = chance.choice(names)
        data, read = table[name]
        data = broken(data, chance)
        started = time.process_time()
        try:
            counts["read" if read(data) else "silent"] += 1
        except (CustodyError, ValueError) as error:
            counts[f"refused ({'ours' if isinstance(error, CustodyError) else 'ValueError'})"] += 1
        except Exception as error:  # what is looked for
            counts["WRONG"] += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = type(error).__name__, place.filename.rpartition("/custody/")[2], str(place.lineno)
            wrong.setdefault(key, f"{name}: {' '.join(key)}: {str(error)[:100]}\n    {data[:200]!r}")
        taken = time.process_time() - started
        if taken > slowest[0]:
            slowest = taken, name
        if taken > SLOW:
            wrong.setdefault(("slow", name), f"{name}: {taken:.1f} s for {len(data)} bytes: {data[:200]!r}")
    print(f"seed {seed}: {sum(counts.values())} documents of {len(names)} rows, {dict(counts)}; slowest "
          f"{slowest[0] * 1000:.0f} ms of CPU, {slowest[1]}")
    for text in wrong.values():
        print(text)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, int(sys.argv[2]) if len(sys.argv) > 2 else 1,
                          sys.argv[3:]))
