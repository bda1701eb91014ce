"""What `sbom --prove` does beside cataloguing: hash what passes by, then compare it with what packages say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from custody.errors import CustodyError
from custody.formats.bom import Difference, Package, Proof
from custody.formats.oci import Descriptor
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.registry.image import Image
from custody.sbom.decompression import Decompressed, Turn
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.layers import Accounts
from custody.sbom.limits import Account, FullError, Limits
from custody.sbom.proof import sums, verdict
from custody.sbom.proof.sums import Sums
from custody.sbom.proof.tree import Tree

_FIRST = 16 << 20


class Prover:
    """For one image or folder. What it keeps open is closed by `prove`, or by leaving its context."""

    def __init__(self, layers: int) -> None:
        self._image = sums.Image()
        self.layers = [Sums(self._image) for _ in range(layers)]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What all layers may take together for this."""
        return self._image.accounts

    def __enter__(self) -> Prover:
        return self

    def recognise(self, image: Image, limits: Limits, window: Turn) -> None:
        """Which package manager the system has, and so which digests its files need: what tells that is near the
        beginning of the lowest layer, and the layers above are read beside it.
        """
        lowest = image.manifest.layers[0]
        with contextlib.suppress(CustodyError), Decompressed(  # said when the layer is read
                image.open_blob(lowest), lowest, limits, window, None) as chunks:
            for entry in walk(Source(_first(chunks), f"layer {lowest.digest}"), limits):
                if self._image.recognise(entry.path):
                    return

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.close()

    def prove(self, layers: Sequence[LayerFacts], packages: Sequence[Package], digests: Sequence[str],
              again: Callable[[int, Sums], None]) -> Proof:
        """`again` reads one layer once more, with other sums to be made."""
        tree = Tree()
        try:
            for place, facts in enumerate(layers):
                tree.apply(facts, place)
        except FullError as limit:
            return Proof(stated=0, same=0, counts=(("unread", 1),), differences=(
                Difference(path="", state="unread", reason=f"names {limit}"),))
        said = verdict.read(tree, self.layers)
        for place, needed in verdict.wanting(said, tree, self.layers).items():
            more = Sums(self._image, needed)
            again(place, more)
            for path, made in more.digests.items():
                self.layers[place].digests[path] = (*self.layers[place].digests.get(path, ()), *made)
            self.layers[place].beyond.update(more.beyond)
        return verdict.judge(said, tree, self.layers, packages, digests)


def _first(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > _FIRST:
            return


def read_again(image: Image, descriptor: Descriptor, limits: Limits, accounts: Accounts, more: Sums) -> None:
    """Hash what is asked for in a layer that was read, and found to be what the image says, before."""
    with Decompressed(image.open_blob(descriptor), descriptor, limits, accounts.window, None) as chunks:
        source = Source(chunks, f"layer {descriptor.digest}")
        for entry in walk(source, limits):
            if entry.path and entry.kind != "global" and (watched := more.watch(entry)) is not None:
                more.done(watched)
        source.drain()
