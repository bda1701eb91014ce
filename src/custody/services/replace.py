"""Replace: a signer's newer attestation takes the place of that signer's older ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from custody.evidence.model import KeylessSigner, Signer, Verified
from custody.formats import cosign, oci
from custody.formats.reference import Reference
from custody.registry.client import RegistryClient
from custody.services.verify import Terms, judge_all
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import Trust


async def replace_bundles(client: RegistryClient, ref: Reference, mine: Verified, keep: oci.Descriptor, trust: Trust,
                          now: datetime) -> int:
    """Delete the signer's other bundles of `mine`'s predicate type. Returns how many.

    What is not provably this signer's is not this signer's to remove.
    """
    replaced = 0
    for verified in await _older(client, ref, mine, trust, now):
        digest = verified.source.removeprefix("referrer ")
        if digest not in (keep.digest, verified.source):  # the new one, and a tag's layers, which are no manifests
            await client.delete_manifest(ref.at(digest))
            replaced += 1
    return replaced


async def replaced_layers(client: RegistryClient, ref: Reference, mine: Verified, trust: Trust, now: datetime
                          ) -> frozenset[str]:
    """The digests of the signer's layers of `mine`'s predicate type in the tag `sha256-<hex>.att`, which the new one
    takes the place of. cosign 2 takes those of other signers away too.
    """
    layers = f"tag {cosign.tag(mine.subject, '.att')} layer "
    return frozenset(verified.evidence for verified in await _older(client, ref, mine, trust, now)
                     if verified.source.startswith(layers))


async def _older(client: RegistryClient, ref: Reference, mine: Verified, trust: Trust, now: datetime
                 ) -> Sequence[Verified]:
    def mismatch(signer: Signer) -> str | None:
        return None if _same(signer, mine.signer) else "by another signer"

    gathered = await fetch_evidence(client, ref, unsigned=False, predicate_types=frozenset({mine.predicate_type}))
    return judge_all(mine.subject, gathered, Terms(trust, mismatch), now).of(mine.predicate_type)


def _same(signer: Signer, mine: Signer) -> bool:
    if isinstance(signer, KeylessSigner) and isinstance(mine, KeylessSigner):
        return (signer.subject, signer.issuer) == (mine.subject, mine.issuer)
    return signer == mine
