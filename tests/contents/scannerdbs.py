"""Databases as Trivy and Grype read them, made from records: bbolt's pages, and Grype's tables.

`bolt` writes what `custody.formats.bolt` reads and was written without looking at it; both peers read the results.
"""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Tree = dict[bytes, "bytes | Tree"]
PAGE = 4096


def bolt(tree: Tree, page: int = PAGE) -> bytes:
    """The file of a root bucket."""
    pages: list[bytes] = []

    def add(content: bytes) -> int:
        number = 3 + sum(len(block) // page for block in pages)
        pages.append(struct.pack("<Q", number) + content[8:] + bytes(-len(content) % page))
        if len(pages[-1]) > page:
            pages[-1] = pages[-1][:12] + struct.pack("<I", len(pages[-1]) // page - 1) + pages[-1][16:]
        return number

    def leaf(rows: list[tuple[int, bytes, bytes]]) -> bytes:
        head, body, start = b"", b"", 16 * len(rows)
        for place, (flags, key, value) in enumerate(rows):
            head += struct.pack("<IIII", flags, start - 16 * place + len(body), len(key), len(value))
            body += key + value
        return struct.pack("<QHHI", 0, 2, len(rows), 0) + head + body

    def branch(rows: list[tuple[bytes, int]]) -> bytes:
        head, body, start = b"", b"", 16 * len(rows)
        for place, (key, number) in enumerate(rows):
            head += struct.pack("<IIQ", start - 16 * place + len(body), len(key), number)
            body += key
        return struct.pack("<QHHI", 0, 1, len(rows), 0) + head + body

    def stored(bucket: Tree, inline: bool = True) -> bytes:
        """The value of a bucket."""
        rows = [(1, key, stored(value)) if isinstance(value, dict) else (0, key, value)
                for key, value in sorted(bucket.items())]
        whole = leaf(rows)
        if inline and len(whole) <= page // 4 and not any(flags for flags, _, _ in rows):
            return struct.pack("<QQ", 0, 0) + whole
        level = [(group[0][1] if group else b"", add(leaf(group))) for group in _groups(
            rows, lambda row: 16 + len(row[1]) + len(row[2]), page)]
        while len(level) > 1:
            level = [(group[0][0], add(branch(group))) for group in _groups(level, lambda row: 16 + len(row[0]), page)]
        return struct.pack("<QQ", level[0][1], 0)

    root = stored(tree, inline=False)
    count = 3 + sum(len(block) // page for block in pages)
    metas = b""
    for number in (0, 1):
        meta = struct.pack("<IIII", 0xED0CDAED, 2, page, 0) + root + struct.pack("<QQQ", 2, count, number)
        checksum = 0xCBF29CE484222325
        for byte in meta:
            checksum = (checksum ^ byte) * 0x100000001B3 % (1 << 64)
        block = struct.pack("<QHHI", number, 4, 0, 0) + meta + struct.pack("<Q", checksum)
        metas += block + bytes(page - len(block))
    freelist = struct.pack("<QHHI", 2, 0x10, 0, 0)
    return metas + freelist + bytes(page - len(freelist)) + b"".join(pages)


def _groups(rows: list[Any], size: Any, page: int) -> list[list[Any]]:
    groups: list[list[Any]] = [[]]
    used = 16
    for row in rows:
        if groups[-1] and used + size(row) > page:
            groups.append([])
            used = 16
        groups[-1].append(row)
        used += size(row)
    return groups


@dataclass(frozen=True)
class Record:
    """What one publisher says of one package: `fixed` of a distribution's, `vulnerable` of a language's."""

    id: str
    ecosystem: str
    """As OSV has it: `Debian:12`, `npm`."""
    name: str
    fixed: str = ""
    vulnerable: tuple[str, ...] = ()
    patched: tuple[str, ...] = ()
    unaffected: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    severity: int = 0
    status: int = 0
    module: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


_BUCKETS = {"Debian": "debian {}", "Ubuntu": "ubuntu {}", "Alpine": "alpine {}", "Wolfi": "wolfi",
            "AlmaLinux": "alma {}", "Rocky Linux": "rocky {}", "Amazon Linux": "amazon linux {}",
            "Oracle Linux": "Oracle Linux {}", "Photon OS": "Photon OS {}", "Azure Linux": "Azure Linux {}",
            "Red Hat": "Red Hat", "SUSE": "SUSE Linux Enterprise {}"}
_SOURCES = {"AlmaLinux": "alma", "Rocky Linux": "rocky", "Amazon Linux": "amazon", "Oracle Linux": "oracle-oval",
            "Photon OS": "photon", "Azure Linux": "azure", "Red Hat": "redhat-oval", "SUSE": "suse-cvrf"}
TRIVY_LANGUAGES = {"npm": "npm", "Packagist": "composer", "PyPI": "pip", "RubyGems": "rubygems", "crates.io": "cargo",
                   "NuGet": "nuget", "Maven": "maven", "Go": "go", "Hex": "erlang", "Pub": "pub", "Bitnami": "bitnami",
                   "Julia": "julia", "SwiftURL": "swift"}
GRYPE_LANGUAGES = {"npm": "npm", "Packagist": "php-composer", "PyPI": "python", "RubyGems": "gem",
                   "Maven": "java-archive", "crates.io": "rust-crate", "NuGet": "dotnet", "Go": "go-module",
                   "Hex": "hex", "Pub": "dart-pub",
                   "Bitnami": "bitnami", "CRAN": "R-package", "SwiftURL": "swift"}
TRIVY_SYSTEMS = frozenset((*TRIVY_LANGUAGES, *_BUCKETS))
_GRYPE_SYSTEMS = {"Debian": ("debian", "debian", "deb"), "Ubuntu": ("ubuntu", "ubuntu", "deb"),
                  "Alpine": ("alpine", "alpine", "apk"), "Wolfi": ("wolfi", "wolfi", "apk"),
                  "AlmaLinux": ("almalinux", "almalinux", "rpm"), "Rocky Linux": ("rockylinux", "rocky", "rpm"),
                  "Amazon Linux": ("amazonlinux", "amzn", "rpm"), "Oracle Linux": ("oraclelinux", "ol", "rpm"),
                  "Red Hat": ("redhat", "rhel", "rpm"), "Azure Linux": ("azurelinux", "azurelinux", "rpm"),
                  "Photon OS": ("photon", "photon", "rpm"), "SUSE": ("sles", "sles", "rpm")}


_CODENAMES = {"Debian:12": "bookworm", "Debian:13": "trixie", "Ubuntu:22.04:LTS": "jammy"}


def trivy(records: Iterable[Record], details: Mapping[str, Mapping[str, Any]] | None = None,
          more: Tree | None = None) -> Tree:
    """The root of Trivy's database."""
    tree: Tree = {b"data-source": {}, b"vulnerability": {}, **(more or {})}
    for record in records:
        system, release = _release(record)
        bucket = (_BUCKETS[system].format(release.removeprefix("v").removesuffix(":LTS")) if system in _BUCKETS
                  else f"{TRIVY_LANGUAGES[system]}::Made for a test")
        source = _SOURCES.get(system, system.lower() if system in _BUCKETS else "ghsa")
        _bucket(tree, "data-source")[bucket.encode()] = json.dumps({"ID": source, "Name": system}).encode()
        stated: dict[str, Any] = {
            "FixedVersion": record.fixed, "VulnerableVersions": list(record.vulnerable),
            "PatchedVersions": list(record.patched), "UnaffectedVersions": list(record.unaffected),
            "VendorIDs": list(record.aliases), "Severity": record.severity, "Status": record.status, **record.extra}
        stated = {key: value for key, value in stated.items() if value}
        if system == "Red Hat":
            stated = {"Entries": [{**stated, "Affected": [0], "Cves": [{"ID": record.id}]}]}
            known = _bucket(tree, "Red Hat CPE")
            known[b"cpe"] = {b"0": f'"cpe:/o:redhat:enterprise_linux:{release}::baseos"'.encode()}
            known[b"repository"] = {f"rhel-{release}-for-x86_64-{part}-rpms".encode(): b"[0]" for part in (
                "baseos", "appstream")}
        name = record.name.lower().replace("_", "-") if system == "PyPI" else (
            record.name if system in ("Go", "Julia", *_BUCKETS) else record.name.lower())
        name = f"{record.module}::{name}" if record.module else name
        _bucket(_bucket(tree, bucket), name)[record.id.encode()] = json.dumps(stated).encode()
        _bucket(tree, "vulnerability").setdefault(record.id.encode(), json.dumps(
            {"Title": f"What {record.id} is", "VendorSeverity": {"nvd": 3}, **(details or {}).get(record.id, {})}
            ).encode())
    return tree


def _release(record: Record) -> tuple[str, str]:
    system, _, release = record.ecosystem.partition(":")
    return system, release.removeprefix("Linux Enterprise Server ").replace(" SP", ".")


def _bucket(tree: Tree, name: str) -> Tree:
    value = tree.setdefault(name.encode(), {})
    assert isinstance(value, dict)
    return value


def write_trivy(tree: Tree, folder: Path, version: int = 2) -> Path:
    """As Trivy keeps it in its cache: `db/trivy.db`, `db/metadata.json`."""
    kept = folder / "db"
    kept.mkdir(parents=True)
    (kept / "trivy.db").write_bytes(bolt(tree))
    (kept / "metadata.json").write_text(json.dumps({
        "Version": version, "NextUpdate": "2126-01-01T00:00:00Z", "UpdatedAt": "2026-01-01T00:00:00Z",
        "DownloadedAt": "2026-01-01T00:00:00Z"}))
    return kept


def grype_rows(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """As lines of what Grype's own code was given to make a database of."""
    for record in records:
        system, release = _release(record)
        row: dict[str, Any] = {"id": record.id, "status": "active", "aliases": list(record.aliases)}
        if system in _GRYPE_SYSTEMS:
            name, identifier, kind = _GRYPE_SYSTEMS[system]
            major, _, minor = release.removeprefix("v").removesuffix(":LTS").partition(".")
            row |= {"provider": name, "ecosystem": kind, "name": record.name, "os": {
                "name": name, "release": identifier, "major": major, "minor": minor,
                "codename": _CODENAMES.get(record.ecosystem, "")}}
        elif system == "CPE":
            part, vendor, product = record.name.split(":")
            row |= {"provider": "nvd", "cpe": {"part": part, "vendor": vendor, "product": product}}
        else:
            name = re.sub("[-_.]+", "-", record.name).lower() if system == "PyPI" else record.name
            row |= {"provider": "github", "ecosystem": GRYPE_LANGUAGES[system], "name": name}
        constraints = [f"< {record.fixed}"] if record.fixed else list(record.vulnerable) or [""]
        fixes = [record.fixed] if record.fixed else list(record.patched)
        fix = {"version": fixes[0] if fixes else "", "state": "fixed" if fixes else "not-fixed"}
        row["blob"] = {"ranges": [{"version": {"type": record.extra.get("format", ""), "constraint": constraint},
                                   "fix": fix} for constraint in constraints]}
        if record.module or row.get("ecosystem") == "rpm":
            row["blob"]["qualifiers"] = {"rpm_modularity": record.module}
        yield row


def write_grype(rows: Iterable[Mapping[str, Any]], schema: str, folder: Path) -> Path:
    """As Grype keeps it: `6/vulnerability.db` and `import.json`. `schema`: its statements that create tables."""
    kept = folder / "6"
    kept.mkdir(parents=True)
    with sqlite3.connect(kept / "vulnerability.db") as db:
        db.executescript(schema)
        numbers: dict[tuple[str, ...], int] = {}

        def number(table: str, columns: str, *values: Any) -> int:
            key = (table, *map(str, values))
            if key not in numbers:
                marks = ", ".join("?" * len(values))
                numbers[key] = db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values).lastrowid or 0
            return numbers[key]

        def blob(value: object) -> int:
            return number("blobs", "value", json.dumps(value))

        when = "2026-11-01 00:00:00+00:00"
        db.execute("INSERT INTO db_metadata (build_timestamp, model, revision, addition) VALUES (?, 6, 1, 10)", (when,))
        for row in rows:
            number("providers", "id, version, processor, date_captured, input_digest", row["provider"], "1", "made",
                   when, "sha256:0")
            stated = {"id": row["id"], **{key: row[key] for key in ("description", "aliases", "severities")
                                          if row.get(key)}}
            record = number("vulnerability_handles", "name, status, published_date, modified_date, withdrawn_date, "
                            "provider_id, blob_id", row["id"], row["status"], when, when, row.get("withdrawn"),
                            row["provider"], blob(stated))
            place = blob(row["blob"])
            if cpe := row.get("cpe"):
                product = number("cpes", "part, vendor, product, edition, language, software_edition, target_hardware, "
                                 "target_software, other", cpe["part"], cpe["vendor"], cpe["product"], *[""] * 6)
                number("affected_cpe_handles", "vulnerability_id, cpe_id, blob_id", record, product, place)
                continue
            system = row.get("os")
            release = None if system is None else number(
                "operating_systems", "name, release_id, major_version, minor_version, label_version, codename, channel",
                system["name"], system["release"], system["major"], system["minor"], "", system.get("codename", ""),
                system.get("channel", ""))
            package = number("packages", "ecosystem, name", row["ecosystem"], row["name"])
            table = "unaffected" if row.get("unaffected") else "affected"
            number(f"{table}_package_handles", "vulnerability_id, operating_system_id, package_id, blob_id", record,
                   release, package, place)
    db.close()
    digest = xxh64((kept / "vulnerability.db").read_bytes())
    (kept / "import.json").write_text(json.dumps({"digest": f"xxh64:{digest:016x}", "client_version": "v6.1.10"}))
    return kept


def xxh64(data: bytes) -> int:
    """XXH64 of seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md): Grype takes no file of another sum."""
    mask, primes = (1 << 64) - 1, (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                                   0x27D4EB2F165667C5)
    one, two, three, four, five = primes

    def turned(value: int, by: int) -> int:
        return (value << by | value >> 64 - by) & mask

    def rounded(lane: int, value: int) -> int:
        return turned((lane + value * two) & mask, 31) * one & mask

    stripes = len(data) // 32
    if stripes:
        lanes = [(one + two) & mask, two, 0, -one & mask]
        for block in struct.iter_unpack("<QQQQ", data[:32 * stripes]):
            lanes = [rounded(lane, value) for lane, value in zip(lanes, block, strict=True)]
        total = sum(turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
        for lane in lanes:
            total = ((total ^ rounded(0, lane)) * one + four) & mask
    else:
        total = five
    total = (total + len(data)) & mask
    rest = data[32 * stripes:]
    while len(rest) >= 8:
        total = (turned(total ^ rounded(0, struct.unpack_from("<Q", rest)[0]), 27) * one + four) & mask
        rest = rest[8:]
    if len(rest) >= 4:
        total = (turned(total ^ struct.unpack_from("<I", rest)[0] * one & mask, 23) * two + three) & mask
        rest = rest[4:]
    for byte in rest:
        total = turned(total ^ byte * five & mask, 11) * one & mask
    total = (total ^ total >> 33) * two & mask
    total = (total ^ total >> 29) * three & mask
    return total ^ total >> 32
