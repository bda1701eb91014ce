"""Signatures that a quantum computer does not forge, beside those that today's verifiers read.

Each is a Sigstore bundle of its own beside the image, by an ML-DSA-65 key (FIPS 204), over the same statement as the
other. Verifiers that do not know such keys pass it over; who asks for both is told which half is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click
from cryptography.hazmat.primitives.asymmetric import mldsa

from custody.cli.kept_keys import trusted_key
from custody.cli.trust_options import signing_key
from custody.errors import MissingEvidenceError, UsageError, VerificationError
from custody.evidence.model import EvidenceSet, Verified
from custody.formats.reference import Reference
from custody.kit.visible import visible
from custody.services.verify import Terms, judge_all
from custody.sign.identity import not_by_key
from custody.sign.keys import PublicKey
from custody.sign.referrers import Gathered
from custody.sign.verify import Trust
from custody.trust.keys import describe_key
from custody.trust.roots import SigningConfig

if TYPE_CHECKING:
    from custody.sign.signer import Signer

pq_option = click.option("--pq", metavar="FILE", help="Sign the same with this ML-DSA-65 key too (generate-key-pair "
                         "--pq), in a second bundle: it needs no log, and stays good when elliptic curves do not.")
pq_key_option = click.option("--pq-key", metavar="FILE", help="Ask for a signature by this ML-DSA-65 public key too, "
                             "over the same.")


async def post_quantum(signer: Signer, name: str | None) -> Signer | None:
    """Who signs the second half; asks nobody but the key. Raises UsageError for a key of another kind."""
    if name is None:
        return None
    key = await signing_key(name, signer.http, "--pq")
    assert key is not None  # a name was given
    _check_kind(key.public, "--pq")
    return replace(signer, key=key, token=None, config=SigningConfig(), root=None)


class SecondHalf:
    """What `--pq-key` asks for."""

    def __init__(self, name: str) -> None:
        key = trusted_key(name, "--pq-key")
        _check_kind(key, "--pq-key")
        self._terms = Terms(Trust(None, (key,), require_log=False), not_by_key)

    def among(self, gathered: Gathered, digest: str, now: datetime) -> EvidenceSet:
        """What this key signed about an image."""
        return judge_all(digest, gathered, self._terms, now)

    @staticmethod
    def missing(ref: Reference, kind: str, halves: EvidenceSet) -> VerificationError:
        """The error where nothing that counts has its second half."""
        asked = f"{ref}: no {kind} has its second half: the same by the ML-DSA-65 key of --pq-key"
        if not halves.verified:
            return MissingEvidenceError(f"{asked} is not there",
                                        hint="sign --pq FILE makes it; it may have been taken away since")
        listed = ", ".join(sorted(visible(half.source) for half in halves.verified))
        return VerificationError(f"{asked} says otherwise ({listed})")


def paired(verified: Iterable[Verified], halves: EvidenceSet) -> list[Verified]:
    """Those of which there is a half that says the same: kind, predicate and annotations."""
    return [statement for statement in verified if any(_said(statement) == _said(half) for half in halves.verified)]


def _said(statement: Verified) -> tuple[object, ...]:
    return statement.kind, statement.predicate_type, statement.predicate, statement.annotations


def _check_kind(key: PublicKey, option: str) -> None:
    if not isinstance(key.key, mldsa.MLDSA65PublicKey):
        raise UsageError(f"{option}: got a key of {describe_key(key.key)}, expected ML-DSA-65",
                         hint="generate-key-pair --pq makes one")
