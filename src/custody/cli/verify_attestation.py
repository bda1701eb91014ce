"""`custody verify-attestation`: what does somebody I trust say about the image?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from custody.cli.carried import airgap_key_option, carried_root
from custody.cli.explaining import Explaining, explain_option, tell_notation
from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, signers, verify_options
from custody.errors import VerificationError
from custody.evidence.model import EvidenceSet
from custody.formats import intoto
from custody.formats.reference import Reference
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.telling import Telling
from custody.services.verify import judge_all
from custody.sign.decoders import decode
from custody.sign.steps import Step
from custody.wiring import registry_client


@click.command("verify-attestation", cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@airgap_key_option
@click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
              help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, or a URI.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
@explain_option
def command(images: tuple[str, ...], kind: str, output: str, airgap_key: str | None, explain: bool,
            **options: Any) -> None:
    """Verify attestations of images and print their DSSE envelopes, one a line."""
    predicate_type = intoto.predicate_type(kind)
    options["trusted_root"] = carried_root(images, airgap_key, options["trusted_root"])
    expected = Expected(settings(), options)
    explaining = Explaining(output) if explain else None
    asyncio.run(_run(images, expected, predicate_type, output, explaining))


async def _run(images: tuple[str, ...], expected: Expected, predicate_type: str, output: str,
               explaining: Explaining | None) -> None:
    async with registry_client(settings()) as client:
        async for ref, gathered, at in evidence_of(client, images):
            telling = Telling(Step.PREDICATE_TYPE) if explaining else None
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock(), telling)
            matching = judged.of(predicate_type)
            refusal = None if matching else _refusal(ref, predicate_type, judged)
            if explaining is not None and telling is not None:
                _narrow(telling, judged, predicate_type)
                await tell_notation(telling, settings(), at, ref)
                explaining.show(str(ref), telling, refusal)
            if refusal is not None:
                raise refusal
            # Not by digest: the same bytes may be there once more, as something that is no attestation.
            by_source = {evidence.source: evidence for evidence in gathered.evidence}
            for statement in matching if explaining is None else ():
                envelope = decode(by_source[statement.source]).envelope
                assert envelope is not None  # verified attestations are envelopes
                print(json.dumps(envelope.to_json()) if output == "json" else
                      f"{ref}\t{visible(str(statement.predicate_type))}\t{visible(str(statement.signer))}")
            print(f"{ref}: {len(matching)} verified of type {predicate_type}, by {signers(matching)}", file=sys.stderr)


def _refusal(ref: Reference, predicate_type: str, judged: EvidenceSet) -> VerificationError:
    there = sorted({statement.predicate_type for statement in judged.verified})
    return nothing(ref, f"attestation of type {predicate_type}"
                   + (f" (there are {', '.join(map(visible, there))})" if there else ""), judged.rejected)


def _narrow(telling: Telling, judged: EvidenceSet, predicate_type: str) -> None:
    """What `verify-attestation` asks of a document that is verified: it is of this type."""
    for verified in judged.verified:
        got = verified.predicate_type
        telling.narrow(Step.PREDICATE_TYPE, verified, None if got == predicate_type else
                       f"predicate type: got {got}, expected {predicate_type}", got)
