"""`custody tree`: what is known about an image, and what of it counts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_files import load_root, trusted_root_option
from custody.cli.trust_options import resolve
from custody.errors import CustodyError, VerificationError
from custody.evidence.model import Evidence, KeylessSigner, Rejected, State, Verified
from custody.formats import dsse, intoto
from custody.formats.bundle import parse_bundle
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.sign.keys import load_public_key, read_key_file
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import BUNDLE_PREFIX, Trust, verify_evidence
from custody.wiring import registry_client

_KINDS = {"signature": "signatures", "attestation": "attestations", "unsigned": "unsigned", "unread": "not read"}


@click.command()
@click.argument("image")
@click.option("--key", multiple=True, metavar="FILE", help="Public keys to verify with.")
@trusted_root_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="What stdout gets.")
def command(image: str, key: tuple[str, ...], trusted_root: str | None, output: str) -> None:
    """Show the signatures, attestations and SBOMs of an image.

    ✓ is verified against the trusted root or a given key and in a log, ~ the same but in no log, ✗ is not verified.
    """
    keys = tuple(load_public_key(read_key_file(path), path) for path in key)
    asyncio.run(_run(image, Trust(load_root(settings(), trusted_root), keys), output))


async def _run(image: str, trust: Trust, output: str) -> None:
    async with registry_client(settings()) as client:
        ref, _ = await resolve(client, image)
        found = await fetch_evidence(client, ref)
    rows = [*(_row(item, trust) for item in found.evidence), *map(_unread, found.rejected)]
    if output == "json":
        print(json.dumps({"image": str(ref), "digest": ref.digest, "evidence": rows}, indent=2))
        return
    print(ref)
    groups = [(kind, [row for row in rows if row["kind"] == kind]) for kind in _KINDS]
    groups = [(kind, members) for kind, members in groups if members]
    for number, (kind, members) in enumerate(groups):
        last = number == len(groups) - 1
        print(f"{'└' if last else '├'}─ {_KINDS[kind]}")
        for position, row in enumerate(members):
            stem = ("   " if last else "│  ") + ("└" if position == len(members) - 1 else "├")
            what = row["predicateType"] or row["mediaType"] or "document"
            print(f"{stem}─ {row['mark']} {visible(what)}  {visible(row['signer'] or row['reason'])}")
            print(f"{stem.replace('└', ' ').replace('├', '│')}     {visible(row['source'])}" + "".join(
                f" · {word}" for word in (row["signedAt"], row["log"]) if word))
    if not rows:
        print("└─ nothing is known about it")


def _unread(item: Rejected) -> dict[str, Any]:
    """What is there and was not read, or could not be: nothing of it counts."""
    return {"kind": "unread", "mark": "✗", "verified": False, "predicateType": item.predicate_type, "mediaType": None,
            "digest": item.evidence, "source": item.source, "signer": None, "keyless": None, "signedAt": None,
            "log": None, "state": item.state, "reason": item.reason}


def _row(item: Evidence, trust: Trust) -> dict[str, Any]:
    verified, mark, reason = _try(item, trust)
    kind, claimed = _claims(item)
    return {
        "kind": verified.kind if verified else kind, "mark": mark, "verified": verified is not None,
        "predicateType": verified.predicate_type if verified else claimed, "mediaType": item.media_type,
        "digest": item.digest, "source": item.source, "signer": str(verified.signer) if verified else None,
        "keyless": isinstance(verified.signer, KeylessSigner) if verified else None,
        "signedAt": format_rfc3339(verified.signed_at) if verified and verified.signed_at else None,
        "log": f"{verified.log.base_url} index {verified.log.index}" if verified and verified.log else None,
        "state": None if verified else State.UNVERIFIABLE, "reason": reason}


def _try(item: Evidence, trust: Trust) -> tuple[Verified | None, str, str]:
    now = system_clock()
    try:
        return verify_evidence(item, trust, now), "✓", ""
    except VerificationError as error:
        reason = error.message
    if reason != "log entry: there is none":
        return None, "✗", reason
    try:
        return verify_evidence(item, replace(trust, require_log=False), now), "~", reason
    except VerificationError as error:
        return None, "✗", error.message


def _claims(item: Evidence) -> tuple[str, str | None]:
    """What a document that nobody vouches for says it is."""
    try:
        if item.media_type == dsse.MEDIA_TYPE:
            return "attestation", intoto.parse_statement(dsse.parse_envelope(item.data).payload).predicate_type
        if item.media_type.startswith(BUNDLE_PREFIX):
            envelope = parse_bundle(item.data).envelope
            claimed = intoto.parse_statement(envelope.payload).predicate_type if envelope else intoto.COSIGN_SIGN
            return "signature" if claimed == intoto.COSIGN_SIGN else "attestation", claimed
    except CustodyError:
        return "attestation", None
    return ("signature", intoto.COSIGN_SIGN) if "simplesigning" in item.media_type else ("unsigned", None)
