"""`custody sbom compare TARGET [FILE…]`: who says what is in an image."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from custody.cli import contents
from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, verify_options
from custody.errors import CustodyError, DeniedError, UsageError
from custody.formats import sbom
from custody.formats.bom import Catalog
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.sbom.agreement import agree
from custody.services.contents import read_sbom
from custody.services.verify import judge_all
from custody.wiring import registry_client

_WHO = ("key", "certificate_identity", "certificate_identity_regexp")
_OF_SIGNERS = "--key or --certificate-identity"


@click.command("compare", cls=Command)
@click.argument("target")
@click.argument("files", nargs=-1, metavar="[NAME=]FILE…")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where they do not agree.")
@verify_options
@contents.folder_options
def command(target: str, files: tuple[str, ...], output: str, exit_code: bool, folders: contents.Folders,
            **options: Any) -> None:
    """Compare what custody sees in TARGET with the SBOMs of others: those attested in its registry, and files.

    With --key or --certificate-identity the SBOMs that this signer attested for TARGET are fetched and verified. Of a
    FILE in a signed envelope the signature is not checked.
    """
    expected = Expected(settings(), options) if any(options[name] for name in _WHO) else None
    stray = next((name for name, value in options.items() if value and expected is None), None)
    if stray is not None:
        raise UsageError(f"--{stray.replace('_', '-')}: nobody is named whose SBOMs to fetch", hint=_OF_SIGNERS)
    if not files and expected is None:
        raise UsageError("compare: nothing to compare with", hint=f"SBOM files, or whose attestations: {_OF_SIGNERS}")
    attested: dict[str, Catalog] = {}
    if expected is not None:
        target, attested = asyncio.run(_attested(target, expected))
    catalogs: dict[str, Catalog] = {"custody": contents.open_catalog(settings(), target, None, folders), **attested}
    for text in files:
        name, equals, place = text.partition("=")
        if not equals or Path(text).exists():
            name, place = Path(text).name, text
        if name in catalogs:
            raise UsageError(f"{name}: two sources of this name", hint="NAME=FILE names one")
        catalogs[name] = read_sbom(Path(place))
        contents.warn_of_signature(place, catalogs[name])
    agreement = agree(catalogs)
    if output == "json":
        click.echo(json.dumps(agreement.to_json(), indent=2))
    elif agreement.rows:
        sys.stdout.write(contents.columns([("PACKAGE", *agreement.sources), *(
            (f"{row.type}/{row.name}", *(", ".join(row.said[source]) or "-" for source in agreement.sources))
            for row in agreement.rows)]))
    for source, types in agreement.silent.items():
        print(visible(f"note: {source} lists no package of type {', '.join(types)}"), file=sys.stderr)
    said = f"{agreement.agreed} names agreed on by {len(catalogs)} sources, {len(agreement.rows)} not"
    print(said, file=sys.stderr)
    if exit_code and agreement.rows:
        raise DeniedError(said)


async def _attested(target: str, expected: Expected) -> tuple[str, dict[str, Catalog]]:
    """The image with the digest that was verified, and each SBOM that counts, by its signer and format.

    Raises MissingEvidenceError where there is none, VerificationError where none counts.
    """
    catalogs: dict[str, Catalog] = {}
    unread = []
    async with registry_client(settings()) as client:
        async for ref, gathered, _ in evidence_of(client, [target]):
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock())
            for statement in (row for kind in sbom.PREDICATES for row in judged.of(kind)):
                name = f"{statement.signer} {statement.predicate_type.rpartition('/')[2]}"
                try:
                    read = sbom.of_predicate(statement.predicate_type, statement.predicate, name)
                except CustodyError as error:
                    unread.append(visible(str(error)))
                    continue
                number = sum(known.partition(" #")[0] == name for known in catalogs)
                catalogs[f"{name} #{number + 1}" if number else name] = read
            if not catalogs and not unread:
                raise nothing(ref, "attested SBOM", judged.rejected)
            for document in judged.rejected:
                print(f"does not count: {visible(document.source)}: {visible(document.reason)}", file=sys.stderr)
            for name in catalogs:
                print(f"verified: {visible(name)}", file=sys.stderr)
            target = str(ref)
    if unread:
        raise UsageError("an attested SBOM cannot be read: " + "; ".join(unread))
    return target, catalogs
