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
from typing import Any, BinaryIO, cast

from isal import isal_zlib

from custody.build.definition import Image
from custody.build.output import Entry, Layer
from custody.errors import MalformedError
from custody.formats import oci
from custody.kit import digest as digests


def write_image(contents: list[Layer], image: Image, epoch: int, layout: Path,
                tag: str) -> tuple[oci.Descriptor, bytes]:
    """Make `layout` an OCI image layout of one image. Returns its descriptor and manifest bytes."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids, history = [], [], []
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for layer in contents:
        descriptor, diff_id = _write_layer(layer, epoch, blobs)
        layers.append(descriptor)
        diff_ids.append(diff_id)
        history.append({"created": created, "created_by": f"custody build: {layer.name}"})
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


def _write_layer(layer: Layer, epoch: int, blobs: Path) -> tuple[oci.Descriptor, str]:
    part = blobs / "part"
    with contextlib.closing(_Packer(part)) as packer, tarfile.open(
            fileobj=cast(Any, packer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        for entry in layer.entries:
            _add(tar, entry, epoch)
    digest = packer.outer.hexdigest()
    part.replace(blobs / digest)
    return (oci.Descriptor(oci.LAYER_GZIP, f"sha256:{digest}", packer.size), f"sha256:{packer.inner.hexdigest()}")


def _add(tar: tarfile.TarFile, entry: Entry, epoch: int) -> None:
    header = tarfile.TarInfo(entry.name)
    header.mtime = epoch
    if stat.S_ISDIR(entry.mode):
        header.type, header.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(header)
    elif stat.S_ISLNK(entry.mode):
        header.type, header.mode, header.linkname = tarfile.SYMTYPE, 0o777, os.readlink(entry.path)
        if not header.linkname.isprintable():
            raise MalformedError(f"build output: {entry.name}", got="a symbolic link to a name of other bytes",
                                 expected="UTF-8 without control characters")
        tar.addfile(header)
    else:
        header.mode = 0o755 if entry.mode & 0o111 else 0o644
        with _open(entry) as stream:
            header.size = os.fstat(stream.fileno()).st_size
            tar.addfile(header, stream)


def _open(entry: Entry) -> BinaryIO:
    if not entry.mode & stat.S_IRUSR:  # a file that its own owner may not read is packed as root would pack it
        os.chmod(entry.path, 0o600)
    return os.fdopen(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _put(blobs: Path, data: bytes, media_type: str) -> oci.Descriptor:
    digest = digests.sha256(data)
    (blobs / digest[7:]).write_bytes(data)
    return oci.Descriptor(media_type, digest, len(data))
