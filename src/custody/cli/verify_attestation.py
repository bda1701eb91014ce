"""`custody verify-attestation`: what does somebody I trust say about the image?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from custody.cli.carried import airgap_key_option, carried_root
from custody.cli.explaining import Explaining, explain_option, tell_notation
from custody.cli.postquantum import SecondHalf, paired, pq_key_option
from custody.cli.predicate_policies import (
    STEPS,
    SUMMARY,
    Demand,
    policy_option,
    summary_options,
    type_option,
)
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
from custody.errors import CustodyError, DeniedError, VerificationError
from custody.evidence.model import EvidenceSet, Rejected, State, Verified
from custody.formats.dsse import Envelope
from custody.formats.reference import Reference
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.telling import Telling
from custody.services.verify import judge_all
from custody.sign.decoders import decode
from custody.sign.referrers import Gathered
from custody.sign.steps import SILENT
from custody.wiring import registry_client


@click.command("verify-attestation", cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@image_options
@airgap_key_option
@pq_key_option
@type_option
@policy_option
@summary_options
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
@explain_option
def command(images: tuple[str, ...], kind: str, policies: tuple[str, ...], output: str, airgap_key: str | None,
            pq_key: str | None, explain: bool, **options: Any) -> None:
    """Verify attestations of images and print their DSSE envelopes, one a line.

    Exit code 3 where a policy does not allow one of them, whatever the others say.
    """
    demand = Demand(kind, policies, {name: options.pop(name) for name in SUMMARY}, named=True)
    images = local(images, options.pop("local_image"))
    options["trusted_root"] = carried_root(images, airgap_key, options["trusted_root"])
    expected = Expected(settings(), options)
    explaining = Explaining(output) if explain else None
    second = SecondHalf(pq_key) if pq_key else None
    asyncio.run(_run(images, options["max_workers"], expected, second, demand, output, explaining))


async def _run(images: tuple[str, ...], workers: int, expected: Expected, second: SecondHalf | None, demand: Demand,
               output: str, explaining: Explaining | None) -> None:
    async with registry_client(settings()) as client:
        async for ref, gathered, at in evidence_of(client, images, workers):
            telling = Telling(*STEPS) if explaining else None
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock(), telling)
            demanded = _Demanded(demand, judged, gathered, telling, f"{ref.name}@{ref.digest}")
            refusal = demanded.refusal(ref)
            if refusal is None and second is not None:
                halves = second.among(gathered, str(ref.digest), system_clock())
                refusal = demanded.pair(ref, second, halves)
            if explaining is not None and telling is not None:
                await tell_notation(telling, settings(), at, ref)
                explaining.show(str(ref), telling, refusal)
            if refusal is not None:
                raise refusal
            for statement, envelope in demanded.matching if explaining is None else ():
                print(json.dumps(envelope.to_json()) if output == "json" else
                      f"{ref}\t{visible(str(statement.predicate_type))}\t{visible(str(statement.signer))}")
            print(f"{ref}: {len(demanded.matching)} verified of type {demand.predicate_type}, by "
                  f"{signers([statement for statement, _ in demanded.matching])}", file=sys.stderr)


class _Demanded:
    """What is verified about one image, held against what was demanded."""

    def __init__(self, demand: Demand, judged: EvidenceSet, gathered: Gathered, telling: Telling | None,
                 resource: str) -> None:
        self.matching: list[tuple[Verified, Envelope]] = []
        self._denied: list[str] = []
        self._demand, self._judged, self._misshapen = demand, judged, list[Rejected]()
        # Not by digest: the same bytes may be there once more, as something that is no attestation.
        by_source = {evidence.source: evidence for evidence in gathered.evidence}
        for statement in judged.verified:
            trace = telling.trace(statement) if telling is not None else SILENT
            claim = decode(by_source[statement.source])
            try:
                demand.check(statement, claim.payload or b"", trace, resource)
            except DeniedError as error:
                self._denied.append(f"  {visible(statement.source)}: {visible(error.message)}")
            except VerificationError as error:
                if statement.predicate_type == demand.predicate_type:
                    self._misshapen.append(Rejected(
                        subject=statement.subject, evidence=statement.evidence, source=statement.source,
                        state=State.FAILED, reason=error.message, check=error.check))
            else:
                assert claim.envelope is not None  # verified attestations are envelopes
                self.matching.append((statement, claim.envelope))

    def pair(self, ref: Reference, second: SecondHalf, halves: EvidenceSet) -> CustodyError | None:
        """Only those with their second half match from now on; the error where there is none."""
        whole = paired((statement for statement, _ in self.matching), halves)
        self.matching = [match for match in self.matching if match[0] in whole]
        return None if self.matching else second.missing(ref, f"attestation of type {self._demand.predicate_type}",
                                                         halves)

    def refusal(self, ref: Reference) -> CustodyError | None:
        """Why the image does not pass; None where it does."""
        if self._denied:
            number = f"{len(self._denied)} attestation{'s' if len(self._denied) > 1 else ''}"
            return DeniedError(f"{ref}: {number} that the policies do not allow\n" + "\n".join(self._denied))
        if self.matching:
            return None
        there = sorted({statement.predicate_type for statement in self._judged.verified})
        return nothing(ref, f"attestation of type {self._demand.predicate_type}"
                       + (f" (there are {', '.join(map(visible, there))})" if there else ""),
                       [*self._misshapen, *self._judged.rejected])
