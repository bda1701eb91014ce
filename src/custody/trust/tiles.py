"""A Merkle tree kept as tiles of 256 hashes (C2SP tlog-tiles): paths, entry bundles, roots and proofs.

Tile (level, index) holds the roots of 256 complete subtrees of 256**level leaves each, 32 bytes a hash. The last tile
of a level may be partial; its path then ends in `.p/<width>`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from custody.errors import MalformedError, VerificationError
from custody.kit.merkle import node_hash, root_hash
from custody.ports.tiles import TileReader

WIDTH = 256
MAX_ENTRY = 0xFFFF
_MEMORY = 65_536


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """`tile/0/x001/067`, `tile/entries/000.p/5`: level a number or `entries`, `width` hashes or entries in it."""
    parts = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03}")
    suffix = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(parts))}{suffix}"


def width_at(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in a tree of `size` leaves; 0 where it does not exist."""
    return max(0, min(WIDTH, (size >> (8 * level)) - WIDTH * index))


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length, 16 bits big-endian."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def parse_entries(data: bytes, where: str = "entry bundle") -> list[bytes]:
    """Raises MalformedError."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise MalformedError(where, got=f"{len(data)} bytes", expected=f"entry {len(entries)} to end at byte {end}")
        entries.append(data[at + 2:end])
        at = end
    if len(entries) > WIDTH:
        raise MalformedError(where, got=f"{len(entries)} entries", expected=f"at most {WIDTH}")
    return entries


def staging_name(size: int, root: bytes) -> str:
    """What the files of the tree of this size and root are staged under."""
    return f"{size}-{root.hex()}"


class StagedReader:
    """A log as it is once `files`, which are staged, are in their places. Implements ports.tiles.TileReader."""

    def __init__(self, reader: TileReader) -> None:
        self._reader = reader
        self.files: Mapping[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        data = self.files.get(path)
        return self._reader.read(path) if data is None else data


def read_tile(reader: TileReader, level: int | str, index: int, width: int) -> bytes:
    """A tile's bytes; where the partial one is gone, the full one that replaced it. Raises VerificationError."""
    path = tile_path(level, index, width)
    data = reader.read(path)
    if data is None and width < WIDTH:
        data = reader.read(tile_path(level, index))
    if data is None:
        raise VerificationError(f"log: {path} is missing")
    return data


class TiledLog:
    """Implements ports.tiles.LogReader over tiles."""

    first = 0

    def __init__(self, reader: TileReader) -> None:
        self.read = reader.read

    def entries(self, start: int, size: int) -> Iterator[bytes]:
        for tile in range(start // WIDTH, -(-size // WIDTH)):
            width = width_at(0, tile, size)
            entries = parse_entries(read_tile(self, "entries", tile, width))[:width]
            if len(entries) < width:
                raise VerificationError(f"log: entry {tile * WIDTH + len(entries)} is missing from its bundle of "
                                        f"{len(entries)} entries")
            yield from entries[max(0, start - tile * WIDTH):]

    def frontier(self, index: int, size: int, /) -> Sequence[bytes]:
        return TileTree(self, size).frontier(index)


class TileTree:
    """The tree of the first `size` leaves, read tile by tile. Hashes of complete subtrees are remembered.

    What it answers is only as good as the tiles: compare `root()` with a signed checkpoint.
    """

    def __init__(self, reader: TileReader, size: int) -> None:
        self.size = size
        self._reader = reader
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._tiles: dict[tuple[int, int, int], bytes] = {}

    def root(self) -> bytes:
        return self._range(0, self.size) if self.size else root_hash([])

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, as many as the tree of this size has there."""
        width = width_at(level, index, self.size)
        hashes = self._tiles.get((level, index, width))
        if hashes is None:
            data = read_tile(self._reader, level, index, width)
            if len(data) % 32 or len(data) < 32 * width:
                raise VerificationError(f"log: {tile_path(level, index, width)} has {len(data)} bytes, "
                                        f"expected {32 * width}")
            if len(self._tiles) > 64:
                self._tiles.clear()
            hashes = self._tiles[level, index, width] = data[:32 * width]
        return hashes

    def inclusion(self, index: int) -> list[bytes]:
        """The audit path of leaf `index` (RFC 6962 section 2.1.1), nearest sibling first."""
        proof, start, end = [], 0, self.size
        while end - start > 1:
            middle = start + (1 << (end - start - 1).bit_length() - 1)
            if index < middle:
                proof.append((middle, end))
                end = middle
            else:
                proof.append((start, middle))
                start = middle
        return [self._range(*span) for span in reversed(proof)]

    def frontier(self, size: int) -> list[bytes]:
        """The roots of the complete subtrees that its first `size` leaves are made of, the largest first."""
        heights = [height for height in range(size.bit_length() - 1, -1, -1) if size >> height & 1]
        return [self._node(height, (size >> height) - 1) for height in heights]

    def _range(self, start: int, end: int) -> bytes:
        """The tree hash of leaves start … end - 1, where that is a subtree."""
        span = end - start
        height = (span - 1).bit_length()
        if span == 1 << height:
            return self._node(height, start >> height)
        middle = start + (1 << height - 1)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _node(self, height: int, index: int) -> bytes:
        remembered = self._nodes.get((height, index))
        if remembered is not None:
            return remembered
        if height % 8 == 0:
            offset = 32 * (index % WIDTH)
            return self.tile(height // 8, index // WIDTH)[offset:offset + 32]
        result = node_hash(self._node(height - 1, 2 * index), self._node(height - 1, 2 * index + 1))
        if len(self._nodes) > _MEMORY:
            self._nodes.clear()
        self._nodes[height, index] = result
        return result
