"""Envelopes of the Notary Project in which something was changed: none of them counts, and none breaks the verifier.

`python -m tests.fuzz.notation_envelopes COUNT [SEED]`: COUNT mutants of each format, of signatures with expiry, user
metadata and a timestamp, by bytes, by parts that are exchanged with another signature's, and by fields. A mutant that
says the same in another spelling (white space, the order of JSON's members, what names the program that signed) is
the same signature, and is counted apart: what is signed, by whom and when must be the same then.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509

from custody.formats import cbor, notary
from custody.sign.notary.revocation import Answer, State
from custody.sign.notary.trustpolicy import Statement, parse_oci
from custody.sign.notary.verify import Outcome, Verifier
from tests.fuzz.chance import Chance
from tests.sign.authority import NOW, OTHER
from tests.sign.notary.envelopes import CHAINS, KEYS, STRANGERS, TSA_ROOT, made, target

FORMATS = {"jws": notary.JWS, "cose": notary.COSE}


class Stores:
    """Of one certificate each."""

    def certificates(self, store_type: str, name: str) -> tuple[x509.Certificate, ...]:
        return (TSA_ROOT,) if store_type == "tsa" else (CHAINS["EC-256"][-1],)


class Good:
    """Nobody was revoked."""

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        return [Answer("", State.GOOD) for _ in chain[:-1]]


@cache
def statement() -> Statement:
    return parse_oci(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme", "tsa:time"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"]}]}).encode()
    ).statements[0]


def judged(data: bytes, media_type: str, now: datetime = NOW + timedelta(minutes=5)) -> Outcome:
    verifier = Verifier(Stores(), Good(), lambda: now)
    return asyncio.run(verifier.verify(data, media_type, statement(), lambda _: target()))


def originals(form: str) -> Iterator[bytes]:
    for kind in KEYS:
        yield made(form, kind, expiry=NOW + timedelta(hours=1), annotations={"env": "prod"}, stamped=True)


class Mutator(Chance):
    """Changes one envelope, with parts of `other`."""

    def mutant(self, data: bytes, other: bytes, form: str) -> bytes:
        way = self.pick(self.flipped, self.cut, self.doubled, self.spliced, self.exchanged, self.rewritten)
        return way(data, other, form)  # type: ignore[no-any-return]

    def flipped(self, data: bytes, _other: bytes, _form: str) -> bytes:
        changed = bytearray(data)
        for _ in range(self.pick(1, 1, 1, 2, 8)):
            changed[self.random.randrange(len(changed))] ^= self.pick(1, 2, 4, 8, 16, 32, 64, 128, 255)
        return bytes(changed)

    def cut(self, data: bytes, _other: bytes, _form: str) -> bytes:
        start = self.random.randrange(len(data))
        return data[:start] + data[start + self.pick(1, 2, 7, 100, len(data)):]

    def doubled(self, data: bytes, _other: bytes, _form: str) -> bytes:
        start, size = self.random.randrange(len(data)), self.pick(1, 4, 33, 500)
        return data[:start] + data[start:start + size] + data[start:]

    def spliced(self, data: bytes, other: bytes, _form: str) -> bytes:
        start, size = self.random.randrange(len(data)), self.pick(1, 16, 64, 700)
        return data[:start] + other[start:start + size] + data[start + size:]

    def exchanged(self, data: bytes, other: bytes, form: str) -> bytes:
        """One part is the other signature's."""
        mine, theirs = self.parts(data, form), self.parts(other, form)
        name = self.pick(*mine)
        mine[name] = theirs[name]
        return self.whole(mine, form)

    def rewritten(self, data: bytes, _other: bytes, form: str) -> bytes:
        """A field of what is signed, of the certificates or of the signature is another one."""
        parts = self.parts(data, form)
        name = self.pick("payload", "protected", "chain", "signature", "stamp")
        if name == "payload":
            payload = json.loads(parts["payload"])
            place, value = self.pick(("digest", OTHER), ("size", 8), ("mediaType", "text/plain"), ("annotations", {}),
                                     ("digest", "sha512:" + 128 * "0"))
            payload["targetArtifact"][place] = value
            parts["payload"] = json.dumps(payload).encode()
        elif name == "protected":
            header = parts["protected"]
            key = self.pick(*header)
            if self.chance(0.3):
                del header[key]
            else:
                header[key] = self.pick(None, 0, "", [], {}, "x", -7, "none", "HS256", ["x"],
                                        header[self.pick(*header)])
        elif name == "chain":
            parts["chain"] = self.pick([], parts["chain"][:1], parts["chain"][::-1], parts["chain"] * 2,
                                       [parts["chain"][0], *STRANGERS], STRANGERS, parts["chain"][1:], [b""],
                                       [*parts["chain"], *STRANGERS])
        elif name == "signature":
            parts["signature"] = self.pick(b"", b"\0" * len(parts["signature"]), parts["signature"][::-1],
                                           parts["signature"][:-1], parts["signature"] + b"\0")
        else:
            parts["stamp"] = self.pick(None, b"", b"\x30\0", parts["stamp"][:-1], parts["stamp"] + b"\0")
        return self.whole(parts, form)

    def parts(self, data: bytes, form: str) -> dict[str, Any]:
        if form == "cose":
            protected, header, payload, signature = cbor.loads(data, "x").value
            return {"protected": cbor.loads(protected, "x"), "payload": payload, "signature": signature,
                    "chain": header[33], "stamp": header.get("io.cncf.notary.timestampSignature")}
        document = json.loads(data)
        header = document["header"]
        return {"protected": json.loads(_unbase64(document["protected"])), "payload": _unbase64(document["payload"]),
                "signature": _unbase64(document["signature"]),
                "chain": [base64.b64decode(der) for der in header["x5c"]],
                "stamp": base64.b64decode(header["io.cncf.notary.timestampSignature"])}

    def whole(self, parts: dict[str, Any], form: str) -> bytes:
        from tests.sign.notary.envelopes import encoded_cose, encoded_jws

        return (encoded_cose if form == "cose" else encoded_jws)(**parts)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def mutants(form: str, count: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Each with what it is made of."""
    sources = list(originals(form))
    for number in range(seed, seed + count):
        mutator = Mutator(number)
        data, other = mutator.random.sample(sources, 2)
        mutant = mutator.mutant(data, other, form)
        if mutant not in sources:
            yield mutant, data


def same(mutant: Outcome, form: str, *sources: bytes) -> bool:
    """Whether an accepted one says what one of these says: the same signed bytes, signature, certificates and time."""
    for source in sources:
        original = judged(source, FORMATS[form])
        assert original.envelope is not None
        assert mutant.envelope is not None
        if (mutant.envelope.signed, mutant.envelope.signature, mutant.envelope.chain, mutant.moment) == (
                original.envelope.signed, original.envelope.signature, original.envelope.chain, original.moment):
            return True
    return False


def main(count: int, seed: int = 0) -> int:
    wrong = 0
    for form, media_type in FORMATS.items():
        tally: Counter[str] = Counter()
        for source in originals(form):
            outcome = judged(source, media_type)
            assert outcome.error is None, outcome.error
        for mutant, source in mutants(form, count, seed):
            outcome = judged(mutant, media_type)
            if outcome.error is not None:
                tally[str(outcome.error.check or "format")] += 1
            elif same(outcome, form, source):
                tally["the same in another spelling"] += 1
            else:
                wrong += 1
                print(f"{form}: accepted: {mutant!r}")
        print(f"{form}: {count} mutants from seed {seed}: " + ", ".join(f"{value} {name}" for name, value in sorted(
            tally.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    print(datetime.now(UTC))
    sys.exit(main(*map(int, sys.argv[1:])))
