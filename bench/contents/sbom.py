"""SBOM of one image: custody, syft and Trivy in the same run, best of a few; whole processes, peak memory.

usage: python bench/contents/sbom.py OCI_LAYOUT [RUNS]      (syft and trivy from $CUSTODY_PEERS or PATH)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from isal import igzip

from custody.formats.oci import MANIFEST
from custody.registry.image import open_layout

PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))


def program(name: str) -> str | None:
    built = PEERS / name
    return str(built) if built.is_file() else shutil.which(name)


class RefusedError(Exception):
    """A program that does not read the image, and its last words."""


def measure(command: list[str], environ: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, MiB, and seconds of processor time of one process."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            words = [line.strip() for line in errors if line.strip()]
            raise RefusedError(f"exit {process.returncode}: {(words or ['no words'])[-1][-200:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def archives(folder: Path) -> None:
    """Trivy's database of Java archives with none in it: without any it reads no image with Java off line."""
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "trivy-java.db")) as database:
        database.executescript("CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT);"
                               "CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT)")
    stamp = "2126-01-01T00:00:00Z"
    (folder / "metadata.json").write_text(json.dumps(
        {"Version": 1, "NextUpdate": stamp, "UpdatedAt": stamp, "DownloadedAt": stamp}))


def below(layout: Path, folder: Path) -> None:
    """The image without its top layer: what was known before that one was built again."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    image = open_layout(layout)
    for layer in image.manifest.layers:
        (blobs / layer.digest[7:]).symlink_to(layout / "blobs/sha256" / layer.digest[7:])
    manifest = json.loads((layout / "blobs/sha256" / image.descriptor.digest[7:]).read_bytes())
    config = json.loads((layout / "blobs/sha256" / image.manifest.config.digest[7:]).read_bytes())
    del manifest["layers"][-1], config["rootfs"]["diff_ids"][-1]
    for document, place in ((config, manifest["config"]), (manifest, listed := {"mediaType": MANIFEST})):
        data = json.dumps(document).encode()
        place.update(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
        (blobs / place["digest"][7:]).write_bytes(data)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    shutil.copy(layout / "oci-layout", folder)


def least(layout: Path) -> tuple[int, int, float, float]:
    """Bytes of the image's layers packed and unpacked, and the processor's seconds for unpacking them and for the
    digests of both, by the libraries that custody uses and nothing else.
    """
    size = unpacked = 0
    inflating = hashing = 0.0
    for blob in (layout / "blobs/sha256").iterdir():
        with blob.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                continue
        size += blob.stat().st_size
        states = hashlib.sha256(), hashlib.sha256()
        with blob.open("rb") as packed:
            while piece := packed.read(1 << 18):
                start = time.process_time()
                states[0].update(piece)
                hashing += time.process_time() - start
        with igzip.open(blob) as stream:
            while True:
                start = time.process_time()
                piece = stream.read(1 << 18)
                inflating += (between := time.process_time()) - start
                states[1].update(piece)
                hashing += time.process_time() - between
                unpacked += len(piece)
                if not piece:
                    break
    return size, unpacked, inflating, hashing


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    layout, runs = str(Path(sys.argv[1]).resolve()), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    # As where it is installed: without this each run would compile all of custody's own modules.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows: list[tuple[str, float, float, float]] = []
    refused: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)

        def best(name: str, command: list[str], environ: dict[str, str], forget: Path | None = None,
                 before: list[str] | None = None) -> None:
            results = []
            for _ in range(runs):
                if forget is not None:
                    shutil.rmtree(forget, ignore_errors=True)
                if before is not None:
                    measure(before, environ)
                if forget == data / "trivy":
                    shutil.copytree(data / "archives", forget / "java-db")
                try:
                    results.append(measure(command, environ))
                except RefusedError as reason:
                    refused.append(f"{name} refuses the image: {reason}")
                    return
            rows.append((name, min(result[0] for result in results), max(result[1] for result in results),
                         min(result[2] for result in results)))

        custody = [str(Path(sys.executable).with_name("custody")), "sbom", f"oci:{layout}", "-o",
                   f"cyclonedx-json={data / 'custody.json'}"]
        own = {"CUSTODY_DATA_DIR": str(data / "custody")}
        best("custody, cold", custody, own, data / "custody")
        best("custody, layers known", custody, own)
        below(Path(layout), data / "below")
        best("custody, top layer new", custody, own, data / "custody",
             [*custody[:2], f"oci:{data / 'below'}", *custody[3:]])
        best("custody, cold, --prove", [*custody, "--prove"], own, data / "custody")
        if syft := program("syft"):
            best("syft", [syft, "-q", f"oci-dir:{layout}", "-o", f"cyclonedx-json={data / 'syft.json'}"],
                 {"SYFT_CHECK_FOR_APP_UPDATE": "false"})
        if trivy := program("trivy"):
            archives(data / "archives")
            command = [trivy, "image", "--quiet", "--offline-scan", "--skip-db-update", "--skip-java-db-update",
                       "--input", layout, "--format", "cyclonedx", "--cache-dir", str(data / "trivy"), "-o",
                       str(data / "trivy.json")]
            best("trivy, cold", command, {}, data / "trivy")
            best("trivy, layers known", command, {})
    base = next((row for row in rows if row[0] == "custody, cold"), None)
    print(f"{'':<24}{'seconds':>9}{'MiB':>7}{'x custody cold':>16}{'CPU seconds':>13}")
    for name, seconds, memory, processor in rows:
        print(f"{name:<24}{seconds:>9.2f}{memory:>7.0f}{f'{seconds / base[1]:.2f}' if base else '-':>16}"
              f"{processor:>13.2f}")
    size, unpacked, inflating, hashing = least(Path(layout))
    print(f"{size / 1e6:.0f} MB packed, {unpacked / 1e6:.0f} unpacked: {inflating:.2f} s of a processor to unpack, "
          f"{hashing:.2f} for both digests" + (
              f"; custody cold is {base[1] / inflating:.2f} x the first, and {base[3] - inflating - hashing:.2f} s of "
              "a processor above both" if base else ""))
    print(*refused, sep="\n", end="\n" if refused else "")


if __name__ == "__main__":
    main()
