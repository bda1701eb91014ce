"""Merkle trees as Certificate Transparency hashes them: roots and inclusion (RFC 6962 section 2.1).

Pure functions over 32-byte hashes. Proof checking follows RFC 9162 section 2.1.3.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from custody.errors import VerificationError


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """The tree hash over leaf hashes. O(n); logs keep tiles instead."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return node_hash(root_hash(leaves[:split]), root_hash(leaves[split:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index`, nearest sibling first. O(n)."""
    if len(leaves) <= 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_hash(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_hash(leaves[:split])]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that this proof leads to; the caller must compare it with a signed one. Raises VerificationError."""
    if not 0 <= index < size:
        raise VerificationError(f"inclusion proof: leaf index {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise VerificationError(f"inclusion proof: got {len(proof)} hashes, expected {inner + border}")
    result = leaf
    for level, sibling in enumerate(proof):
        left = level >= inner or index >> level & 1
        result = node_hash(sibling, result) if left else node_hash(result, sibling)
    return result


def left_siblings(index: int, size: int, proof: Sequence[bytes]) -> list[bytes]:
    """The hashes of a proof that stand left of leaf `index`, the largest tree first: those of the `Frontier` before it.

    Raises VerificationError for a proof of another length.
    """
    root_from_inclusion(bytes(32), index, size, proof)
    inner = (index ^ (size - 1)).bit_length()
    return [sibling for level, sibling in enumerate(proof) if level >= inner or index >> level & 1][::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    got = root_from_inclusion(leaf, index, size, proof)
    if got != root:
        raise VerificationError(f"inclusion proof: got root {got.hex()}, expected {root.hex()}")


class Frontier:
    """The right edge of a tree that grows: the roots of the complete subtrees that it is made of, the largest first.

    A few hashes for any size, from which its root and that of every later tree follow.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Raises ValueError for a size that has another number of complete subtrees."""
        if size < 0 or len(hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves is not made of {len(hashes)} complete ones")
        self.size, self.hashes = size, list(hashes)

    def push(self, leaf: bytes) -> None:
        """One more leaf hash."""
        hashes, size = self.hashes, self.size
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return root_hash([])
        result = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            result = node_hash(left, result)
        return result


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
