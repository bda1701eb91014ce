"""What a person may name as an image: `registry/name:tag@digest`, `oci:DIR[:TAG]`, `archive:FILE[:NAME]`.

A registry's layers are fetched when they are first read, verified, and kept under the data directory, so that a scan
whose layers are known fetches nothing but the manifest and the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from custody.errors import UnsupportedError, UsageError
from custody.formats import oci, reference
from custody.kit import digest as digests
from custody.ports.http import Content
from custody.registry.client import RegistryClient
from custody.registry.image import DEFAULT_PLATFORM, Image, VerifyingReader
from custody.services.stored import is_stored, open_stored, split_layout

_REFUSED = ("docker:", "docker-archive:", "podman:", "containerd:", "dir:", "file:", "registry:", "oci-dir:",
            "oci-archive:", "singularity:")
_FILES = (".json", ".xml", ".spdx", ".txt", ".toml", ".yaml", ".lock", ".jar", ".war", ".tar", ".gz", ".tgz", ".zst")
_ALIKE = {"docker-archive:": "archive:", "oci-archive:": "archive:", "oci-dir:": "oci:", "registry:": ""}
_INSTEAD = {"docker:": "docker save -o FILE.tar NAME, then archive:FILE.tar",
            "podman:": "podman save --format oci-archive -o FILE.tar NAME, then archive:FILE.tar",
            "containerd:": "ctr images export FILE.tar NAME, then archive:FILE.tar"}


class PulledImage:
    """An image of a registry; `open_blob` may be called from any thread but the event loop's."""

    def __init__(self, name: str, descriptor: oci.Descriptor, manifest: oci.Manifest, config: oci.ImageConfig,
                 folder: Path, fetch: Callable[[oci.Descriptor, Path], None]) -> None:
        self.name = name
        self.descriptor = descriptor
        self.manifest = manifest
        self.config = config
        self._folder = folder
        self._fetch = fetch

    def open_blob(self, descriptor: oci.Descriptor) -> BinaryIO:
        path = self._folder / digests.parse(descriptor.digest).replace(":", "-")
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._fetch(descriptor, path)
        return path.open("rb")


def check(text: str) -> None:
    """Whether it can be an image's name, as far as it can be known before anything is read.

    Raises UsageError, UnsupportedError, MalformedError.
    """
    scheme, _, location = text.partition(":")
    if is_stored(text):
        path = split_layout(location)[0]
        if not path.exists():
            raise UsageError(f"{path}: No such file or directory")
        return
    if "://" in text:
        raise UsageError(f"target: got {text!r}, expected an image, a file or a folder",
                         hint="an image is named without https://; of a repository a clone is read: git:DIR")
    for prefix in _REFUSED:
        if text.startswith(prefix):
            same = _ALIKE.get(prefix)
            raise UnsupportedError(text, f"targets beginning with {prefix} are not read by custody yet",
                                   hint=f"it is spelled {same}{location} here" if same is not None else
                                   _INSTEAD.get(prefix, "use oci:DIR, archive:FILE.tar or a registry reference"))
    if location == "" and scheme in ("oci", "archive") and text != scheme:
        raise UsageError(f"target: got {text!r}, expected oci:DIR or archive:FILE.tar")
    path = Path(text)
    if path.exists():  # a folder `image` may be an image's name too, and is what was meant
        state, image, file = ("a folder with an OCI layout", "oci", "dir") if path.is_dir() else (
            "an archive", "archive", "file")
        raise UsageError(f"target: got {text!r}, {state}, expected {image}:{text} for the image in it, or "
                         f"{file}:{text}", hint="an image of a registry of that name is named with its registry")
    if text.endswith("/"):
        raise UsageError(f"{text}: no such folder")
    if text.endswith(_FILES) and not {".", ":"} & set(text.rpartition("/")[0].partition("/")[0]):
        # Docker Hub need not be asked for the name of a file that somebody has not made yet.
        raise UsageError(f"{text}: no such file", hint="an image of that name is named with its registry")
    reference.parse(text, "target")


async def open_target(text: str, client: RegistryClient, cache: Path, platform: str | None = None) -> Image:
    """The image that `text` names; of an index, the one of `platform`. Raises as `check` does, NotFoundError,
    VerificationError.
    """
    check(text)
    if is_stored(text):
        return await asyncio.to_thread(open_stored, text, platform)
    return await pull(reference.parse(text, "target"), client, cache, platform or DEFAULT_PLATFORM)


async def pull(ref: reference.Reference, client: RegistryClient, cache: Path,
               platform: str | None = None) -> PulledImage:
    descriptor, manifest = await client.image(ref, platform)
    config = oci.parse_config(await client.blob(ref, manifest.config, max_size=oci.MAX_CONFIG), f"{ref}: config")
    loop = asyncio.get_running_loop()

    def fetch(blob: oci.Descriptor, path: Path) -> None:
        asyncio.run_coroutine_threadsafe(client.blob_to(ref, blob, path), loop).result()

    return PulledImage(str(ref), descriptor, manifest, config, cache / "blobs", fetch)


async def push(image: Image, ref: reference.Reference, client: RegistryClient, tag: str | None,
               data: bytes) -> oci.Descriptor:
    """Copy a stored image, whose manifest's exact bytes are `data`, to a registry."""
    for blob in (image.manifest.config, *image.manifest.layers):
        if not await client.has_blob(ref, blob.digest):
            await client.push_blob(ref, Content(blob.size, partial(_opened, image, blob)), blob)
    return await client.push_manifest(ref, data, image.manifest.media_type, tag=tag)


def _opened(image: Image, blob: oci.Descriptor) -> BinaryIO:
    return cast(BinaryIO, VerifyingReader(image.open_blob(blob), blob))
