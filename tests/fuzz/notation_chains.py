"""Certificate chains and envelopes that nobody would make, verified by the real `notation` and by custody.

`python -m tests.fuzz.notation_chains COUNT [SEED]`: chains of one to four certificates whose constraints, usages,
purposes, keys, spans and order are drawn, and envelopes with attributes that are drawn, lie in an OCI layout. Each
verdict is compared. Where custody is stricter on purpose is counted apart, by what its refusal says.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from custody.cli.run import run
from custody.formats import notary, oci
from custody.registry.listedlayout import ListedLayout
from tests.apiserver import program
from tests.fuzz.chance import Chance
from tests.sign.notary.envelopes import KEYS, NAME, made
from tests.sign.notary.materials import directory_in, environment, key_of, layout, trust, usage

STRICTER = ("critical-extension", "is for any use", "is critical, and no verification plugin")
"""What custody says where it refuses, and `notation` passes over it (docs/compatibility.md)."""
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
           "key_cert_sign", "crl_sign")
_PURPOSES = (Usage.CODE_SIGNING, Usage.CODE_SIGNING, Usage.SERVER_AUTH, Usage.CLIENT_AUTH, Usage.EMAIL_PROTECTION,
             Usage.TIME_STAMPING, Usage.OCSP_SIGNING, Usage.ANY_EXTENDED_KEY_USAGE, x509.ObjectIdentifier("1.2.3.4"))


class Author(Chance):
    """One chain, leaf first, and the envelope that it signs."""

    def chain(self) -> tuple[str, tuple[x509.Certificate, ...]]:
        self.now = datetime.now(UTC).replace(microsecond=0)
        kind = self.pick("EC-256", "EC-256", "RSA-2048", "EC-384")
        length = self.pick(1, 2, 2, 3, 3, 4)
        keys = [key_of(kind), *(key_of("EC-256", 30 + at) for at in range(1, length))]
        made_of: list[x509.Certificate] = []
        for at in reversed(range(length)):
            issuer = (made_of[-1], keys[at + 1]) if made_of else None
            made_of.append(self.certificate(at, keys[at], issuer, alone=length == 1))
        chain = made_of[::-1]
        if self.chance(0.1):
            chain = self.pick(chain[:1], chain[:-1] or chain, chain[::-1], [*chain, chain[-1]], [chain[0], *chain],
                              [chain[0], *chain[2:]])
        return kind, tuple(chain)

    def certificate(self, at: int, key: Any, issuer: tuple[x509.Certificate, Any] | None, *, alone: bool
                    ) -> x509.Certificate:
        leaf, odd = at == 0, self.chance(0.25)
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in (
            (NameOID.COUNTRY_NAME, "US"), (NameOID.STATE_OR_PROVINCE_NAME, "WA"), (NameOID.ORGANIZATION_NAME, "acme"),
            (NameOID.COMMON_NAME, f"number {at}"))])
        early = odd and self.chance(0.1)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(self.now + timedelta(hours=1) if early else self.now - timedelta(days=1))
                   .not_valid_after(self.now + timedelta(days=1)))
        if not leaf or (odd and self.chance(0.3)):
            ca = not leaf if not odd else self.chance(0.7)
            length = self.pick(None, None, at - 1 if at else 0, 0, 1) if ca else None
            builder = builder.add_extension(x509.BasicConstraints(ca, length), not odd or self.chance(0.5))
        usages = {"digital_signature"} if leaf else {"key_cert_sign"}
        if odd and self.chance(0.6):
            usages = set(self.random.sample(_USAGES, self.pick(1, 2, 3))) | (usages if self.chance(0.6) else set())
        if not odd or self.chance(0.85):
            builder = builder.add_extension(usage(*usages), not odd or self.chance(0.7))
        if (leaf and self.chance(0.7)) or (odd and self.chance(0.2)):
            purposes = [Usage.CODE_SIGNING] if not odd else list(dict.fromkeys(
                self.pick(*_PURPOSES) for _ in range(self.pick(1, 2))))
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), odd and self.chance(0.3))
        if odd and self.chance(0.08):
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"),
                                            self.chance(0.6))
        signer = issuer[1] if issuer and not (odd and self.chance(0.05)) else key
        return builder.sign(signer, self.pick(hashes.SHA256(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()))

    def envelope(self, form: str, digest: str, size: int) -> tuple[bytes, tuple[x509.Certificate, ...]]:
        kind, chain = self.chain()
        changes: dict[str, Any] = {}
        if self.chance(0.2):
            changes["expiry"] = self.now + timedelta(seconds=self.pick(-5, 3600, 3600, 3600))
        if self.chance(0.1):
            changes["extended"] = {self.pick("com.example.x", f"{NAME}other"): "1"}
        if self.chance(0.1):
            changes["scheme"] = notary.SIGNING_AUTHORITY
        target = {"mediaType": oci.MANIFEST, "digest": digest, "size": size}
        if self.chance(0.05):
            target[self.pick("digest", "mediaType")] = "sha256:" + 64 * "0"
        at = self.now - timedelta(minutes=1)
        if self.chance(0.05):
            at = self.now - timedelta(days=3)
        if "expiry" in changes and changes["expiry"] <= at and self.chance(0.9):
            changes["expiry"] = at + timedelta(seconds=30)
        return made(form, kind if kind in KEYS else "EC-256", chain=chain, at=at, payload=json.dumps(
            {"targetArtifact": target}).encode(), **changes), chain


def main(count: int, seed: int = 0) -> int:
    tally: Counter[str] = Counter()
    differences = 0
    for number in range(seed, seed + count):
        with tempfile.TemporaryDirectory() as made_in:
            verdict, line = compared(number, Path(made_in))
        tally[verdict] += 1
        if verdict == "differ":
            differences += 1
            print(f"{number}: {line}")
    print(f"{count} chains from seed {seed}: " + ", ".join(f"{value} {name}" for name, value in sorted(tally.items())))
    return 1 if differences else 0


def compared(number: int, folder: Path) -> tuple[str, str]:
    """How the two verdicts stand to each other, and what was said."""
    directory = directory_in(folder / "notation")
    os.environ |= {name: value for name, value in environment(directory).items() if name.startswith("NOTATION_")}
    stored = folder / "stored"
    digest = layout(stored)
    held = ListedLayout(stored)
    subject = held.resolve(digest)
    author = Author(number)
    form = author.pick("jws", "cose")
    data, chain = author.envelope(form, digest, subject.size)
    blob = held.push_blob(data, notary.JWS if form == "jws" else notary.COSE)
    config = held.push_blob(oci.EMPTY_BLOB, notary.ARTIFACT_TYPE)
    manifest = oci.Manifest(oci.MANIFEST, config, (blob,), oci.Descriptor(subject.media_type, digest, subject.size))
    held.push_manifest(json.dumps(manifest.to_json()).encode(), oci.MANIFEST)
    for kind in ("ca", "signingAuthority"):
        trust(directory, kind, "acme", chain[-1])
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme", "signingAuthority:acme"],
        "trustedIdentities": [author.pick("*", "x509.subject: C=US, ST=WA, O=acme")]}]}))
    arguments = ["verify", "--oci-layout", "--scope", "local/app", f"{stored}@{digest}"]
    theirs = subprocess.run([program("notation"), *arguments, "-v"], capture_output=True, text=True, check=False)
    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        ours = run(["notation", *arguments])
    if (ours == 0) == (theirs.returncode == 0):
        return ("taken by both" if ours == 0 else "refused by both"), ""
    if theirs.returncode == 0 and any(words in errors.getvalue() for words in STRICTER):
        return "custody stricter", ""
    reasons = [line for line in theirs.stderr.splitlines() if "rror" in line or "arning" in line]
    return "differ", (f"notation {theirs.returncode} {' '.join(reasons[-3:])}\n  custody {ours} "
                      f"{errors.getvalue().strip()}")


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
