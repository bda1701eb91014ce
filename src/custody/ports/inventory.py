"""Where the contents of images are kept, to be asked which of them have a package, whatever the day.

A package is a `Component` wherever it lies, and is kept once; so are the packages of a layer that several images share.
Numbers of components count in this store, and only until the next `forget`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

from custody.formats.bom import Catalog, Package

Kind = Literal["name", "admission", "pod", "index", "signer"]
"""How an image was seen: under a name (`registry/shop:1.2`), let in by the webhook, running in a pod; in an index
with this digest, whose sightings are its own too; or signed by somebody, as it was verified ('' where nobody was)."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A package as advisories see it: without its places, and without what it requires."""

    package: Package
    owner: tuple[str, str] | None = None
    """Ecosystem and advisories' name of the distribution's package that installed it."""


class Numbered(NamedTuple):
    number: int
    component: Component


class Place(NamedTuple):
    """Where a component lies: a file of a layer of an image."""

    component: int
    image: str
    layer: str
    path: str
    """With what is within the file behind a `!`; empty where nobody said."""


class Sighting(NamedTuple):
    """That an image was seen."""

    image: str
    kind: Kind
    where: str
    """The name, or `namespace/kind/name`, or a pod as `cluster/namespace/name`."""
    at: datetime


class Seen(NamedTuple):
    """A sighting that is kept."""

    kind: Kind
    where: str
    first: datetime
    last: datetime


class InventoryStatus(NamedTuple):
    images: int
    newest: datetime | None
    """When the last image was kept."""


class Inventory(Protocol):
    """All of it is synchronous: whoever calls is in a thread that may wait. Raises StorageError."""

    def keep(self, catalog: Catalog, at: datetime, readers: str = "") -> bool:
        """What is in the image with the catalog's digest, in place of what was said before; False where that was the
        same. All or nothing; two that keep at the same time wait for each other. `readers` names the catalogers and
        their versions."""
        ...

    def catalog(self, image: str) -> Catalog | None:
        """What was kept, its packages in the order of their package URLs."""
        ...

    def kept(self, images: Collection[str], readers: str | None = None) -> set[str]:
        """Those of these that are kept, as these readers read them if some are given."""
        ...

    def forget(self, image: str) -> bool:
        """Let go of an image, its sightings and of what no other has."""
        ...

    def status(self) -> InventoryStatus: ...


class Sightings(Protocol):
    """Where images were seen. Of images that are not kept too: they may be later."""

    def see(self, sightings: Iterable[Sighting]) -> None:
        """Each is new, or later than the one of the same image, kind and place."""
        ...

    def gone(self, kind: Kind, before: datetime, beginning: str = "") -> int:
        """Let go of those not seen since, whose place begins so: pods that no longer run. Their number."""
        ...

    def seen(self, images: Collection[str]) -> Mapping[str, Sequence[Seen]]:
        """By image; those that were never seen are not in it."""
        ...

    def holders(self, kind: Kind, where: str) -> Sequence[str]:
        """The images that were seen there, the last first."""
        ...


class Index(Protocol):
    """Which components there are. Names as `known_names` spells them."""

    def ecosystems(self, name: str) -> Sequence[str]:
        """Those in which a component has this name; '' for those that OSV has no ecosystem for."""
        ...

    def named(self, name: str, ecosystem: str, low: bytes | None = None,
              high: bytes | None = None) -> Sequence[Numbered]:
        """Those whose version, by the order of the ecosystem's versions (`versions.sortable`), is neither below `low`
        nor above `high`, and all whose version has no place in that order."""
        ...

    def advised(self, ecosystem: str, name: str) -> Sequence[Numbered]:
        """Those that advisories of exactly this ecosystem and normalised name speak of, and those that a package of
        this name installed."""
        ...

    def marked(self, mark: str) -> Sequence[Numbered]:
        """Those with this mark: `sha256:…` of the package's archive or of a file, `license:MIT`."""
        ...

    def after(self, number: int, most: int) -> Sequence[Numbered]:
        """All, in the order of their numbers, so many at a time."""
        ...

    def components(self, numbers: Collection[int]) -> Sequence[Numbered]:
        """Those of these numbers that are there."""
        ...

    def images(self, after: int, most: int) -> Sequence[tuple[int, str]]:
        """Number and digest of all, in the order in which they were kept; one that was replaced has a new number."""
        ...

    def layered(self, digest: str) -> Sequence[str]:
        """The images with a layer of this digest, of its blob or of its uncompressed tar."""
        ...

    def contents(self, image: str) -> Sequence[int]:
        """The numbers of its components."""
        ...

    def places(self, components: Collection[int]) -> Sequence[Place]:
        """Every place of each of them."""
        ...


class InventoryStore(Inventory, Sightings, Index, Protocol):
    """All of it."""
