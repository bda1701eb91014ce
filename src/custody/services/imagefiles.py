"""Indexes of images' files: read once, layer by layer, kept, and at hand for who must not wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import msgspec
import zstandard

from custody.errors import CustodyError, StorageError
from custody.formats.bom import Catalog
from custody.kit.clock import Clock
from custody.kit.guarded import guard, unguard
from custody.ports.drift import ExecutableStore, KeptIndex
from custody.registry.image import Image
from custody.runtime.executables import Executables, read
from custody.runtime.indexing import index
from custody.runtime.layerfiles import LayerFiles, list_files

_T = TypeVar("_T")
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
_AT_ONCE = 4
"""Images that are read at a time, each of another registry: one that does not answer keeps none of the others."""
_HUNG = 28
_PATIENCE = 1800.0
"""Seconds after which an image counts as one that cannot be read."""
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None] | None]]
Open = Callable[[str, str], Awaitable[tuple[Image, Collection[str]]]]
"""An image by its digest and the name that the runtime has for it, and the digests that mean it beside its own."""


def read_files(image: Image, store: ExecutableStore | _Forgiving, clock: Clock, progress: Progress, *,
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


def keep(files: Executables, store: ExecutableStore | _Forgiving, clock: Clock, names: Collection[str] = ()) -> None:
    """Raises StorageError."""
    data = files.to_bytes()
    store.keep_index(KeptIndex(files.digest, files.name, files.platform, len(files), len(data), clock()), names, data)


def platform_of(image: Image) -> str:
    """`linux/amd64`, as the image's configuration says."""
    said = [str(image.config.document.get(field) or "") for field in ("os", "architecture", "variant")]
    return "/".join(part for part in said if part)


def _kept(store: ExecutableStore | _Forgiving, diff_id: str) -> LayerFiles | None:
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
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._reading: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(_AT_ONCE + _HUNG, thread_name_prefix="image-files")
        self._hung: dict[str, asyncio.Future[Executables]] = {}
        """Registries that did not answer in time, and the threads that still wait for them."""
        self._woken = asyncio.Event()

    def get(self, digest: str) -> Executables | None:
        files = self._known.get(digest)
        if files is not None:
            self._known.move_to_end(digest)
        return files

    def ask(self, digest: str, image: str) -> str:
        key = digest, image  # a repository that does not have it says nothing of another one
        failed = self._failed.get(key)
        if failed is not None and time.monotonic() - failed[0] < _AGAIN:
            return failed[1]
        if key not in self._asked and key not in self._reading:
            if len(self._asked) >= _WAITING:
                return f"more than {_WAITING} images wait to be read"
            self._asked[key] = None
            self._woken.set()
        return ""

    async def run(self) -> None:
        """Read what is asked for until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self.work()

    async def work(self) -> None:
        """Read what is asked for by now, and while that is read."""
        try:
            while self._asked or self._reading:
                self._begin()
                self._woken.clear()
                waking = asyncio.ensure_future(self._woken.wait())
                try:
                    await asyncio.wait([*self._reading.values(), waking], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waking.cancel()
                for key in [key for key, task in self._reading.items() if task.done()]:
                    del self._reading[key]
        finally:
            for task in self._reading.values():
                task.cancel()
            await asyncio.gather(*self._reading.values(), return_exceptions=True)
            self._asked |= dict.fromkeys(self._reading)
            self._reading.clear()

    def _begin(self) -> None:
        """As many as may be read at once; the first of each registry that is asked for, in their order."""
        self._hung = {registry: work for registry, work in self._hung.items() if not work.done()}
        busy = {_registry(image) for _, image in self._reading} | self._hung.keys()
        reading = {digest for digest, _ in self._reading}
        for key in list(self._asked):
            if len(self._reading) >= _AT_ONCE:
                return
            registry = _registry(key[1])
            if registry in self._hung or len(self._hung) >= _HUNG:
                del self._asked[key]
                self._fail(key, f"the image could not be read: {registry or 'a registry'} does not answer")
                continue
            if registry in busy or key[0] in reading:
                continue
            del self._asked[key]
            busy.add(registry)
            reading.add(key[0])
            self._reading[key] = asyncio.create_task(self._one(*key))

    async def _one(self, digest: str, image: str) -> None:
        try:
            files = self._known.get(digest)
            self._remember(digest, files if files is not None else await self._read(digest, image))
        except TimeoutError:
            self._fail((digest, image), f"the image could not be read within {_PATIENCE:.0f} seconds")
        except CustodyError as error:
            self._fail((digest, image), f"the image could not be read: {error.message}")
        except Exception as error:  # a reader's own fault, brought about by one image, costs that image
            _LOG.exception("the files of an image could not be read")
            self._fail((digest, image), f"the image could not be read: {type(error).__name__}")

    async def _read(self, digest: str, image: str) -> Executables:
        kept = None
        try:
            kept = await asyncio.to_thread(self._store.index, digest, self._platform)
        except StorageError as error:
            _LOG.warning("what is kept of images' files cannot be read: %s", error.message)
        if kept is not None and (files := await asyncio.to_thread(read, kept)) is not None:
            return files
        if self._open is None:
            raise CustodyError(f"{digest}: its files are not indexed", hint="custody runtime executables IMAGE")
        async with asyncio.timeout(_PATIENCE):
            opened, names = await self._open(digest, image)
        stopped = threading.Event()
        try:
            work = asyncio.get_running_loop().run_in_executor(self._threads, lambda: read_files(
                opened, _Forgiving(self._store), self._clock, _silent, names={digest, *names}, stopped=stopped))
            done, _ = await asyncio.wait([work], timeout=_PATIENCE)
            if not done:  # the thread ends when the registry does
                self._hung[_registry(image)] = work
                work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                raise TimeoutError
            return work.result()
        finally:
            stopped.set()

    def _fail(self, key: tuple[str, str], reason: str) -> None:
        if len(self._failed) >= _WAITING:
            self._failed.clear()
        self._failed[key] = (time.monotonic(), reason)

    def _remember(self, digest: str, files: Executables) -> None:
        self._failed = {key: failed for key, failed in self._failed.items() if key[0] != digest}
        self._known[digest] = files
        self._size = sum({id(known): known.size for known in self._known.values()}.values())
        while self._size > self._memory and len(self._known) > 1:
            self._known.popitem(last=False)
            self._size = sum({id(known): known.size for known in self._known.values()}.values())


class _Forgiving:
    """A store whose disk may be full: what is read is judged by all the same, and read again the next time."""

    def __init__(self, store: ExecutableStore) -> None:
        self._store = store

    def layer(self, diff_id: str) -> bytes | None:
        return self._tried(lambda: self._store.layer(diff_id))

    def index(self, digest: str, platform: str) -> bytes | None:
        return self._tried(lambda: self._store.index(digest, platform))

    def keep_layer(self, diff_id: str, data: bytes) -> None:
        self._tried(lambda: self._store.keep_layer(diff_id, data))

    def keep_index(self, kept: KeptIndex, names: Collection[str], data: bytes) -> None:
        self._tried(lambda: self._store.keep_index(kept, names, data))

    @staticmethod
    def _tried(work: Callable[[], _T]) -> _T | None:
        try:
            return work()
        except StorageError as error:
            _LOG.warning("the files of an image are not kept: %s", error.message)
            return None


def _registry(image: str) -> str:
    return image.partition("/")[0]


@contextlib.contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[None]:
    yield None
