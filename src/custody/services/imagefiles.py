"""Indexes of images' files: read once, layer by layer, kept, and at hand for who must not wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager

import msgspec
import zstandard

from custody.errors import CustodyError
from custody.formats.bom import Catalog
from custody.kit.clock import Clock
from custody.kit.guarded import guard, unguard
from custody.ports.drift import ExecutableStore, KeptIndex
from custody.registry.image import Image
from custody.runtime.executables import Executables, read
from custody.runtime.indexing import index
from custody.runtime.layerfiles import LayerFiles, list_files

_LOG = logging.getLogger(__name__)
_LISTING = 1
"""Of the form in which listings are kept."""
_LARGEST = 512 << 20
_MEMORY = 256 << 20
_WAITING = 1_000
_IN_FOLDERS = ("package.json",)
"""Files that say that the folder they lie in is a package."""
_AGAIN = 600.0
"""Seconds after which an image that could not be read is tried again."""
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None] | None]]
Open = Callable[[str, str], Awaitable[tuple[Image, Collection[str]]]]
"""An image by its digest and the name that the runtime has for it, and the digests that mean it beside its own."""


def read_files(image: Image, store: ExecutableStore, clock: Clock, progress: Progress, *,
               names: Collection[str] = (), catalog: Catalog | None = None, platform: str = "",
               stopped: threading.Event | None = None) -> Executables:
    """The index of an open image, made of listings that are known already and of layers that are read now; kept.

    `names`: digests that mean the image beside that of its manifest. `catalog` names the packages that own files.
    Raises as `list_files` and `index` do, StorageError.
    """
    listings = []
    total = sum(layer.size for layer in image.manifest.layers)
    with progress(f"Hashing the files of {image.name}", total) as advance:
        for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
            listing = _kept(store, diff_id)
            if listing is None:
                listing = list_files(image, layer, diff_id, progress=advance, stopped=stopped)
                store.keep_layer(diff_id, guard(zstandard.compress(msgspec.msgpack.encode((_LISTING, listing)), 3)))
            elif advance is not None:
                advance(layer.size)
            listings.append(listing)
    files = index(listings, digest=image.descriptor.digest, name=image.name, platform=platform or platform_of(image),
                  blobs=[layer.digest for layer in image.manifest.layers], packages=_packages(catalog),
                  places=_places(catalog))
    kept = store.index(files.digest, files.platform)
    if kept is not None and (before := read(kept)) is not None and before.digest == files.digest:
        files = files.as_compared(before)
    keep(files, store, clock, {image.manifest.config.digest, *names} - {files.digest})
    return files


def keep(files: Executables, store: ExecutableStore, clock: Clock, names: Collection[str] = ()) -> None:
    """Raises StorageError."""
    data = files.to_bytes()
    store.keep_index(KeptIndex(files.digest, files.name, files.platform, len(files), len(data), clock()), names, data)


def platform_of(image: Image) -> str:
    """`linux/amd64`, as the image's configuration says."""
    said = [str(image.config.document.get(field) or "") for field in ("os", "architecture", "variant")]
    return "/".join(part for part in said if part)


def _kept(store: ExecutableStore, diff_id: str) -> LayerFiles | None:
    if (guarded := store.layer(diff_id)) is None or (packed := unguard(guarded)) is None:
        return None
    try:
        version, listing = msgspec.msgpack.decode(
            zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST), type=tuple[int, LayerFiles])
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError):
        return None
    return listing if version == _LISTING and listing.diff_id == diff_id else None


def _packages(catalog: Catalog | None) -> Mapping[str, str]:
    """Package URLs by how lists of installed files name their packages (`sbom.proof.statements.Statement.owner`)."""
    names: dict[str, str] = {}
    for package in catalog.packages if catalog is not None else ():
        names[f"{package.type} {package.name}"] = package.purl
        names[f"{package.type} {package.name} {package.version.rpartition(':')[2]}"] = package.purl
        for location in package.locations:
            names.setdefault(location.path, package.purl)
            names.setdefault(location.path.rpartition("/")[0], package.purl)
    return names


def _places(catalog: Catalog | None) -> Mapping[str, str]:
    """Package URLs by the file that a package is, and by the folder that it lies in, with a slash behind."""
    places: dict[str, str] = {}
    for package in catalog.packages if catalog is not None else ():
        for location in package.locations:
            folder, _, base = location.path.rpartition("/")
            if base in _IN_FOLDERS and folder:
                places.setdefault(f"{folder}/", package.purl)
            elif not location.within and package.form in ("archive", "program", "data"):
                places.setdefault(location.path, package.purl)
    return places


class KnownImages:
    """`custody.runtime.executing.Indexes`: those in memory, within bounds; the rest is read by `run`, a task."""

    def __init__(self, store: ExecutableStore, clock: Clock, platform: str, open_image: Open | None, *,
                 memory: int = _MEMORY) -> None:
        """`platform`: of the node whose events are judged. Without `open_image` only what is kept is known."""
        self._store, self._clock, self._platform, self._open, self._memory = store, clock, platform, open_image, memory
        self._known: OrderedDict[str, Executables] = OrderedDict()
        self._size = 0
        self._failed: dict[str, tuple[float, str]] = {}
        self._asked: OrderedDict[str, str] = OrderedDict()
        self._reading = ""
        self._woken = asyncio.Event()

    def get(self, digest: str) -> Executables | None:
        files = self._known.get(digest)
        if files is not None:
            self._known.move_to_end(digest)
        return files

    def ask(self, digest: str, image: str) -> str:
        failed = self._failed.get(digest)
        if failed is not None and time.monotonic() - failed[0] < _AGAIN:
            return failed[1]
        if digest not in self._asked and digest != self._reading:
            if len(self._asked) >= _WAITING:
                return f"more than {_WAITING} images wait to be read"
            self._asked[digest] = image
            self._woken.set()
        return ""

    async def run(self) -> None:
        """Read what is asked for until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self.work()

    async def work(self) -> None:
        """Read what is asked for by now."""
        while self._asked:
            digest, image = self._asked.popitem(last=False)
            self._reading = digest
            try:
                self._remember(digest, await self._read(digest, image))
            except asyncio.CancelledError:
                self._asked[digest] = image
                raise
            except CustodyError as error:
                self._fail(digest, f"the image could not be read: {error.message}")
            except Exception as error:  # a reader's own fault, brought about by one image, costs that image
                _LOG.exception("the files of an image could not be read")
                self._fail(digest, f"the image could not be read: {type(error).__name__}")
            finally:
                self._reading = ""

    async def _read(self, digest: str, image: str) -> Executables:
        kept = await asyncio.to_thread(self._store.index, digest, self._platform)
        if kept is not None and (files := await asyncio.to_thread(read, kept)) is not None:
            return files
        if self._open is None:
            raise CustodyError(f"{digest}: its files are not indexed", hint="custody runtime executables IMAGE")
        opened, names = await self._open(digest, image)
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(read_files, opened, self._store, self._clock, _silent,
                                           names={digest, *names}, stopped=stopped)
        finally:
            stopped.set()

    def _fail(self, digest: str, reason: str) -> None:
        if len(self._failed) >= _WAITING:
            self._failed.clear()
        self._failed[digest] = (time.monotonic(), reason)

    def _remember(self, digest: str, files: Executables) -> None:
        self._failed.pop(digest, None)
        self._known[digest] = files
        self._size = sum({id(known): known.size for known in self._known.values()}.values())
        while self._size > self._memory and len(self._known) > 1:
            self._known.popitem(last=False)
            self._size = sum({id(known): known.size for known in self._known.values()}.values())


@contextlib.contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[None]:
    yield None
