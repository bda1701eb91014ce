"""Folders, SBOMs, VEX and advisories made to take time or memory: what `hostile.py` does, for what is no layer.

usage: python bench/contents/hostilefiles.py [ROW…]      (syft from $CUSTODY_PEERS or PATH, where it reads such a thing)

Exit code 1 where custody breaks, is killed, takes more than 300 MiB, or more than five seconds of processor time and
more than syft does, which is stopped after 15 seconds of it.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
MOST_MIB, SECONDS, ALONE, PEER = 300, 5.0, 60, 15
M = 1 << 20


class Row(NamedTuple):
    path: str
    content: Callable[[], bytes]
    copies: int = 1
    """Of the one file, as hard links, each in a folder of its own."""
    command: tuple[str, ...] = ("sbom", "dir:t", "-o", "purls")
    syft: tuple[str, ...] | None = ("dir:t", "-o", "syft-json")
    beside: Callable[[], dict[str, bytes]] = dict
    """Further files, by their paths."""
    first: tuple[str, ...] = ()
    """What is typed before, and not measured."""
    whole: bool = False
    """Whether custody reads all of it: where it refuses, nothing was measured, which is said and counts as broken."""


def jar(members: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def nested(depth: int, width: int = 1) -> bytes:
    content = jar({"META-INF/maven/o/a/pom.properties": b"groupId=o\nartifactId=a\nversion=1\n"})
    for level in range(depth):
        content = jar({f"{level}-{number}.jar": content for number in range(width)})
    return content


def lying_sizes() -> bytes:
    """Each member says that it has nothing, and unpacks to 64 MiB."""
    data = bytearray(jar({f"{number}.jar": bytes(64 * M) for number in range(8)}))
    for sign, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = -1
        while (start := data.find(sign, start + 1)) >= 0:
            struct.pack_into("<I", data, start + place, 0)
    return bytes(data)


def members_in_one_place() -> bytes:
    """A directory of 60,000 members that all are the same 1 MiB archive."""
    inner = jar({"a.jar": jar({"x": bytes(M)})})
    data = bytearray(inner)
    start = data.find(b"PK\x01\x02")
    entry = bytes(data[start:data.find(b"PK\x05\x06")])
    count = 60_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(entry) * count, start, 0)
    return bytes(data[:start]) + entry * count + end


def sqlite_pages(count: int, payload: bytes) -> bytes:
    page = bytearray(4096)
    page[:16] = b"SQLite format 3\0"
    struct.pack_into(">HBBBBBB", page, 16, 4096, 1, 1, 0, 64, 32, 32)
    struct.pack_into(">II", page, 24, 1, count)
    struct.pack_into(">I", page, 56, 1)
    page[100:100 + len(payload)] = payload
    return bytes(page) + payload[:4096].ljust(4096, b"\0") * (count - 1)


def rpm_header(entries: int, size: int) -> bytes:
    """An RPM header whose index says that each entry has all the rest as its strings."""
    index = b"".join(struct.pack(">IIII", 1000 + number % 200, 8, 0, 1_000_000) for number in range(entries))
    return struct.pack(">II", entries, size) + index + b"a\0" * (size // 2)


def ndb(blobs: int) -> bytes:
    header = rpm_header(5000, M)
    slots = b"".join(struct.pack("<4sIII", b"Slot", number + 1, 256, 1 + len(header) // 16) for number in range(blobs))
    head = struct.pack("<4sIIIII", b"RpmP", 0, 1, 1 + len(slots) // 4096, 1, 0).ljust(32, b"\0")
    return (head + slots).ljust(4096 * (1 + (len(slots) + 32) // 4096), b"\0") + struct.pack(
        "<4sIII", b"BlbS", 1, 0, len(header)) + header


def bdb() -> bytes:
    """Pages that lead to each other and to themselves."""
    meta = bytearray(4096)
    struct.pack_into("<IIIIIIBB", meta, 0, 0, 0, 0, 0x061561, 9, 4096, 0, 8)
    struct.pack_into("<I", meta, 32, 5000)
    pages = [bytes(meta)]
    for number in range(1, 5000):
        page = bytearray(b"\xff" * 4096)
        struct.pack_into("<IIIIIHHBB", page, 0, 0, 0, number, number % 7 + 1, number % 5 + 1, 2000, 26, 0, 13)
        pages.append(bytes(page))
    return b"".join(pages)


def pe(sections: int) -> bytes:
    head = bytearray(b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0")
    head += struct.pack("<HHIIIHH", 0x8664, sections, 0, 0, 0, 240, 0) + struct.pack("<H", 0x20B) + bytes(106)
    head += struct.pack("<I", 16) + struct.pack("<II", 0x2000, 0xFFFFFFFF) * 16
    row = b".rsrc\0\0\0" + struct.pack("<IIII", 0xFFFFFFFF, 0x2000, 0xFFFFFFFF, 0x400) + bytes(16)
    directory = bytes(12) + struct.pack("<HH", 0xFFFF, 0xFFFF) + struct.pack("<II", 0x80000010, 0x80000000) * 130_000
    return bytes(head) + row * sections + directory


def fat_macho() -> bytes:
    return struct.pack(">II", 0xCAFEBABE, 0xFFFF) + struct.pack(">IIIII", 7, 3, 0, M, 0) * 50_000 + struct.pack(
        "<IIIIIIII", 0xFEEDFACF, 7, 3, 2, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0) * 10_000


def cyclonedx(count: int, edges: int) -> bytes:
    refs = [f"pkg:npm/n{number}@1" for number in range(count)]
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "name": ref[8:-2], "version": "1", "purl": ref, "bom-ref": ref} for ref in refs],
        "dependencies": [{"ref": ref, "dependsOn": [refs[(number + place) % count] for place in range(edges)]}
                         for number, ref in enumerate(refs)]}).encode()


def spdx3(count: int) -> bytes:
    made, by = {"creationInfo": "_:made"}, "https://a.example/"
    names = [f"{by}p{number}" for number in range(count)]
    edges = [{"type": "Relationship", "spdxId": f"{by}r{number}", **made, "from": name, "relationshipType": "dependsOn",
              "to": [names[(number + place + 1) % count] for place in range(10)]} for number, name in enumerate(names)]
    return json.dumps({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
        {"type": "CreationInfo", "@id": "_:made", "specVersion": "3.0.1", "created": "2026-01-01T00:00:00Z",
         "createdBy": [f"{by}who"]}, {"type": "Person", "spdxId": f"{by}who", **made, "name": "A"},
        {"type": "SpdxDocument", "spdxId": f"{by}document", **made, "rootElement": [f"{by}sbom"]},
        {"type": "software_Sbom", "spdxId": f"{by}sbom", **made, "rootElement": [names[0]]},
        *({"type": "software_Package", "spdxId": name, **made, "name": f"n{number}", "software_packageVersion": "1",
           "software_packageUrl": f"pkg:npm/n{number}@1"} for number, name in enumerate(names)), *edges]}).encode()


def statements(count: int) -> bytes:
    return json.dumps({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://a.example/v", "author": "A",
                       "version": 1, "timestamp": "2026-01-01T00:00:00Z", "statements": [{
                           "vulnerability": {"name": f"CVE-2026-{number % 500:05}"}, "status": "not_affected",
                           "justification": "component_not_present",
                           "products": [{"@id": f"pkg:npm/n{place}@{2 + number}"} for place in range(20)]}
                           for number in range(count)]}).encode()


def vulnerable(packages: int, records: int) -> dict[str, bytes]:
    """An SBOM, and records of which each is of all of its packages."""
    return {"t/s.json": cyclonedx(packages, 1), **{f"osv/{number}.json": json.dumps({
        "id": f"CVE-2026-{number:05}", "modified": "2026-01-01T00:00:00Z", "affected": [
            {"package": {"ecosystem": "npm", "name": f"n{place}"}, "ranges": [
                {"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "9.0.0"}]}]}
            for place in range(packages)]}).encode() for number in range(records)}}


def osv_ranges(events: int) -> bytes:
    return json.dumps({"id": "GHSA-a", "modified": "2026-01-01T00:00:00Z", "affected": [
        {"package": {"ecosystem": "npm", "name": "n"}, "ranges": [{"type": "SEMVER", "events": [
            entry for number in range(events)
            for entry in ({"introduced": f"1.{number}.0"}, {"fixed": f"1.{number}.0"})]}]}
    ]}).encode()


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(M)) for _ in range(size)), packer.flush()])


def deb() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("./control")
        info.size = 200 * M
        archive.addfile(info, io.BytesIO(b"Package: a\n" * (200 * M // 11 + 1)))
    control = zlib.compressobj(9, wbits=31)
    data = control.compress(out.getvalue()) + control.flush()
    return b"!<arch>\n" + b"".join(
        b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644", len(body)) + body + b"\n" * (len(body) % 2)
        for name, body in ((b"debian-binary", b"2.0\n"), (b"control.tar.gz", data)))


_IMPORT, _CONVERT = ("db", "import", "t"), ("sbom", "convert", "t/{}", "-o", "spdx-json")
_ROOT = ("sbom", "rootfs:t", "-o", "purls")
ROWS: dict[str, Row] = {
    "jars_in_each_other": Row("a.jar", lambda: nested(20), 500),
    "jars_in_each_other_three_wide": Row("a.jar", lambda: nested(8, 3), 20),
    "jar_of_zeros": Row("a.jar", lambda: jar({"a.jar": bytes(1 << 30)}), 10),
    "jar_of_lying_sizes": Row("a.jar", lying_sizes, 20),
    "jar_of_one_member": Row("a.jar", members_in_one_place, 5),
    "jar_of_names": Row("a.jar", lambda: jar({f"{number}.class": b"" for number in range(200_000)}, 0), 5),
    "jar_of_poms": Row("a.jar", lambda: jar({f"META-INF/maven/o/a{number}/pom.properties":
                                             b"groupId=o\nartifactId=a%d\nversion=1\n" % number
                                             for number in range(60_000)}), 2),
    "pom_of_properties": Row("pom.xml", lambda: b"<project><artifactId>${a0}</artifactId><version>1</version><groupId>g"
                             b"</groupId><properties>" + b"".join(b"<a%d>${a%d}${a%d}</a%d>" % (n, n + 1, n + 1, n)
                                                                for n in range(60)) + b"</properties></project>", 20),
    "pom_of_entities": Row("pom.xml", lambda: b"<!DOCTYPE p [" + b"".join(
        b'<!ENTITY a%d "&a%d;&a%d;">' % (n + 1, n, n) for n in range(60)) + b"]><project>&a60;</project>", 20),
    "rpm_sqlite_of_ones": Row("usr/lib/sysimage/rpm/rpmdb.sqlite",
                              lambda: sqlite_pages(60_000, b"\x05" + b"\xff" * 4000),
                              1, _ROOT),
    "rpm_sqlite_of_pointers": Row("usr/lib/sysimage/rpm/rpmdb.sqlite", lambda: sqlite_pages(
        20_000, b"\x05\0\0\x03\xff\0\0\0\0\0\0\2" + b"\0\x10" * 1023), 1, _ROOT),
    "rpm_ndb_of_one_blob": Row("var/lib/rpm/Packages.db", lambda: ndb(50_000), 1, _ROOT),
    "rpm_bdb_of_circles": Row("var/lib/rpm/Packages", bdb, 1, _ROOT),
    "rpm_header_of_strings": Row("var/lib/rpm/Packages.db", lambda: ndb(1), 1, _ROOT),
    "deb_of_control": Row("a.deb", deb, 20),
    "portage_contents": Row("var/db/pkg/a/b-1/CONTENTS", lambda: b"obj /usr/bin/a%d 0 1\n" * 700_000, 1, _ROOT),
    "pacman_files": Row("var/lib/pacman/local/a-1-1/files", lambda: b"%FILES%\n" + b"usr/bin/x\n" * 1_500_000, 1,
                        _ROOT),
    "dll_of_resources": Row("a.dll", lambda: pe(96), 100),
    "macho_of_slices": Row("a.dylib", fat_macho, 100, _ROOT),
    "deps_of_targets": Row("a.deps.json", lambda: json.dumps({"targets": {f"t{number}": {f"A{place}/1": {"depend"
                                                            "encies": {
        "B": "1"}} for place in range(100)} for number in range(300)}, "libraries": {f"A{place}/1": {"type": "package"}
                                                                                  for place in range(100)}}).encode(),
                           50),
    "npm_lock_of_packages": Row("package-lock.json", lambda: json.dumps({"lockfileVersion": 3, "packages": {
        f"node_modules/n{number}": {"version": "1", "dependencies": {f"n{number - 1}": "1"}}
        for number in range(40_000)}}).encode(), 10),
    "npm_lock_in_each_other": Row("package-lock.json", lambda: b'{"lockfileVersion":1,"dependencies":' + b'{"a":'
                                                            b'{"version":'
                                  b'"1","dependencies":' * 3000 + b"{}" + b"}}" * 3000 + b"}", 50),
    "yarn_lock_of_lines": Row("yarn.lock", lambda: b"".join(b'"a%d@1":\n  version "1"\n  dependencies:\n    a%d 1\n' % (
        n, n - 1) for n in range(60_000)), 10),
    "pnpm_lock_of_keys": Row("pnpm-lock.yaml", lambda: b"lockfileVersion: '9.0'\npackages:\n" + b"".join(
        b"  a%d@1.0.0:\n    resolution: {integrity: x}\n" % n for n in range(80_000)), 10),
    "cargo_lock": Row("Cargo.lock", lambda: b"version = 3\n" + b"".join(
        b'[[package]]\nname = "a%d"\nversion = "1"\ndependencies = ["a%d"]\n' % (n, n - 1) for n in range(50_000)), 5),
    "uv_lock_of_dots": Row("uv.lock", lambda: b"a" + b".a" * 500 + b" = 1\n", 2000),
    "poetry_lock_deep": Row("poetry.lock", lambda: b"a = " + b"[" * 2 * M, 50),
    "gradle_lock": Row("gradle.lockfile", lambda: b"o:a:1=x,y,z\n" * 300_000, 20),
    "go_mod_of_lines": Row("go.mod", lambda: b"module a\nrequire (\n" + b"\tb.c/d%d v1.0.0\n" * 200_000 + b")\n", 20),
    "composer_lock_of_dev": Row("vendor/composer/installed.json", lambda: json.dumps({"packages": [
        {"name": f"a/b{number}", "version": "1"} for number in range(40_000)], "dev-package-names": [
        f"c/d{number}" for number in range(40_000)]}).encode(), 5, _ROOT),
    "requirements_of_hashes": Row("requirements.txt", lambda: b"a==1 \\\n" + b"  --hash=sha256:0 \\\n" * 150_000, 20),
    "gems_lock": Row("Gemfile.lock", lambda: b"GEM\n  specs:\n" + b"    a (1)\n      b (>= 1)\n" * 120_000, 20),
    "nix_drv": Row("nix/store/a-b/x", lambda: b"", 1, _ROOT),
    "wheel_record": Row("a.dist-info/RECORD", lambda: b"a/b.so,sha256=x,1\n" * 600_000, 20, _ROOT),
    "embedded_sbom": Row("a.dist-info/sboms/a.json", lambda: cyclonedx(10_000, 3), 5, _ROOT),
    "sbom_cyclonedx": Row("s.json", lambda: cyclonedx(20_000, 20), 1, _CONVERT,
                          ("convert", "t/s.json", "-o", "spdx-json")),
    "sbom_spdx3": Row("s.json", lambda: spdx3(20_000), 1, _CONVERT, None, whole=True),
    "sbom_deep": Row("s.json", lambda: b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":' + b'[{"comp'
                                                            b'onents":'
                     * 500_000, 1, _CONVERT, ("convert", "t/s.json", "-o", "spdx-json")),
    "sbom_xml": Row("s.xml", lambda: b'<bom xmlns="http://cyclonedx.org/schema/bom/1.6"><components>' + b'<compo'
                                                            b'nent type='
                    b'"library"><name>a</name><version>1</version></component>' * 100_000 + b"</components></bom>", 1,
                    _CONVERT, ("convert", "t/s.xml", "-o", "spdx-json")),
    "sbom_tag_value": Row("s.spdx", lambda: b"SPDXVersion: SPDX-2.3\n" + b"".join(
        b"PackageName: a%d\nSPDXID: SPDXRef-%d\nRelationship: SPDXRef-%d DEPENDS_ON SPDXRef-0\n" % (n, n, n)
        for n in range(60_000)), 1, _CONVERT, ("convert", "t/s.spdx", "-o", "spdx-json")),
    "sbom_syft": Row("s.json", lambda: json.dumps({"artifacts": [], "artifactRelationships": [], "files": [
        {"id": "1", "location": {"path": "/a"}, "unknowns": ["a: b"]}] * 300_000}).encode(), 1, _CONVERT,
                     ("convert", "t/s.json", "-o", "spdx-json")),
    "osv_of_events": Row("a.json", lambda: osv_ranges(40_000), 1, _IMPORT, None),
    "osv_deep": Row("a.json", lambda: b'{"id":' + b"[" * 8 * M, 1, _IMPORT, None),
    "osv_bomb": Row("a.json.gz", lambda: bomb(2000), 1, _IMPORT, None),
    "oval_entities": Row("oval.xml", lambda: b"<!DOCTYPE a [" + b"".join(b'<!ENTITY a%d "&a%d;&a%d;">' % (n + 1, n, n)
                         for n in range(60)) + b']><oval_definitions>&a60;</oval_definitions>', 1, _IMPORT, None),
    "oval_deep": Row("oval.xml", lambda: b"<oval_definitions>" + b"<criteria>" * M, 1, _IMPORT, None),
    "updateinfo_of_one": Row("updateinfo.xml", lambda: b'<updates><update from="a@amazon.com" status="final" typ'
                                                       b'e="security">'
                             b"<id>ALAS-1</id><references>" + b'<reference id="CVE-2026-0001" type="cve"/>' * 500_000,
                             1,
                             _IMPORT, None),
    "debian_tracker": Row("t.json", lambda: json.dumps({f"p{n}": {f"CVE-2026-{n:05}": {"releases": {"bookworm": {
        "status": "open", "repositories": {}, "urgency": "low"}}}} for n in range(30_000)}).encode(), 1, _IMPORT, None),
    "epss_of_lines": Row("epss_scores-current.csv", lambda: b"#model_version:v2025.03.14,score_date:2026-01-01T0"
                                                            b"0:00:00+0000"
                         b"\ncve,epss,percentile\n" + b"CVE-2026-0001,0.1,0.1\n" * M, 1, _IMPORT, None),
    "vex_of_statements": Row("v.json", lambda: statements(2_500), 1, (
        "scan", "sbom:t/s.json", "-o", "json", "--vex", "t/v.json"), None, lambda: vulnerable(20, 500),
                             ("db", "import", "osv"), whole=True),
}


def measure(command: list[str], place: Path, seconds: int, memory: int | None = None) -> tuple[float, int, int, str]:
    """Processor seconds, MiB, exit code, and the last line of what it said."""
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        if memory:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=said, preexec_fn=limit, env={
            **os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false", "CUSTODY_DATA_DIR": str(place / "d")})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = [line.strip() for line in said if line.strip()]
    told = next((line for line in lines if line.startswith(("error:", "Traceback")) or "not catalogued" in line), "")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10, process.returncode, told


def main() -> int:
    built = PEERS / "syft"
    syft = str(built) if built.is_file() else shutil.which("syft")
    custody = [sys.executable, "-c", "from custody.cli.main import main; raise SystemExit(main())"]
    broken = []
    print(f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}\n{'':<31}{'custody s':>10}{'MiB':>5}{'exit':>5}"
          f"{'syft s':>8}{'MiB':>6}  what custody said", flush=True)
    for name in sys.argv[1:] or ROWS:
        row = ROWS[name]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for number in range(row.copies):
                file = place / "t" / (str(number) if row.copies > 1 else "") / row.path
                file.parent.mkdir(parents=True)
                if number:
                    os.link(place / "t/0" / row.path, file)
                else:
                    file.write_bytes(row.content())
            for path, content in row.beside().items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(content)
            if row.first and (failed := measure([*custody, *row.first], place, ALONE))[2]:
                raise SystemExit(f"{name}: custody {' '.join(row.first)}: {failed[3]}")
            own, memory, code, said = measure([*custody, *(word.format(row.path) for word in row.command)], place,
                                              ALONE)
            theirs, much = 0.0, 0
            if syft and row.syft:
                theirs, much, _, _ = measure([syft, "-q", *row.syft], place, PEER, 4 << 30)
        if code in (1, -9, -11, -24) or "Traceback" in said or memory > MOST_MIB or own > max(SECONDS, theirs) or (
                row.whole and code):
            broken.append(name)
        print(f"{name:<31}{own:>10.1f}{memory:>5}{code:>5}{theirs:>8.1f}{much:>6}  {said[:70]}", flush=True)
    print("beyond its limits: " + ", ".join(broken) if broken else "all within their limits")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
