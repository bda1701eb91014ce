"""Writes OCI images whose bytes follow from their files alone: two builds of the same tree, one digest.

Times are SOURCE_DATE_EPOCH, owners 0:0, modes 0755 or 0644, names sorted; gzip by the pinned isal library, so that
the host's zlib has no say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from isal import isal_zlib

from custody.build.definition import Image
from custody.errors import MalformedError
from custody.formats import oci
from custody.kit import digest as digests

_MAX_FILES = 500_000
_MAX_SIZE = 16 * 1024**3


def write_image(folders: list[Path], image: Image, epoch: int, layout: Path, tag: str) -> tuple[oci.Descriptor, bytes]:
    """Make `layout` an OCI image layout of one image, a layer a folder. Returns its descriptor and manifest bytes."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids, history = [], [], []
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for folder in folders:
        descriptor, diff_id = _write_layer(folder, epoch, blobs)
        layers.append(descriptor)
        diff_ids.append(diff_id)
        history.append({"created": created, "created_by": f"custody build: {folder.name}"})
    config: dict[str, Any] = {"created": created, "architecture": "amd64", "os": "linux", "config": image.to_config(),
                              "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
    manifest = oci.Manifest(oci.MANIFEST, _put(blobs, _json(config), oci.CONFIG), tuple(layers))
    data = _json(manifest.to_json())
    descriptor = _put(blobs, data, oci.MANIFEST)
    entry = {**descriptor.to_json(), "annotations": {"org.opencontainers.image.ref.name": tag}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [entry]}))
    return descriptor, data


class _Packer:
    """A file object for tarfile: hashes what comes in, packs it, hashes and stores what goes out."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")
        self._pack = isal_zlib.compressobj(3, isal_zlib.DEFLATED, 31)
        self.inner, self.outer, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.inner.update(data)
        self._emit(self._pack.compress(data))
        return len(data)

    def close(self) -> None:
        with self._stream:
            self._emit(self._pack.flush())

    def _emit(self, packed: bytes) -> None:
        self.outer.update(packed)
        self.size += len(packed)
        self._stream.write(packed)


def _write_layer(folder: Path, epoch: int, blobs: Path) -> tuple[oci.Descriptor, str]:
    part = blobs / f"{folder.name}.part"
    with contextlib.closing(_Packer(part)) as packer, tarfile.open(
            fileobj=cast(Any, packer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        for path in _sorted_files(folder):
            _add(tar, path, path.relative_to(folder).as_posix(), epoch)
    digest = packer.outer.hexdigest()
    part.replace(blobs / digest)
    return (oci.Descriptor(oci.LAYER_GZIP, f"sha256:{digest}", packer.size), f"sha256:{packer.inner.hexdigest()}")


def _sorted_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    size = 0
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in folders + files:
            path = Path(place, name)
            found.append(path)
            size += path.lstat().st_size
        if len(found) > _MAX_FILES or size > _MAX_SIZE:
            raise MalformedError(f"build output {folder.name}", got=f"{len(found)} files, {size} bytes",
                                 expected=f"at most {_MAX_FILES} files and {_MAX_SIZE} bytes")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _add(tar: tarfile.TarFile, path: Path, name: str, epoch: int) -> None:
    status = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mtime = epoch
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise MalformedError(f"build output: {name}", got="a set-user-ID or set-group-ID file", expected="none")
    if stat.S_ISDIR(status.st_mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        tar.addfile(entry)
    elif stat.S_ISREG(status.st_mode):
        entry.mode = 0o755 if status.st_mode & 0o111 else 0o644
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            entry.size = os.fstat(stream.fileno()).st_size
            tar.addfile(entry, stream)
    else:
        raise MalformedError(f"build output: {name}", got="a device, socket or pipe", expected="files and folders")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _put(blobs: Path, data: bytes, media_type: str) -> oci.Descriptor:
    digest = digests.sha256(data)
    (blobs / digest[7:]).write_bytes(data)
    return oci.Descriptor(media_type, digest, len(data))
