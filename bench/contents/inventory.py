"""The inventory at several sizes: keeping images, and asking for what was planted in three of them.

usage: python bench/contents/inventory.py [sqlite|postgres] [IMAGES…]      default: sqlite 1000 10000 30000

An image has 250 packages: 150 of one of 100 bases, 60 of one of 500 frameworks, 40 of its own, of 4,000 names with 30
versions. Three images have the planted package. `nothing shared` is the worst case: every layer is its image's own.
What is said of the processor has the time of PostgreSQL's process in it.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from tests import postgres

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.formats import osv
from custody.formats.bom import Catalog, Layer, Location, Package
from custody.kit.digest import sha256
from custody.ports.inventory import InventoryStore, Sighting
from custody.services.affected import ask
from custody.services.rematch import refresh

NOW = datetime(2026, 11, 29, tzinfo=UTC)
_KINDS = (("npm", "npm"), ("pypi", "PyPI"), ("deb", "Debian:12"))


class Fleet:
    """Images that share layers as those of a firm do."""

    def __init__(self, count: int, *, shared: bool = True) -> None:
        self._chance = random.Random(7)
        self.count = count
        self._shared = shared
        self._bases = [self._layer(f"base{number}", 150) for number in range(100)]
        self._frameworks = [self._layer(f"framework{number}", 60) for number in range(500)]
        self.planted = {count // 7, count // 2, count - 1}

    def _layer(self, name: str, packages: int) -> tuple[str, list[Package]]:
        digest = sha256(name.encode())
        listed = {(package.type, package.name): package for package in (self._package(digest)
                                                                        for _ in range(packages * 5 // 4))}
        return digest, list(listed.values())[:packages]

    def _package(self, layer: str, name: str = "", version: str = "") -> Package:
        kind, ecosystem = ("npm", "npm") if name else self._chance.choice(_KINDS)
        name = name or f"p{int(4000 * self._chance.random() ** 3)}"
        version = version or f"1.{self._chance.randrange(30)}.0"
        path = "var/lib/dpkg/status" if kind == "deb" else f"app/{kind}/{name}/manifest"
        return Package(type=kind, name=name, version=version, purl=f"pkg:{kind}/{name}@{version}", ecosystem=ecosystem,
                       source=name, source_version=version, locations=(Location(path=path, layer=layer),))

    def catalogs(self) -> Iterator[Catalog]:
        for number in range(self.count):
            own = self._layer(f"own{number}", 40)
            parts = [self._chance.choice(self._bases), self._chance.choice(self._frameworks), own]
            if not self._shared:
                parts = [self._layer(f"{part}-{number}", size) for part, size in enumerate((150, 60, 40))]
                own = parts[-1]
            if number in self.planted:
                parts.append((own[0], [self._package(own[0], "planted", "1.5.0")]))
            packages = {(package.type, package.name): package for _, listed in parts for package in listed}
            yield Catalog(name=f"i{number}", digest=sha256(f"image{number}".encode()),
                          packages=tuple(packages.values()), layers=tuple(
                              Layer(digest=digest, diff_id=digest, entries=1, size=1)
                              for digest in dict.fromkeys(digest for digest, _ in parts)))


def advisory(name: str, package: str, fixed: str = "2.0.0", ecosystem: str = "npm") -> osv.Advisory:
    ranges = [{"type": "SEMVER" if ecosystem == "npm" else "ECOSYSTEM",
               "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    record: dict[str, Any] = {
        "id": name, "modified": "2026-01-01T00:00:00Z", "aliases": [f"CVE-{name[2:]}"],
        "affected": [{"package": {"ecosystem": ecosystem, "name": package}, "ranges": ranges}]}
    return osv.read(msgspec.json.encode(record))


class Watch:
    """Measures this process, and the server's process that answers it."""

    def __init__(self, server: int | None) -> None:
        self._server = server

    def processor(self) -> float:
        """Seconds so far."""
        if self._server is None:
            return time.process_time()
        spent = Path(f"/proc/{self._server}/stat").read_text().rpartition(")")[2].split()[11:13]
        return time.process_time() + sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")

    def timed(self, work: Callable[[], object], runs: int = 9) -> str:
        """Median and worst by the clock, and the processor time of one, in milliseconds."""
        times = []
        before = self.processor()
        for _ in range(runs):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) * 1000)
        spent = (self.processor() - before) / runs * 1000
        return f"{statistics.median(times):8.1f} {max(times):8.1f} {spent:8.1f}"


