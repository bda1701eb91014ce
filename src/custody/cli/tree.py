"""`custody tree`: what is known about an image, and what of it counts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from custody.cli.kept_keys import trusted_key
from custody.cli.run import settings
from custody.cli.trust_files import load_root, trusted_root_option
from custody.cli.trust_options import located
from custody.errors import CustodyError
from custody.evidence.model import Evidence, KeylessSigner, Rejected, State, Verified
from custody.formats import intoto, notary
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.services.verify import Terms, Unlogged, judge
from custody.sign.decoders import format_of
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import NOT_LOGGED, Trust
from custody.wiring import notary_trust, registry_client

_KINDS = {"signature": "signatures", "attestation": "attestations", "unsigned": "unsigned", "unread": "not read"}


@click.command()
@click.argument("image")
@click.option("--key", multiple=True, metavar="FILE|NAME", help="Public keys to verify with, or names of keys that "
              "somebody keeps; repeatable.")
@trusted_root_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="What stdout gets.")
def command(image: str, key: tuple[str, ...], trusted_root: str | None, output: str) -> None:
    """Show the signatures, attestations and SBOMs of an image.

    ✓ is verified against the trusted root or a given key and in a log, or by the trust policy of the setting
    `notation`; ~ is verified but in no log, ✗ is not verified.
    """
    keys = tuple(trusted_key(path) for path in key)
    asyncio.run(_run(image, Trust(load_root(settings(), trusted_root), keys), output))


async def _run(image: str, trust: Trust, output: str) -> None:
    terms, now = Terms(trust, unlogged=Unlogged.ANYBODY), system_clock()
    async with registry_client(settings()) as client:
        at, ref = await located(client, image)
        subject = await at.resolve(ref)
        trusted = notary_trust(settings(), client.http)
        notation = await trusted.read() if trusted is not None else None
        gathered = await fetch_evidence(at, ref, notation=notation is not None)
        rows = []
        for evidence in gathered.evidence:
            if notation is not None and evidence.media_type in notary.ENVELOPES:
                rows.append(_row(evidence, await notation.judge(at, ref, subject, evidence)))
            else:
                rows.append(_row(evidence, judge(evidence, terms, now)))
    rows += map(_unread, gathered.rejected)
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
            title = row["predicateType"] or row["mediaType"] or "document"
            print(f"{stem}─ {row['mark']} {visible(title)}  {visible(row['signer'] or row['reason'])}")
            print(f"{stem.replace('└', ' ').replace('├', '│')}     {visible(row['source'])}" + "".join(
                f" · {word}" for word in (row["signedAt"], row["log"]) if word))
    if not rows:
        print("└─ nothing is known about it")


def _unread(rejected: Rejected) -> dict[str, Any]:
    """What is there and was not read, or could not be: nothing of it counts."""
    return {"kind": "unread", "mark": "✗", "verified": False, "predicateType": rejected.predicate_type,
            "mediaType": None, "digest": rejected.evidence, "source": rejected.source, "signer": None, "keyless": None,
            "signedAt": None, "log": None, "state": rejected.state, "reason": rejected.reason}


def _row(evidence: Evidence, judged: Verified | Rejected) -> dict[str, Any]:
    row: dict[str, Any] = {"mediaType": evidence.media_type, "digest": evidence.digest, "source": evidence.source}
    if isinstance(judged, Verified):
        log, notation = judged.log, judged.format == "notary"
        return {"kind": judged.kind, "mark": "✓" if log or notation else "~", "verified": True,
                "predicateType": judged.predicate_type, **row, "signer": str(judged.signer),
                "keyless": isinstance(judged.signer, KeylessSigner),
                "signedAt": format_rfc3339(judged.signed_at) if judged.signed_at else None,
                "log": f"{log.base_url} index {log.index}" if log else None, "state": None,
                "reason": "" if log or notation else NOT_LOGGED}
    kind, predicate_type = _claimed(evidence)
    return {"kind": kind, "mark": "✗", "verified": False, "predicateType": predicate_type, **row, "signer": None,
            "keyless": None, "signedAt": None, "log": None, "state": State.UNVERIFIABLE, "reason": judged.reason}


def _claimed(evidence: Evidence) -> tuple[str, str | None]:
    """What a document that nobody vouches for says it is: its kind and predicate type."""
    form = format_of(evidence.media_type)
    if evidence.media_type in notary.ENVELOPES:
        return "signature", intoto.COSIGN_SIGN
    if form is None:
        return "unsigned", None
    try:
        content = form.decode(evidence).read(evidence.subject)
    except CustodyError:
        return form.kind, intoto.COSIGN_SIGN if form.kind == "signature" else None
    return content.kind, content.predicate_type
