"""How fast a log is watched: `python -m bench.sign.logwatch [ENTRIES]`, a tiled log in memory, one processor.

Each entry is hashed into the tree, decoded and looked at; one in 100,000 is by whom is looked for. Rekor v2's entries:
certificates of 500 different people. The same 500 entries come again and again, and the tree is checked all the same.
"""

from __future__ import annotations

import sys
import time

from cryptography.hazmat.primitives.serialization import Encoding
from tests.sign.authority import IDENTITY, ISSUER, World, entry_body, new_key
from tests.trust.test_log import SIGNER

from custody.kit.canonical import canonical
from custody.kit.merkle import Frontier, leaf_hash
from custody.sign.logwatch import Names, look
from custody.trust.tiles import WIDTH, TiledLog, encode_entries

_RARE = 100_000


class _Log:
    """Tiles of the same entries again and again, but for one entry in many, and the checkpoint that is true of them."""

    def __init__(self, bodies: list[bytes], rare: bytes, size: int) -> None:
        self._bodies, self._rare = bodies, rare
        self.size = size
        tree = Frontier()
        hashes, one = [leaf_hash(body) for body in bodies], leaf_hash(rare)
        for index in range(size):
            tree.push(one if index % _RARE == 77 else hashes[index % len(hashes)])
        self._note = SIGNER.sign(size, tree.root())

    def read(self, path: str) -> bytes | None:
        if path == "checkpoint":
            return self._note
        number = int(path.removeprefix("tile/entries/").partition(".")[0].replace("/", "").replace("x", ""))
        first = number * WIDTH
        return encode_entries([self._rare if index % _RARE == 77 else self._bodies[index % len(self._bodies)]
                               for index in range(first, min(first + WIDTH, self.size))])


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    world = World()

    def body(identity: str) -> bytes:
        certificate = world.leaf(new_key(), identity=identity)
        return canonical(entry_body("v2", b"m", b"p", b"s" * 70, certificate.public_bytes(Encoding.DER), b""))

    log = _Log([body(f"person{number}@acme.example") for number in range(500)], body(IDENTITY), size)
    authorities = world.trusted_root().certificate_authorities
    for name, names in (("identity and issuer", Names(subject=IDENTITY, issuer=ISSUER)),
                        ("issuer, identity by a pattern", Names(subject_regexp=f"^{IDENTITY}$", issuer=ISSUER))):
        count = size if names.subject else min(size, 100_000)
        source = log if count == size else _Log(log._bodies, log._rare, count)
        start, cpu = time.perf_counter(), time.process_time()
        watched = look(TiledLog(source), SIGNER.verifier, None, names, authorities)
        cpu, clock = time.process_time() - cpu, time.perf_counter() - start
        expected = -(-(count - 77) // _RARE)
        assert len(watched.sightings) == expected, (len(watched.sightings), expected)
        print(f"{name}: {count:,} entries, {len(watched.sightings)} seen, {clock:.1f} s, of the processor {cpu:.1f}: "
              f"{count / cpu:,.0f} a second")


if __name__ == "__main__":
    main()
