"""Merkle trees as Certificate Transparency hashes them: roots, inclusion and consistency (RFC 6962 section 2.1).

Pure functions over 32-byte hashes. Proof checking follows RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from custody.errors import VerificationError


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


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


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Proof that the tree of the first `old_size` leaves is a prefix of this one. O(n)."""

    def walk(part: Sequence[bytes], size: int, whole: bool) -> list[bytes]:
        if size == len(part):
            return [] if whole else [root_hash(part)]
        split = _split(len(part))
        if size <= split:
            return [*walk(part[:split], size, whole), root_hash(part[split:])]
        return [*walk(part[split:], size - split, False), root_hash(part[:split])]

    return walk(leaves, old_size, True) if 0 < old_size < len(leaves) else []


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


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    got = root_from_inclusion(leaf, index, size, proof)
    if got != root:
        raise VerificationError(f"inclusion proof: got root {got.hex()}, expected {root.hex()}")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises VerificationError unless the old tree is a prefix of the new one."""
    if old_size > new_size:
        raise VerificationError(f"consistency: the log shrank from {old_size} to {new_size} entries")
    if old_size == new_size or old_size == 0:
        if proof:
            raise VerificationError("consistency proof: got hashes where none are needed")
        if old_size == new_size and old_root != new_root:
            raise VerificationError(
                f"consistency: two roots for {old_size} entries: {old_root.hex()} and {new_root.hex()}")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise VerificationError("consistency proof: empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationError("consistency proof: too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise VerificationError("consistency proof: too short")
    if old != old_root:
        raise VerificationError(f"consistency: the log no longer holds what it held: old root {old_root.hex()}, "
                                f"the proof leads to {old.hex()}")
    if new != new_root:
        raise VerificationError(f"consistency proof: got new root {new.hex()}, expected {new_root.hex()}")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
