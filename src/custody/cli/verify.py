"""`custody verify`: is the image signed, and by whom?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from custody.cli.carried import airgap_key_option, carried_root
from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, signers, verify_options
from custody.evidence.model import KeylessSigner, Verified
from custody.formats import cosign, intoto
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.services.verify import judge_all
from custody.wiring import registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@verify_options
@airgap_key_option
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="The signature has this annotation.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="json", show_default=True,
              help="What stdout gets.")
def command(images: tuple[str, ...], annotations: tuple[str, ...], output: str, airgap_key: str | None,
            **options: Any) -> None:
    """Verify signatures of images.

    Each image needs one signature by the key, or by the identity and issuer, that is about its digest and is in a
    transparency log of the trusted root. Attestations are never taken for signatures.
    """
    options["trusted_root"] = carried_root(images, airgap_key, options["trusted_root"])
    expected = Expected(settings(), options)
    asyncio.run(_run(images, expected, intoto.parse_annotations(annotations), output))


async def _run(images: tuple[str, ...], expected: Expected, annotations: dict[str, str], output: str) -> None:
    async with registry_client(settings()) as client:
        async for ref, gathered in evidence_of(client, images):
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock())
            matching = [signature for signature in judged.signatures
                        if annotations.items() <= signature.annotations.items()]
            if not matching:
                asked = ", ".join(f"{name}={value}" for name, value in annotations.items())
                raise nothing(ref, f"signature with {asked}" if judged.signatures else "signature", judged.rejected)
            if output == "json":
                print(json.dumps([_simple(signature, ref) for signature in matching]))
            else:
                for signature in matching:
                    print(f"{ref}\t{visible(str(signature.signer))}\t" + visible(_when(signature), "\t"))
            print(f"{ref}: {len(matching)} verified signature{'s' if len(matching) > 1 else ''}, "
                  f"by {signers(matching)}", file=sys.stderr)


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
