"""index.json of an OCI layout: what all who read and write layouts share (image-spec image-layout.md).

On this disk it is replaced whole, by one writer at a time, and what custody does not know of it stays as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from custody.errors import MalformedError, UsageError
from custody.formats import oci
from custody.kit import destination, strictjson

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
_MAX_MARKER = 4096


def read_index(opened: Callable[[str], BinaryIO], where: str) -> oci.Index:
    """Of a layout whose files `opened` gives by name, in a folder or a tar. Raises MalformedError, and as that does."""
    with opened("oci-layout") as stream:
        if b"imageLayoutVersion" not in stream.read(_MAX_MARKER):
            raise MalformedError(f"{where}/oci-layout", got="something else", expected="imageLayoutVersion")
    with opened("index.json") as stream:
        index = oci.parse_manifest(stream.read(oci.MAX_MANIFEST + 1), f"{where}/index.json", oci.INDEX)
    if not isinstance(index, oci.Index):
        raise MalformedError(f"{where}/index.json", got="a manifest", expected="an index")
    return index


def change_index(folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Put other entries in the place of index.json's, of which `change` gets those that are there now, as JSON.

    Other writers wait meanwhile. Raises UsageError where it cannot be read or written, MalformedError for what it holds
    and where nobody could read it again; then it is as it was.
    """
    path = folder / "index.json"
    with _alone(folder):
        try:
            document = strictjson.loads(path.read_bytes(), str(path), max_size=oci.MAX_MANIFEST)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        if not isinstance(document, dict) or not isinstance(document.get("manifests"), list):
            raise MalformedError(str(path), got="something else", expected="an index with manifests")
        entries = change(document["manifests"])
        if entries == document["manifests"]:
            return
        data = json.dumps({**document, "manifests": entries}, separators=(",", ":"), ensure_ascii=False,
                          allow_nan=False).encode()
        if len(data) > oci.MAX_MANIFEST:
            raise MalformedError(str(path), got=f"{len(data)} bytes with what is to be added",
                                 expected=f"at most {oci.MAX_MANIFEST}")
        destination.write(path, data, "")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
