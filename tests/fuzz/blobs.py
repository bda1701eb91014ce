"""Signatures of files, changed at random: none that is changed counts for another file, and none ends in a crash.

usage: python -m tests.fuzz.blobs [COUNT [SEED]]      COUNT of each form, 10,000 unless said otherwise
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from typing import Any

from custody.errors import CustodyError
from custody.sign.blob import artifact_of, check_attested, check_signed, read_file_bundle
from custody.sign.verify import Trust
from tests.sign.authority import NOW, World
from tests.sign.blobs import BLOB, attested, older, signed

_OTHER = artifact_of(b"another file")
_FILE = artifact_of(BLOB)


def forms(world: World) -> dict[str, tuple[dict[str, Any], bool]]:
    """Each form of a signature in which everything is right, and whether it is an attestation."""
    first = signed(world, kind="hashedrekord")
    first["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    material = first["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    return {"0.3": (signed(world), False), "0.3 of Rekor v1": (signed(world, kind="hashedrekord"), False),
            "0.1": (first, False), "before bundles": (older(world), False), "attestation": (attested(world), True),
            "attestation in Rekor v1": (attested(world, kind="dsse"), True)}


def mutate(document: Any, chance: random.Random, others: Any) -> Any:
    """A copy in which one value is another: changed, of another signature, gone, twice, or of another type."""
    paths = list(_paths(document))
    path = chance.choice(paths)
    made = json.loads(json.dumps(document))
    holder = made
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    way = chance.randrange(6)
    if way == 0:
        holder[path[-1]] = _changed(value, chance)
    elif way == 1:
        holder[path[-1]] = _at(others, path, value)
    elif way == 2:
        del holder[path[-1]]
    elif way == 3:
        holder[path[-1]] = chance.choice([None, "", 0, -1, 1 << 64, [], {}, "AA==", [value], {"rawBytes": value}, True])
    elif way == 4 and isinstance(holder, list):
        holder.append(_at(others, path, value))
    elif isinstance(holder, dict):
        holder[chance.choice(["more", "publicKey", "certificate", "dsseEnvelope", "base64Signature"])] = value
    return made


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, below in steps for place in ((*path, step), *_paths(below, (*path, step)))]


def _at(document: Any, path: tuple[Any, ...], otherwise: Any) -> Any:
    try:
        for step in path:
            document = document[step]
    except (KeyError, IndexError, TypeError):
        return otherwise
    return document


def _changed(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, str) or not value:
        return value + 1 if isinstance(value, int) else value
    at = chance.randrange(len(value))
    return value[:at] + chance.choice("AZaz09+/=\n\u00e9") + value[at + 1:]


def run(count: int, seed: int) -> Counter[str]:
    """How often what was the answer. Raises AssertionError for what was accepted and must not be."""
    chance = random.Random(seed)
    world = World()
    trust = Trust(world.trusted_root())
    answers: Counter[str] = Counter()
    for name, (document, attestation) in forms(world).items():
        others = forms(world)[name][0]
        check = check_attested if attestation else check_signed
        right, _ = read_file_bundle(json.dumps(document).encode(), _FILE)
        signer = right.signature, right.certificates[:1]
        for _ in range(count):
            changed = mutate(document, chance, others)
            data = json.dumps(changed).encode()
            if chance.random() < 0.1:  # and bytes that are no JSON any more
                at = chance.randrange(len(data))
                data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1:]
            try:
                bundle, form = read_file_bundle(data, _FILE)
            except CustodyError:
                answers[f"{name}: not read"] += 1
                continue
            try:
                check(bundle, form, _OTHER, trust, NOW)
            except CustodyError:
                answers[f"{name}: refused for another file"] += 1
            else:
                raise AssertionError(f"{name}: accepted for another file: {data!r}")
            try:
                verified = check(bundle, form, _FILE, trust, NOW)
            except CustodyError:
                answers[f"{name}: refused"] += 1
                continue
            # What is accepted says the same in other words: the same signature by the same certificate.
            assert verified.subject == _FILE.digest, data
            assert (bundle.signature, bundle.certificates[:1]) == signer, data
            assert verified.log is not None, data
            answers[f"{name}: means the same"] += 1
    return answers


if __name__ == "__main__":
    for answer, times in sorted(run(*map(int, sys.argv[1:] or ["10000"]), *([0] if len(sys.argv) < 3 else [])).items()):
        print(f"{times:7} {answer}")
