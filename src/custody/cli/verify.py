"""`custody verify`: is the image signed, and by whom?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from custody.cli.carried import airgap_key_option, carried_root
from custody.cli.explaining import Explaining, explain_option, tell_notation
from custody.cli.postquantum import SecondHalf, paired, pq_key_option
from custody.cli.run import settings
from custody.cli.trust_options import (
    Command,
    Expected,
    evidence_of,
    image_options,
    local,
    nothing,
    signers,
    verify_options,
)
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, KeylessSigner, Verified
from custody.formats import cosign, intoto
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.services.telling import Telling
from custody.services.verify import judge_all
from custody.sign.steps import Step
from custody.wiring import registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@image_options
@airgap_key_option
@pq_key_option
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="The signature has this annotation.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
@explain_option
def command(images: tuple[str, ...], annotations: tuple[str, ...], output: str, airgap_key: str | None,
            pq_key: str | None, explain: bool, **options: Any) -> None:
    """Verify signatures of images.

    Each image needs one signature by the key, or by the identity and issuer, that is about its digest and is in a
    transparency log of the trusted root. With --pq-key it needs the same by that key too. Attestations are never taken
    for signatures.
    """
    images = local(images, options.pop("local_image"))
    options["trusted_root"] = carried_root(images, airgap_key, options["trusted_root"])
    expected = Expected(settings(), options)
    explaining = Explaining(output) if explain else None
    second = SecondHalf(pq_key) if pq_key else None
    asyncio.run(_run(images, options["max_workers"], expected, second, intoto.parse_annotations(annotations), output,
                     explaining))


async def _run(images: tuple[str, ...], workers: int, expected: Expected, second: SecondHalf | None,
               annotations: dict[str, str], output: str, explaining: Explaining | None) -> None:
    async with registry_client(settings()) as client:
        async for ref, gathered, at in evidence_of(client, images, workers):
            telling = Telling(Step.PREDICATE_TYPE, Step.ANNOTATIONS) if explaining else None
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock(), telling)
            matching = [signature for signature in judged.signatures
                        if annotations.items() <= signature.annotations.items()]
            refusal: CustodyError | None = None
            if not matching:
                asked = _pairs(annotations)
                refusal = nothing(ref, f"signature with {asked}" if judged.signatures else "signature", judged.rejected)
            elif second is not None:
                halves = second.among(gathered, str(ref.digest), system_clock())
                matching = paired(matching, halves)
                refusal = None if matching else second.missing(ref, "signature", halves)
            if explaining is not None and telling is not None:
                _narrow(telling, judged, annotations)
                await tell_notation(telling, settings(), at, ref)
                explaining.show(str(ref), telling, refusal)
            if refusal is not None:
                raise refusal
            if explaining is None:
                _print(matching, ref, output)
            print(f"{ref}: {len(matching)} verified signature{'s' if len(matching) > 1 else ''}, "
                  f"by {signers(matching)}", file=sys.stderr)


def _print(matching: list[Verified], ref: Reference, output: str) -> None:
    if output == "json":
        print(json.dumps([_simple(signature, ref) for signature in matching]))
        return
    for signature in matching:
        print(f"{ref}\t{visible(str(signature.signer))}\t" + visible(_when(signature), "\t"))


def _narrow(telling: Telling, judged: EvidenceSet, annotations: dict[str, str]) -> None:
    """What `verify` asks of a document that is verified: it is a signature, with these annotations."""
    for verified in judged.verified:
        signature = verified.kind == "signature"
        telling.narrow(Step.PREDICATE_TYPE, verified, None if signature else f"predicate type: got an attestation, "
                       f"{verified.predicate_type}, expected a signature", verified.predicate_type)
        lacking = {name: value for name, value in annotations.items() if verified.annotations.get(name) != value}
        if annotations:
            telling.narrow(Step.ANNOTATIONS, verified, f"annotations: got {_pairs(verified.annotations) or 'none'}, "
                           f"expected {_pairs(lacking)}" if lacking else None, _pairs(annotations))
        else:
            telling.skip(Step.ANNOTATIONS, verified, "none were asked for")


def _pairs(annotations: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in annotations.items())


def _simple(signature: Verified, ref: Reference) -> dict[str, Any]:
    """cosign's JSON: a simple-signing document, whatever the signature's format is."""
    optional: dict[str, Any] = dict(signature.annotations)
    if isinstance(signature.signer, KeylessSigner):
        optional |= {"Issuer": signature.signer.issuer, "Subject": signature.signer.subject, **signature.signer.claims}
    legacy = signature.format == "simplesigning"
    document = cosign.simple_signing(cosign.SimpleSigning(ref.digest or "", ref.name if legacy else str(ref), optional),
                                     cosign.SIGNATURE_TYPE if legacy else signature.predicate_type)
    return document | {"optional": document["optional"] or {}}


def _when(signature: Verified) -> str:
    time = format_rfc3339(signature.signed_at) if signature.signed_at else "no attested time"
    return f"{time}\t{f'log {signature.log.base_url} index {signature.log.index}' if signature.log else 'no log'}"
