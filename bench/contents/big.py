"""SBOMs of images that are large on purpose: three million files, and eight gigabytes in one layer.

usage: python bench/contents/big.py [files|bytes …] [--syft]

Each image is made in a temporary folder, read by whole processes, and deleted. What it may take is 300 MiB.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from isal import isal_zlib

sys.path.insert(0, str(Path(__file__).parent))

from sbom import RefusedError, measure, program

_FILES, _BYTES, _FILE = 3_000_000, 8 << 30, 1 << 30
_PLANTED = {"files": _FILES // 1000, "bytes": 1}
_METADATA = b"Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n\n"


def header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def files() -> Iterator[bytes]:
    """Empty files in folders of a thousand, one in a thousand of them a package's metadata."""
    template = bytearray(header("x", 0))
    for number in range(_FILES):
        if number % 1000 == 0:
            name = f"srv/{number // 1000:04d}/planted-{number // 1000}.dist-info/METADATA"
            body = _METADATA.replace(b"planted", b"planted-%d" % (number // 1000))
            yield header(name, len(body)) + body + bytes(-len(body) % 512)
            continue
        template[:100] = f"srv/{number // 1000:04d}/{number % 1000:03d}.txt".encode().ljust(100, b"\0")
        template[148:156] = b" " * 8
        template[148:156] = b"%06o\0 " % sum(template)
        yield bytes(template)
    yield bytes(1024)


def contents() -> Iterator[bytes]:
    """Files of 1 GiB of which no two blocks are the same, and a package behind them."""
    block = random.Random(7).randbytes(8 << 10) * 8 + b"lorem ipsum " * 5461
    piece = (block * (1 + (1 << 20) // len(block)))[:1 << 20]
    for number in range(_BYTES // _FILE):
        yield header(f"var/data/{number}.bin", _FILE)
        for part in range(_FILE >> 20):
            yield struct.pack("<Q", number << 32 | part) + piece[8:]
    yield header("srv/planted.dist-info/METADATA", len(_METADATA)) + _METADATA + bytes(-len(_METADATA) % 512)
    yield bytes(1024)


def layout(folder: Path, tar: Callable[[], Iterator[bytes]]) -> tuple[int, int]:
    """Writes the image; bytes of its layer packed, and unpacked."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    packed, plain = hashlib.sha256(), hashlib.sha256()
    size = unpacked = 0
    waiting = bytearray()
    with (blobs / "layer").open("wb") as file:
        def write(data: bytes) -> None:
            nonlocal size
            packed.update(data)
            size += file.write(data)

        def pack() -> None:
            nonlocal unpacked
            plain.update(waiting)
            unpacked += len(waiting)
            write(packer.compress(waiting))
            waiting.clear()

        for part in tar():
            waiting += part
            if len(waiting) >= 1 << 20:
                pack()
        pack()
        write(packer.flush())
    (blobs / "layer").rename(blobs / packed.hexdigest())

    def blob(document: object, kind: str) -> dict[str, object]:
        data = json.dumps(document).encode()
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}

    of = "application/vnd.oci.image."
    config = blob({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]}}, f"{of}config.v1+json")
    manifest = blob({"schemaVersion": 2, "mediaType": f"{of}manifest.v1+json", "config": config, "layers": [{
        "mediaType": f"{of}layer.v1.tar+gzip", "digest": f"sha256:{packed.hexdigest()}", "size": size}]},
        f"{of}manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return size, unpacked


def main() -> None:
    rows = {"files": files, "bytes": contents}
    chosen = [word for word in sys.argv[1:] if word in rows] or list(rows)
    if set(sys.argv[1:]) - {*rows, "--syft"}:
        raise SystemExit(__doc__)
    syft = program("syft") if "--syft" in sys.argv else None
    print(f"{'':<24}{'seconds':>9}{'MiB':>7}{'CPU seconds':>13}")
    for name in chosen:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            size, unpacked = layout(folder / "image", rows[name])
            print(f"{name}: {size / 1e6:.0f} MB packed, {unpacked / 1e6:.0f} unpacked", flush=True)
            custody = [str(Path(sys.executable).with_name("custody")), "-q", "sbom", f"oci:{folder / 'image'}", "-o",
                       f"cyclonedx-json={folder / 'custody.json'}"]
            own = {"CUSTODY_DATA_DIR": str(folder / "data")}
            commands = [("custody, cold", custody, own), ("custody, layers known", custody, own)]
            if syft is not None:
                commands.append(("syft", [syft, "-q", f"oci-dir:{folder / 'image'}", "-o", "cyclonedx-json"], {}))
            for title, command, environ in commands:
                try:
                    seconds, memory, processor = measure(command, environ)
                except RefusedError as reason:
                    print(f"{title}: {reason}")
                    continue
                print(f"{title:<24}{seconds:>9.1f}{memory:>7.0f}{processor:>13.1f}", flush=True)
            listed = json.loads((folder / "custody.json").read_text()).get("components", [])
            planted = sum(component["name"].startswith("planted") for component in listed)
            print(f"{planted} of the planted packages are listed: {_PLANTED[name]} are there", flush=True)


if __name__ == "__main__":
    main()
