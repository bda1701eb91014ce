"""Makes small images for tests: tar layers from plain data, and OCI layouts that may lie."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import zstandard

from custody.registry.image import StoredImage, open_layout

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
PLAIN = "application/vnd.oci.image.layer.v1.tar"

STATUS = b"""Package: libssl3
Status: install ok installed
Maintainer: Debian OpenSSL Team <pkg@example.org>
Architecture: amd64
Source: openssl (3.0.11-1)
Version: 3.0.11-1+b1
Depends: libc6 (>= 2.34), debconf | debconf-2.0
Description: words
 more: words

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Maintainer: GNU <c@example.org>

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all

Package: cdebconf
Status: install ok installed
Version: 0.270
Architecture: amd64
Provides: debconf-2.0
"""
OS_RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
METADATA = (b"Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6.2\nLicense: MIT\nAuthor: A\n"
            b"Requires-Dist: Flask (>=1.0)\nRequires-Dist: pytest ; extra == 'test'\n\nbody\nName: no\n")

Member = tuple[str, bytes | tuple[str, str] | None]
"""(path, content), (path, None) for a folder, (path, (`link` | `symlink`, target))."""


def tar(members: Sequence[Member], form: int = tarfile.PAX_FORMAT, *, programs: Sequence[str] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for path, content in members:
            info = tarfile.TarInfo(path)
            info.mode = 0o755 if path in programs else info.mode
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                info.type = tarfile.LNKTYPE if content[0] == "link" else tarfile.SYMTYPE
                info.linkname = content[1]
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def layout(folder: Path, tars: Sequence[bytes], media_type: str = GZIP, *, blobs: Mapping[int, bytes] | None = None,
           diff_ids: Mapping[int, str] | None = None) -> Path:
    """An OCI layout of these layers. `blobs` puts other bytes in a layer's place, `diff_ids` other claims."""
    place = folder / "blobs/sha256"
    place.mkdir(parents=True)

    def put(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (place / digest).write_bytes(data)
        return "sha256:" + digest

    layers, ids = [], []
    for number, data in enumerate(tars):
        packed = compressed(data, media_type)
        digest = put(packed)
        if blobs and number in blobs:
            (place / digest[7:]).write_bytes(blobs[number])
        layers.append({"mediaType": media_type, "digest": digest, "size": len(packed)})
        ids.append((diff_ids or {}).get(number, "sha256:" + hashlib.sha256(data).hexdigest()))
    config = json.dumps({
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": ids},
    }).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config), "size": len(config)},
        "layers": layers}).encode()
    index = {"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                                                "digest": put(manifest), "size": len(manifest)}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def compressed(data: bytes, media_type: str) -> bytes:
    if media_type == ZSTD:
        return zstandard.compress(data)
    return gzip.compress(data, 6, mtime=0) if media_type == GZIP else data


def image(folder: Path, *layers: Sequence[Member]) -> StoredImage:
    return open_layout(layout(folder, [tar(members) for members in layers]))


def elf(sections: Mapping[str, bytes]) -> bytes:
    """A 64-bit ELF file with nothing in it but named sections."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    body, rows, place = b"", [bytes(64)], 64
    for name, data in (*sections.items(), (".shstrtab", names)):
        where = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", where, 1, 0, 0, place, len(data), 0, 0, 1, 0))
        body += data
        place += len(data)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, place, 0, 64, 0, 0, 64,
                                                            len(rows), len(rows) - 1)
    return head + body + b"".join(rows)


def go_program(modules: str, version: str = "go1.21.3") -> bytes:
    def string(data: bytes) -> bytes:
        length = b""
        count = len(data)
        while count >= 0x80:
            length += bytes([count & 0x7F | 0x80])
            count >>= 7
        return length + bytes([count]) + data

    info = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16) + string(version.encode())
    return elf({".text": b"\x90" * 100, ".go.buildinfo": info + string(b"0" * 16 + modules.encode() + b"1" * 16)})


def rust_program(packages: Sequence[Mapping[str, object]]) -> bytes:
    return elf({".dep-v0": zlib.compress(json.dumps({"packages": packages}).encode())})
