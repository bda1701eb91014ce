"""Matching an SBOM's packages with advisories: custody and osv-scanner on the same records, in the same run.

usage: python bench/contents/match.py SBOM.cdx.json OSV_FOLDER [RUNS]      (OSV_FOLDER/<ecosystem>/all.zip)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from sbom import measure, program


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    bom, records = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    archives = sorted(records.glob("*/all.zip"))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        custody = str(Path(sys.executable).with_name("custody"))
        own = {"CUSTODY_DATA_DIR": str(data / "custody")}
        start = time.perf_counter()
        subprocess.run(
            [custody, "db", "import", *map(str, archives)], check=True, env={**os.environ, **own}, capture_output=True
        )
        print(f"custody db import, {len(archives)} archives: {time.perf_counter() - start:.2f} s")
        scan = [custody, "scan", f"sbom:{bom}", "-o", f"json={data / 'scan.json'}"]
        results = [measure(scan, own) for _ in range(runs)]
        base = min(result[0] for result in results)
        found = json.loads((data / "scan.json").read_text())["findings"]
        print(f"custody scan: {base:.2f} s, {max(r[1] for r in results):.0f} MiB, {len(found)} findings "
              f"in {len({entry['package'] for entry in found})} packages")
        scanner = program("osv-scanner")
        if scanner is None:
            print("osv-scanner is not installed")
            return
        for archive in archives:
            place = data / "cache/osv-scalibr" / archive.parent.name / "all.zip"
            place.parent.mkdir(parents=True)
            shutil.copy(archive, place)
        for name in ("Debian", "npm", "crates.io"):
            place = data / "cache/osv-scalibr" / name / "all.zip"
            if not place.exists():
                place.parent.mkdir(parents=True)
                zipfile.ZipFile(place, "w").close()
        named = data / "bom.cdx.json"
        shutil.copy(bom, named)
        best = 1e9
        for _ in range(runs):
            start = time.perf_counter()
            done = subprocess.run(
                [
                    scanner,
                    "scan",
                    "source",
                    "--offline",
                    "--offline-vulnerabilities",
                    "-L",
                    str(named),
                    "--format",
                    "json",
                ],
                capture_output=True,
                check=False,
                env={**os.environ, "XDG_CACHE_HOME": str(data / "cache")},
            )
            best = min(best, time.perf_counter() - start)
        packages = [entry for result in json.loads(done.stdout)["results"] for entry in result["packages"]]
        print(f"osv-scanner: {best:.2f} s, {sum(len(entry.get('groups', ())) for entry in packages)} findings in "
              f"{len(packages)} packages; {best / base:.2f} x custody")


if __name__ == "__main__":
    main()
