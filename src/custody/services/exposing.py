"""Secrets and risky settings of what a target names: an image's layers and configuration, the files of a folder."""

from __future__ import annotations

import asyncio
import os
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
    from custody.sbom.folder import glob

    if target.kind == "file":
        yield str(target.path), _opened(target.path)
        return
    excludes = [glob(pattern) for pattern in exclude]
    for folder, below, names in os.walk(target.path):
        inside = Path(folder).relative_to(target.path)
        below[:] = sorted(name for name in below if not (target.checkout and name == ".git") and not any(
            pattern.match((inside / name).as_posix()) for pattern in excludes))
        for name in sorted(names):
            path, relative = Path(folder) / name, (inside / name).as_posix()
            if path.is_symlink() or not path.is_file() or any(pattern.match(relative) for pattern in excludes):
                continue
            if advance is not None:
                advance(1)
            yield relative, _opened(path)


def _opened(path: Path) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                yield piece

    return pieces
