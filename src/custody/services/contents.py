"""What is in a target, and how that is written: opening and cataloguing an image, reading an SBOM, output formats."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.formats.bom import Catalog
from custody.kit import strictjson
from custody.services.catalogcache import CatalogCache

if TYPE_CHECKING:
    from custody.ports.javaarchives import JavaArchives
    from custody.ports.layers import LayerCache
    from custody.registry.client import RegistryClient
    from custody.registry.image import Image

_LARGEST_SBOM, _HEAVIEST_SBOM, _HEAD = 64 << 20, 192 << 20, 1 << 20
_STDIN = Path("-")
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None] | None]]
"""Tells a person how far it is: a title and the bytes in all, or None for files of which nobody knows how many; gives
what is called with those that are done."""


async def catalog_image(target: str, client: RegistryClient, cache: Path, layers: LayerCache, progress: Progress,
                        platform: str | None = None, *, prove: bool = False,
                        archives: JavaArchives | None = None) -> Catalog:
    """The catalog of the image that `target` names (`services.targets`); `cache` has what was pulled before, `layers`
    what was read before; `archives` as in `sbom.catalog.catalog`. Raises as `open_target` and `catalog` do.
    """
    import asyncio

    from custody.services.targets import open_target

    image = await open_target(target, client, cache, platform)
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(catalog_opened, target, image, layers, progress, prove=prove, stopped=stopped,
                                       archives=archives)
    finally:
        stopped.set()  # a person interrupted it, or a deadline passed: no thread reads on


def catalog_opened(target: str, image: Image, layers: LayerCache, progress: Progress, *,
                   prove: bool = False, stopped: threading.Event | None = None,
                   archives: JavaArchives | None = None, forks: bool = False) -> Catalog:
    """The same of an image that is open; `forks` as in `catalog`. Raises as that does."""
    kept = CatalogCache(layers, image, archives.edition() if archives else "")
    if not prove and (known := kept.get()) is not None:
        return known
    from custody.sbom.catalog import catalog

    with progress(f"Cataloguing {target}", sum(layer.size for layer in image.manifest.layers)) as advance:
        made = catalog(image, layers, advance, prove=prove, stopped=stopped, archives=archives,
                       forks=forks)
    if not prove:
        kept.put(made)
    return made


def readers(archives: JavaArchives | None = None) -> str:
    """Names the catalogers of this custody and their versions, and the index of Java archives, if there is one: others
    may read the same image otherwise.
    """
    from custody.sbom.catalogers import versions

    known = (*sorted(versions().items()), *((archives.edition(),) if archives else ()))
    return hashlib.sha256(repr(list(known)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Local:
    """A target on this machine's disk that is no image."""

    kind: Literal["directory", "rootfs", "file", "sbom"]
    path: Path
    checkout: bool = False
    """A git repository's: `.git` is left out, and the commit stated."""

    @property
    def kind_with_article(self) -> str:
        return {"sbom": "an SBOM", "rootfs": "a root file system"}.get(self.kind, f"a {self.kind}")


_SCHEMES: Mapping[str, Local] = {
    "dir": Local("directory", Path()), "git": Local("directory", Path(), checkout=True),
    "rootfs": Local("rootfs", Path()), "file": Local("file", Path()), "sbom": Local("sbom", Path())}
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
_PATHS = ("/", "./", "../")


def local(target: str) -> Local | None:
    """`dir:PATH`, `git:PATH`, `rootfs:PATH`, `file:PATH`, `sbom:FILE`, or the path of a folder that is no OCI layout,
    of an SBOM, or of another file that is no archive; `-` is an SBOM on standard input. None for what may be an image.

    Raises UsageError.
    """
    if target == str(_STDIN):
        return Local("sbom", _STDIN)
    scheme, colon, place = target.partition(":")
    if colon and scheme in _SCHEMES:
        if not place:
            raise UsageError(f"target: got {target!r}, expected {scheme}:{'FILE' if scheme == 'sbom' else 'PATH'}")
        chosen = replace(_SCHEMES[scheme], path=Path(place))
    elif (path := Path(target)).is_dir() and not (path / "oci-layout").exists():
        chosen = Local("directory", path)
    elif path.is_file() and not target.endswith(_ARCHIVES):
        chosen = Local("sbom" if _is_sbom(path) else "file", path)
    elif target.startswith(_PATHS) and not path.exists():
        raise UsageError(f"{target}: no such file or folder")
    else:
        return None
    if chosen.kind in ("directory", "rootfs") and not chosen.path.is_dir():
        state = "expected a folder" if chosen.path.exists() else "no such folder"
        raise UsageError(f"{chosen.path}: {state}")
    return chosen


def check(target: str) -> None:
    """What can be said of a target before anything is read. Raises UsageError, UnsupportedError."""
    if local(target) is None:
        from custody.services.targets import check as check_image

        check_image(target)


def _is_sbom(path: Path) -> bool:
    """By its content, unless a cataloger reads files of its name: what is in a lock file makes it no SBOM."""
    from custody.formats import sbom
    from custody.sbom.catalogers import choose

    if choose(path.name, declared=True):
        return False
    with path.open("rb") as stream:
        return sbom.recognised(stream.read(_HEAD))


def catalog_folder(target: Local, progress: Progress, *, exclude: Sequence[str] = (), mounted: bool = False,
                   origin: str = "", prove: bool = False, archives: JavaArchives | None = None) -> tuple[Catalog, int]:
    """The catalog of a folder, and how many files and folders in it `exclude` left out. Raises as
    `sbom.catalog.catalog_folder` does.
    """
    from custody.sbom.catalog import catalog_folder as catalogued
    from custody.sbom.folder import Folder

    installed = target.kind == "rootfs"
    folder = Folder(path=target.path, declared=not installed, rooted=installed, exclude=tuple(exclude),
                    without_git=target.checkout, mounted=mounted)
    with progress(f"Cataloguing {target.path}", None) as advance:
        return catalogued(folder, target.kind, advance, origin=origin, prove=prove, archives=archives)


def catalog_one(path: Path, archives: JavaArchives | None = None) -> Catalog:
    """What one file says: a lock file, an archive, a program. Raises UsageError, MalformedError."""
    from custody.sbom.catalog import catalog_file

    return catalog_file(path, archives=archives)


def read_sbom(path: Path) -> Catalog:
    """What an SBOM of any format lists; `-` is standard input. Raises UsageError, MalformedError, UnsupportedError."""
    from custody.formats import sbom

    place = "standard input" if path == _STDIN else str(path)
    try:
        with open(0 if path == _STDIN else path, "rb", closefd=path != _STDIN) as stream:
            data = stream.read(_LARGEST_SBOM + 1)
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from None
    if len(data) > _LARGEST_SBOM or strictjson.weight(data) > _HEAVIEST_SBOM:
        raise MalformedError(place, got=f"{len(data)} bytes, about {strictjson.weight(data) >> 20} MiB in memory",
                             expected=f"at most {_LARGEST_SBOM >> 20} MiB, and {_HEAVIEST_SBOM >> 20} MiB in memory")
    catalog = sbom.read(data, place)
    if catalog is None:
        raise UnsupportedError(place, f"is no SBOM that custody reads: {sbom.READABLE}")
    return catalog