def measure(title: str, fleet: Fleet, inventory: InventoryStore, advisories: SqliteAdvisories,
            size: Callable[[], int], server: int | None) -> None:
    watch = Watch(server)
    start, before, making = time.perf_counter(), watch.processor(), 0.0
    for number, catalog in enumerate(_paced(fleet.catalogs())):
        making += catalog[1]
        inventory.keep(catalog[0], NOW)
        inventory.see([Sighting(catalog[0].digest, "name", f"r.example/i{number}:1", NOW)])
    took, spent = time.perf_counter() - start - making, watch.processor() - before - making
    print(f"{title}: {fleet.count} images, {size() / 2**20:.0f} MiB; kept in {took:.0f} s, "
          f"{took / fleet.count * 1000:.1f} ms an image, {spent / fleet.count * 1000:.1f} of processor")
    print(f"  {'':<24} {'':>11} {'median':>8} {'worst':>8} {'processor':>8}, ms")
    expected = {sha256(f"image{number}".encode()) for number in fleet.planted}
    for text in ("CVE-2026-1", "planted@<2", "pkg:npm/planted@1.5.0", "p1@<1.15", "p1", "CVE-2026-2"):
        answer = ask(text, inventory, advisories)
        images = {row.image for row in answer.affected}
        right = "" if text in ("p1", "p1@<1.15", "CVE-2026-2") else (
            "3 of 3, none false" if images == expected and not answer.undecided else "WRONG")
        told = watch.timed(lambda text=text: ask(text, inventory, advisories), 9 if right else 5)  # type: ignore[misc]
        print(f"  {text:<24} {len(answer.affected):>6} rows {told}  {right or f'{len(images)} images'}", flush=True)
    names = iter([f"p{number}@<1.15" for number in range(2, 4000, 100)])
    told = watch.timed(lambda: ask(next(names), inventory, advisories), 40)
    print(f"  {'40 names':<24} {'':>11} {told}")
    before = watch.processor()
    whole = refresh(inventory, advisories, NOW)  # type: ignore[arg-type]
    print(f"  every component matched: {whole.judged} in {watch.processor() - before:.1f} s of processor")
    advisories.add([advisory(f"X-2027-{title}", "planted")], NOW)
    before, start = watch.processor(), time.perf_counter()
    news = refresh(inventory, advisories, NOW)  # type: ignore[arg-type]
    print(f"  a new advisory for it: {news.appeared} finding appeared, {(time.perf_counter() - start) * 1000:.0f} ms, "
          f"{(watch.processor() - before) * 1000:.0f} of processor", flush=True)


def _paced(catalogs: Iterator[Catalog]) -> Iterator[tuple[Catalog, float]]:
    """Each with the seconds that making it took, which are nobody's."""
    while True:
        start = time.perf_counter()
        catalog = next(catalogs, None)
        if catalog is None:
            return
        yield catalog, time.perf_counter() - start


def main() -> None:
    engine = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    sizes = [int(size) for size in sys.argv[2:]] or [1000, 10_000, 30_000]
    print(f"{engine}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        advisories = SqliteAdvisories(Path(folder) / "advisories.db")
        advisories.add([advisory("X-2026-1", "planted"), advisory("X-2026-2", "p1")], NOW)
        fleets = [*((f"{size}", Fleet(size)) for size in sizes),
                  ("nothing shared", Fleet(min(1000, *sizes), shared=False))]
        if engine == "postgres":
            from custody.adapters.postgres.inventory import PostgresInventory

            with postgres.server() as address:
                for title, fleet in fleets:
                    own = postgres.database(address)
                    kept = PostgresInventory(own)
                    measure(title, fleet, kept, advisories, lambda own=own: _database_size(own),  # type: ignore[misc]
                            kept._engine._connection().info.backend_pid)  # type: ignore[attr-defined]
                    kept.close()
            return
        for title, fleet in fleets:
            file = Path(folder) / f"{title}.db"
            measure(title, fleet, SqliteInventory(file), advisories, lambda file=file: file.stat().st_size,  # type: ignore[misc]
                    None)


def _database_size(address: str) -> int:
    import psycopg

    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0


if __name__ == "__main__":
    main()
