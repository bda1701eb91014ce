"""Reading a log that one does not trust: proofs from its tiles, and a check of everything in it.

What each finding means:
    a checkpoint that the key did not sign         somebody else's log, or an old one cut and pasted
    shrunken, two roots, forked                    the operator showed different logs at different times
    dropped, out of order, changed, missing        what is served is not what was signed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from custody.errors import MissingEvidenceError, VerificationError
from custody.kit.merkle import leaf_hash, root_hash, verify_inclusion
from custody.ports.tiles import TileReader
from custody.trust.checkpoint import Checkpoint, LogVerifier, parse_checkpoint
from custody.trust.roots import TrustedRoot
from custody.trust.tiles import WIDTH, TileTree, parse_entries, read_tile, tile_path, width_at


@dataclass(frozen=True, slots=True)
class Audit:
    """A log that was read to the end and found whole."""

    origin: str
    size: int
    root: bytes
    old_size: int | None
    """Size of the older checkpoint that this log contains."""


def verifier_for(reader: TileReader, root: TrustedRoot) -> LogVerifier:
    """The key of the trusted root that names this log. Raises VerificationError where none does."""
    checkpoint = parse_checkpoint(_note(reader))
    for log in (*root.tlogs, *root.ctlogs):
        try:
            key = load_der_public_key(log.key_der)
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey)):
            verifier = LogVerifier(checkpoint.origin, key)
            # For Ed25519 the ID is of name and key: a key that signs for two logs is trusted for the one in the root.
            if log.log_id[:4] == verifier.log_id[:4] and any(
                    signature[:4] == log.log_id[:4] for _, signature in checkpoint.signatures):
                return verifier
    raise VerificationError(f"log {checkpoint.origin}: none of its checkpoint's signatures is by a log of the trusted "
                            "root", hint="--trusted-root takes the trusted_root.json of the log's operator")


def read_checkpoint(reader: TileReader, verifier: LogVerifier) -> Checkpoint:
    """The log's own latest checkpoint, its signature verified."""
    return verifier.verify(_note(reader))


def read_entry(reader: TileReader, checkpoint: Checkpoint, index: int) -> tuple[bytes, list[bytes]]:
    """An entry and its inclusion proof, verified against the checkpoint. Raises VerificationError."""
    if not 0 <= index < checkpoint.size:
        raise MissingEvidenceError(f"log: entry {index} is not in a log of {checkpoint.size} entries")
    tile, offset = divmod(index, WIDTH)
    entries = parse_entries(read_tile(reader, "entries", tile, width_at(0, tile, checkpoint.size)))
    if offset >= len(entries):
        raise VerificationError(f"log: entry {index} is missing from its bundle of {len(entries)} entries")
    proof = TileTree(reader, checkpoint.size).inclusion(index)
    verify_inclusion(leaf_hash(entries[offset]), index, checkpoint.size, proof, checkpoint.root)
    return entries[offset], proof


