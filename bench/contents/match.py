"""An SBOM of 5,000 packages: read, written, and matched with OSV records; osv-scanner on both in the same run.

usage: python bench/contents/match.py OSV_FOLDER [RUNS] [SBOM]      OSV_FOLDER/<ecosystem>/all.zip, as osv.dev has them

Processor time (user and system), the best of some runs, which alternate. Without an SBOM one is made: 1,500 packages
of AlmaLinux 9, 1,500 of Go, 1,000 of PyPI, 1,000 of npm; of the first three, 30 % have a name that an advisory names,
and of these every tenth has a version out of an advisory, the others the newest that any advisory tells.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from sbom import program

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.formats import sbom
from custody.formats.bom import Catalog, Layer, Location, Package
from custody.ports.advisories import AdvisoryKeeper
from custody.services.documents import SBOMS
from custody.versions import key, sortable
from custody.vulns import report
from custody.vulns.prefetch import Prefetched

NOW = datetime(2026, 11, 29, tzinfo=UTC)
_LAYER = "sha256:" + "a" * 64
_PARTS = (("AlmaLinux:9", "rpm", 1500), ("Go", "golang", 1500), ("PyPI", "pypi", 1000), ("npm", "npm", 1000))
_OLD, _NAMED = 0.1, 0.3
_FORMATS = ("cyclonedx-json", "cyclonedx-xml", "spdx-json", "spdx-tag-value", "spdx-json@3.0.1", "syft-json")


def made(advisories: AdvisoryKeeper) -> Catalog:
    told: dict[str, dict[str, list[str]]] = {ecosystem: {} for ecosystem, _, _ in _PARTS}
    for record in advisories.records():
        for entry in record.affected:
            if entry.ecosystem in told and not record.withdrawn:
                versions = [version for span in entry.ranges for _, version in span.events if version != "0"]
                told[entry.ecosystem].setdefault(entry.name, []).extend((*versions, *entry.versions))
    chance = random.Random(5)
    return Catalog(name="five-thousand", digest="sha256:" + "b" * 64, packages=tuple(sorted(
        (package for part in _PARTS for package in _packages(chance, part, told[part[0]])),
        key=lambda package: package.purl)), layers=(Layer(digest=_LAYER, diff_id=_LAYER, entries=1, size=1),))


def _packages(chance: random.Random, part: tuple[str, str, int], told: dict[str, list[str]]) -> Iterator[Package]:
    ecosystem, kind, count = part
    names = sorted(told)
    for number in range(count):
        name, version = f"unheard{number}", f"1.{chance.randrange(50)}.{chance.randrange(9)}"
        if kind == "golang":
            name = f"example.com/a/{name}"
        if names and chance.random() < _NAMED:
            name = names.pop(chance.randrange(len(names)))
            versions = told[name] or [version]
            version = chance.choice(versions) if chance.random() < _OLD else max(
                versions, key=lambda text: sortable(ecosystem, text) or b"")
        epoch, colon, bare = version.rpartition(":")
        purl = (f"pkg:rpm/almalinux/{name}@{bare}?arch=x86_64&distro=almalinux-9" + (f"&epoch={epoch}" if colon else "")
                if kind == "rpm" else f"pkg:{kind}/{name}@{version}")
        path = "var/lib/rpm/rpmdb.sqlite" if kind == "rpm" else f"app/{kind}/{number}"
        yield Package(type=kind, name=name, version=version, purl=purl, ecosystem=ecosystem, source=name,
                      source_version=version, locations=(Location(path=path, layer=_LAYER),))


def processor(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000


def whole(command: list[str], environ: dict[str, str], output: Path) -> tuple[float, float, float]:
    """Milliseconds of processor and of clock, and MiB at most, of one process."""
    start = time.perf_counter()
    with output.open("wb") as stream:
        process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=stream, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return ((usage.ru_utime + usage.ru_stime) * 1000, (time.perf_counter() - start) * 1000, usage.ru_maxrss / 1024)


def documents(catalog: Catalog, runs: int) -> None:
    print("| document | MB | written, ms | read, ms |\n|---|---|---|---|")
    for name in _FORMATS:
        data = SBOMS[name].write(catalog, NOW)
        written = min(processor(lambda name=name: SBOMS[name].write(catalog, NOW)) for _ in range(runs))  # type: ignore[misc]
        read = min(processor(lambda data=data: sbom.read(data, "SBOM")) for _ in range(runs))  # type: ignore[misc]
        print(f"| {name} | {len(data) / 1e6:.1f} | {written:.0f} | {read:.0f} |", flush=True)


def matched(catalog: Catalog, database: Path, runs: int) -> None:
    """Advisories loaded, and what is left of a scan, which begins with an empty memory each time."""
    loading, matching = [], []

    class Timed(Prefetched):
        def __init__(self, *arguments: object) -> None:
            loading.append(processor(lambda: super(Timed, self).__init__(*arguments)))  # type: ignore[arg-type]

    report.Prefetched = Timed  # type: ignore[misc,attr-defined]
    for _ in range(runs):
        key.cache_clear()
        sortable.cache_clear()
        store = SqliteAdvisories(database)
        matching.append(processor(lambda store=store: report.scan(catalog, store, NOW)) - loading[-1])  # type: ignore[misc]
    said = report.scan(catalog, SqliteAdvisories(database), NOW)
    print(f"custody in one process: advisories loaded {min(loading):.0f} ms, matched {min(matching):.0f} ms; "
          f"{len(said.findings)} findings in {len({finding.purl for finding in said.findings})} of "
          f"{len(catalog.packages)} packages")


def processes(bom: Path, archives: list[Path], data: Path, home: Path, runs: int) -> None:
    scanner = program("osv-scanner")
    custody = str(Path(sys.executable).with_name("custody"))
    commands = {"custody": ([custody, "scan", f"sbom:{bom}", "-o", "json"], {"CUSTODY_DATA_DIR": str(home)})}
    if scanner is None:
        print("osv-scanner is not installed")
    else:
        for archive in archives:
            place = data / "osv-scalibr" / archive.parent.name
            place.mkdir(parents=True)
            (place / "all.zip").symlink_to(archive)
        for name in ("Debian", "npm", "crates.io"):  # without one of them it matches nothing
            place = data / "osv-scalibr" / name / "all.zip"
            if not place.exists():
                place.parent.mkdir(parents=True)
                zipfile.ZipFile(place, "w").close()
        commands["osv-scanner"] = ([scanner, "scan", "source", "--offline", "--offline-vulnerabilities", "-L", str(bom),
                                    "--format", "json"], {"OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY": str(data)})
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, (command, environ) in commands.items():
            rows[name].append(whole(command, environ, data / f"{name}.json"))
    base = min(rows["custody"])[0]
    for name, measured in rows.items():
        best = min(measured)
        print(f"{name}, whole process: {best[0]:.0f} ms of processor ({best[0] / base:.2f} x custody), "
              f"{min(row[1] for row in measured):.0f} ms of clock, {max(row[2] for row in measured):.0f} MiB, "
              f"{_findings(data / f'{name}.json')}")


def _findings(output: Path) -> str:
    said = json.loads(output.read_bytes())
    if "findings" in said:
        return f"{len(said['findings'])} findings in {len({row['purl'] for row in said['findings']})} packages"
    packages = [entry for result in said["results"] for entry in result["packages"]]
    return f"{sum(len(entry.get('groups', ())) for entry in packages)} findings in {len(packages)} packages"


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    archives = sorted(Path(sys.argv[1]).resolve().glob("*/all.zip"))
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is installed
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        data, home = Path(folder), Path(folder) / "custody"
        importing, _, _ = whole([str(Path(sys.executable).with_name("custody")), "db", "import", *map(str, archives)],
                                {"CUSTODY_DATA_DIR": str(home)}, data / "import.txt")
        database = home / "advisories.db"
        print(f"custody db import, {len(archives)} archives: {importing:.0f} ms, "
              f"{SqliteAdvisories(database).status().advisories} advisories, {database.stat().st_size / 1e6:.0f} MB")
        bom = data / "bom.cdx.json"
        if len(sys.argv) > 3:
            shutil.copy(sys.argv[3], bom)
        else:
            bom.write_bytes(SBOMS["cyclonedx-json"].write(made(SqliteAdvisories(database)), NOW))
        catalog = sbom.read(bom.read_bytes(), str(bom))
        if catalog is None:
            raise SystemExit(f"{bom}: is no SBOM")
        matched(catalog, database, runs)
        documents(catalog, runs)
        processes(bom, archives, data, home, runs)


if __name__ == "__main__":
    main()
