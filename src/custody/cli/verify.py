"""`custody verify`: is the image signed, and by whom?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, verify_options
from custody.evidence.model import KeylessSigner, Verified
from custody.formats import cosign, intoto
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.wiring import registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="The signature has this annotation.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
def command(images: tuple[str, ...], annotations: tuple[str, ...], output: str, **options: Any) -> None:
    """Verify signatures of images.

    Each image needs one signature by the key, or by the identity and issuer, that is about its digest and is in a
    transparency log of the trusted root. Attestations are never taken for signatures.
    """
    expected = Expected(settings(), options)
    asyncio.run(_run(images, expected, intoto.parse_annotations(annotations), output))


async def _run(images: tuple[str, ...], expected: Expected, wanted: dict[str, str], output: str) -> None:
    async with registry_client(settings()) as client:
        async for ref, found in evidence_of(client, images):
            good, bad = expected.judge(found, system_clock())
            good = [item for item in good if item.kind == "signature"]
            matching = [item for item in good if wanted.items() <= item.annotations.items()]
            if good and not matching:
                what = ", ".join(f"{name}={value}" for name, value in wanted.items())
                raise nothing(ref, f"signature with {what}", bad)
            if not matching:
                raise nothing(ref, "signature", bad)
            if output == "json":
                print(json.dumps([_simple(item, ref) for item in matching]))
            else:
                for item in matching:
                    print(f"{ref}\t{visible(str(item.signer))}\t" + visible(_when(item), "\t"))
            print(f"{ref}: {len(matching)} verified signature{'s' if len(matching) > 1 else ''}, "
                  f"by {', '.join(sorted({visible(str(item.signer)) for item in matching}))}", file=sys.stderr)


def _simple(item: Verified, ref: Reference) -> dict[str, Any]:
    """cosign's JSON: a simple-signing document, whatever the signature's format is."""
    optional: dict[str, Any] = dict(item.annotations)
    if isinstance(item.signer, KeylessSigner):
        optional |= {"Issuer": item.signer.issuer, "Subject": item.signer.subject, **item.signer.claims}
    legacy = item.format == "simplesigning"
    document = cosign.simple_signing(cosign.SimpleSigning(ref.digest or "", ref.name if legacy else str(ref), optional),
                                     cosign.SIGNATURE_TYPE if legacy else item.predicate_type)
    return document | {"optional": document["optional"] or {}}


def _when(item: Verified) -> str:
    time = format_rfc3339(item.signed_at) if item.signed_at else "no attested time"
    return f"{time}\t{f'log {item.log.base_url} index {item.log.index}' if item.log else 'no log'}"