def verify_log(reader: TileReader, verifier: LogVerifier, *, old: bytes | None = None,
               held: Mapping[int, bytes] | None = None) -> Audit:
    """Read the whole log and check every byte of it. Raises VerificationError with the finding.

    `old` is a checkpoint (signed note) seen earlier; `held` are entries by index that somebody has a proof for.
    """
    # 1. The checkpoints, and that time went forward between them.
    new = read_checkpoint(reader, verifier)
    before = verifier.verify(old) if old is not None else None
    if before is not None and before.size > new.size:
        raise VerificationError(f"log: shrunken: it had {before.size} entries and now has {new.size}")
    if before is not None and before.size == new.size and before.root != new.root:
        raise VerificationError(f"log: forked: two roots are signed for {new.size} entries, {before.root.hex()} and "
                                f"{new.root.hex()}")
    # 2. Every entry against its leaf hash.
    checked = _Checked()
    row: list[bytes] = []
    for tile in range(-(-new.size // WIDTH)):
        leaves = _leaves(reader, new.size, tile)
        checked.put(0, tile, leaves)
        if len(leaves) == WIDTH:
            row.append(root_hash(leaves))
    # 3. Every higher tile against the one below.
    level = 1
    while row:
        above = []
        for tile in range(-(-len(row) // WIDTH)):
            nodes = row[tile * WIDTH:(tile + 1) * WIDTH]
            if read_tile(reader, level, tile, len(nodes))[:32 * len(nodes)] != b"".join(nodes):
                raise VerificationError(f"log: {tile_path(level, tile, len(nodes))} is not the hash of the tiles below")
            checked.put(level, tile, nodes)
            if len(nodes) == WIDTH:
                above.append(root_hash(nodes))
        row, level = above, level + 1
    # 4. All of it against the signed root.
    root = TileTree(checked, new.size).root()
    if root != new.root:
        raise VerificationError(f"log: rewritten: {new.size} entries hash to root {root.hex()}, the checkpoint signs "
                                f"{new.root.hex()}")
    # 5. What it was before, and what others hold.
    if before is not None:
        prefix = TileTree(checked, before.size).root()
        if prefix != before.root:
            raise VerificationError(f"log: forked: its first {before.size} entries hash to {prefix.hex()}, the older "
                                    f"checkpoint signs {before.root.hex()}: an entry was dropped or changed")
    for index, entry in sorted((held or {}).items()):
        if index >= new.size or checked.leaf(index) != leaf_hash(entry):
            raise VerificationError(f"log: entry {index}, of which a signer holds a proof, is not there: it was "
                                    "dropped or changed")
    return Audit(new.origin, new.size, new.root, before.size if before else None)


class _Checked:
    """Tiles that were compared with what lies below them; a log that answers twice differently gains nothing."""

    def __init__(self) -> None:
        self._paths: dict[str, bytes] = {}

    def put(self, level: int, index: int, nodes: list[bytes]) -> None:
        # read_tile falls back from any partial path to the full one
        self._paths[tile_path(level, index)] = b"".join(nodes)

    def read(self, path: str) -> bytes | None:
        return self._paths.get(path)

    def leaf(self, index: int) -> bytes:
        offset = 32 * (index % WIDTH)
        return self._paths[tile_path(0, index // WIDTH)][offset:offset + 32]


def _leaves(reader: TileReader, size: int, tile: int) -> list[bytes]:
    """The leaf hashes of one tile's entries, compared with the tile; a difference is named for what it is."""
    width = width_at(0, tile, size)
    entries = parse_entries(read_tile(reader, "entries", tile, width))[:width]
    hashes = [leaf_hash(entry) for entry in entries]
    data = read_tile(reader, 0, tile, width)
    expected = [data[at:at + 32] for at in range(0, 32 * width, 32)]
    for offset, (leaf, in_tile) in enumerate(zip(hashes, expected, strict=False)):
        index = tile * WIDTH + offset
        if leaf == in_tile:
            continue
        following = hashes[offset:offset + 8]
        if following == expected[offset + 1:offset + 1 + len(following)]:
            raise VerificationError(f"log: entry {index} was dropped: entry {index + 1} stands in its place")
        if leaf in expected:
            raise VerificationError(f"log: entries are out of order: at {index} stands entry "
                                    f"{tile * WIDTH + expected.index(leaf)}")
        raise VerificationError(f"log: entry {index} was changed: it hashes to {leaf.hex()}, its tile says "
                                f"{in_tile.hex()}")
    if len(entries) < width or len(data) < 32 * width:
        have = min(len(entries), len(data) // 32)
        raise VerificationError(f"log: entry {tile * WIDTH + have} is missing: its bundle has {len(entries)} entries "
                                f"and its tile {len(data) // 32} hashes, expected {width}")
    return hashes


def _note(reader: TileReader) -> bytes:
    note = reader.read("checkpoint")
    if note is None:
        raise MissingEvidenceError("log: it has no checkpoint")
    return note
