"""`custody verify-attestation`: what does somebody I trust say about the image?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, verify_options
from custody.evidence.model import Evidence
from custody.formats import dsse, intoto
from custody.formats.bundle import parse_bundle
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.wiring import registry_client


@click.command("verify-attestation", cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
              help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, or a URI.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
def command(images: tuple[str, ...], kind: str, output: str, **options: Any) -> None:
    """Verify attestations of images and print their DSSE envelopes, one a line."""
    predicate_type = intoto.predicate_type(kind)
    expected = Expected(settings(), options)
    asyncio.run(_run(images, expected, predicate_type, output))


async def _run(images: tuple[str, ...], expected: Expected, predicate_type: str, output: str) -> None:
    async with registry_client(settings()) as client:
        async for ref, found in evidence_of(client, images):
            good, bad = expected.judge(found, system_clock())
            matching = [item for item in good if item.predicate_type == predicate_type]
            if not matching:
                other = sorted({item.predicate_type for item in good})
                raise nothing(ref, f"attestation of type {predicate_type}"
                              + (f" (there are {', '.join(map(visible, other))})" if other else ""), bad)
            by_digest = {item.digest: item for item in found.evidence}
            for item in matching:
                envelope = _envelope(by_digest[item.evidence])
                print(json.dumps(envelope) if output == "json" else
                      f"{ref}\t{visible(str(item.predicate_type))}\t{visible(str(item.signer))}")
            print(f"{ref}: {len(matching)} verified of type {predicate_type}, by "
                  f"{', '.join(sorted({visible(str(item.signer)) for item in matching}))}", file=sys.stderr)


def _envelope(evidence: Evidence) -> dict[str, Any]:
    if evidence.media_type == dsse.MEDIA_TYPE:
        return dsse.parse_envelope(evidence.data).to_json()
    envelope = parse_bundle(evidence.data).envelope
    assert envelope is not None  # verified attestations are envelopes
    return envelope.to_json()
