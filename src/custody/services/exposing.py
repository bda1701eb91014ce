"""Secrets and risky settings of what a target names: an image's layers and configuration, the files of a folder."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import ConflictError, UnsupportedError
from custody.formats.bom import Catalog, Layer
from custody.services.contents import Local, Progress

if TYPE_CHECKING:
    from custody.exposure.image import Exposed
    from custody.registry.client import RegistryClient

_PIECE = 1 << 20


async def expose_image(target: str, client: RegistryClient, cache: Path, progress: Progress, scanners: Collection[str],
                       platform: str | None = None, digest: str | None = None) -> tuple[Catalog, Exposed]:
    """What is exposed, and a catalog that names the image and nothing in it. `digest`: what it must still be.

    Raises as `open_target` and `exposure.image.expose` do, ConflictError where the tag moved meanwhile.
    """
    from custody.exposure.image import expose
    from custody.services.targets import open_target

    image = await open_target(target, client, cache, platform)
    if digest is not None and image.descriptor.digest != digest:
        raise ConflictError(f"{target}: is {image.descriptor.digest} now, was {digest} when it was catalogued",
                            hint="name the image by its digest, or scan again")
    with progress(f"Looking into {target}", sum(layer.size for layer in image.manifest.layers)) as advance:
        exposed = await asyncio.to_thread(expose, image, scanners, advance)
    layers = tuple(Layer(digest=layer.digest, diff_id=diff_id, entries=0, size=0) for layer, diff_id in zip(
        image.manifest.layers, image.config.diff_ids, strict=True))
    return Catalog(name=image.name, digest=image.descriptor.digest, layers=layers), exposed


def expose_local(target: Local, progress: Progress, scanners: Collection[str], *,
                 exclude: Sequence[str] = ()) -> tuple[Catalog, Exposed]:
    """Secrets in the files of a folder, or in one file. Raises UnsupportedError for settings, which images have."""
    from custody.exposure.image import expose_files

    if target.kind == "sbom":
        raise UnsupportedError("--scanners", "an SBOM has no files to look into")
    if "misconfig" in scanners:
        raise UnsupportedError("--scanners misconfig", f"{target.kind_with_article} has no image's settings",
                               hint="custody check FILE judges manifests; --scanners secret reads files")
    with progress(f"Looking into {target.path}", None) as advance:
        exposed = expose_files(_files(target, exclude, advance))
    return Catalog(name=str(target.path), digest="", kind=target.kind), exposed


def _files(target: Local, exclude: Sequence[str],
           advance: Callable[[int], None] | None) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    from custody.sbom.descent import FILE, Descent
    from custody.sbom.folder import glob

    if target.kind == "file":
        yield str(target.path), _opened(os.fsencode(target.path), os.O_RDONLY | os.O_CLOEXEC)
        return
    excludes = [glob(pattern) for pattern in exclude]
    descent = Descent(os.fsencode(target.path))
    waiting = [b""]
    try:
        while waiting:
            below = waiting.pop()
            try:
                folder = descent.at(below)
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield os.fsdecode(below), _refusing(error)
                continue
            deeper: list[bytes] = []
            for entry in entries:
                name = below + b"/" + os.fsencode(entry.name) if below else os.fsencode(entry.name)
                relative = os.fsdecode(name)
                if (target.checkout and entry.name == ".git") or any(
                        pattern.match(relative) for pattern in excludes):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(name)
                elif entry.is_file(follow_symlinks=False):
                    if advance is not None:
                        advance(1)
                    yield relative, _opened(os.fsencode(entry.name), FILE, folder)
            waiting += reversed(deeper)
    finally:
        descent.close()


def _opened(name: bytes, flags: int, folder: int | None = None) -> Callable[[], Iterator[bytes]]:
    """What reads a file in the folder of a descriptor, for as long as that is open. Raises OSError where it is none."""
    def pieces() -> Iterator[bytes]:
        with open(os.open(name, flags, dir_fd=folder), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError("no file any more")
            while piece := stream.read(_PIECE):
                yield piece

    return pieces


def _refusing(error: OSError) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        raise error

    return pieces
