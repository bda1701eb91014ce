"""`custody attest`: sign a statement about an image."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Set
from pathlib import Path
from typing import Any, NamedTuple

import click

from custody.cli.forms import check_logs, chosen_forms, form_options
from custody.cli.postquantum import post_quantum, pq_option
from custody.cli.predicate import predicate_of
from custody.cli.run import settings
from custody.cli.sign import make_signer, tell
from custody.cli.trust_files import read_input
from custody.cli.trust_options import Command, resolve, sign_options, stated
from custody.errors import UsageError
from custody.evidence.model import Verified
from custody.formats import cosign, intoto, oci
from custody.formats.intoto import Statement
from custody.formats.reference import Reference
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.registry.client import RegistryClient
from custody.services.replace import replace_bundles, replaced_layers
from custody.sign.referrers import push_attestation, push_bundle
from custody.sign.signer import Signer
from custody.wiring import command_http, registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@sign_options
@click.option("--predicate", metavar="FILE", help="The predicate: JSON; - reads standard input.")
@click.option("--statement", metavar="FILE", help="A whole in-toto statement about the image, signed as it is.")
@click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
              help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, or a URI.")
@click.option("--replace", is_flag=True, help="Remove this signer's older attestations of the type, of the forms that "
              "are written.")
@pq_option
@form_options("att", "cosign 2, Kyverno")
@click.option("--formats", metavar="LIST", help="The same as a list: `v3` (as --format bundle), `v2` (legacy), with "
              "commas between them.")
@click.option("--no-upload", is_flag=True, help="Store nothing in the registry; print bundle or envelope.")
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bundle to a file too.")
def command(images: tuple[str, ...], predicate: str | None, statement: str | None, kind: str, replace: bool,
            pq: str | None, no_upload: bool, bundle_file: Path | None, **options: Any) -> None:
    """Sign a predicate about images and store it beside them, as `cosign attest` 3 does; --format legacy: as 2 does."""
    chosen, flag = chosen_forms(options, "v2", "v3")
    if bundle_file and "v3" not in chosen:
        raise UsageError(f"--bundle: {flag} makes none", hint="--format both")
    if bundle_file and len(images) > 1:
        raise UsageError("--bundle: is one file, and there are several images")
    if no_upload and replace:
        raise UsageError("--no-upload and --replace: give one; nothing is replaced where nothing is stored")
    if no_upload and pq:
        raise UsageError("--pq: --no-upload has no place for a second half")
    if bundle_file:
        destination.check(bundle_file, "--bundle")
    about = _Said(*_statement_of(predicate, statement, kind))
    asyncio.run(_run(images, about, _Kept(chosen, not no_upload, bundle_file, replace, pq), options))


class _Said(NamedTuple):
    """What is said of each image: a predicate, or a statement in the bytes that it was given in."""

    predicate_type: str
    predicate: Any
    payload: bytes | None

    def about(self, ref: Reference, digest: str) -> Statement | bytes:
        """Raises UsageError for a statement that is about something else."""
        if self.payload is None:
            return intoto.statement(digest, self.predicate_type, self.predicate, name=ref.name)
        if intoto.parse_statement(self.payload, "--statement").subject_of(digest) is None:
            raise UsageError(f"--statement: has no subject {digest}, which is {ref}")
        return self.payload


class _Kept(NamedTuple):
    """In which forms, and where."""

    formats: Set[str]
    """Of v2 and v3."""
    upload: bool
    file: Path | None
    replace: bool
    pq: str | None


def _statement_of(predicate: str | None, statement: str | None, kind: str) -> tuple[str, Any, bytes | None]:
    """Type, predicate and payload of the options. Raises UsageError, and what reading them does."""
    if (predicate is None) == (statement is None):
        raise UsageError("--predicate and --statement: give one of them")
    if statement is None:
        return *predicate_of(kind, str(predicate)), None
    if stated(("kind",)):
        raise UsageError("--type: a statement says itself of which type its predicate is")
    payload = read_input(statement, "--statement")
    return intoto.parse_statement(payload, f"--statement {statement}").predicate_type, None, payload


async def _run(images: tuple[str, ...], said: _Said, kept: _Kept, options: dict[str, Any]) -> None:
    http = command_http(settings())
    signer = await make_signer(http, options)
    half = await post_quantum(signer, kept.pq)
    if "v2" in kept.formats:
        check_logs(signer, options["tlog_upload"], "an attestation")
    async with registry_client(settings(), http) as client:
        for image in images:
            ref, descriptor = await resolve(client, image)
            digest, statement = descriptor.digest, said.about(ref, descriptor.digest)
            # All of it is signed before anything is stored.
            second = await half.sign(statement, digest) if half else None
            bundle = await signer.sign(statement, digest) if "v3" in kept.formats else None
            layer = await signer.sign_attestation(statement, digest) if "v2" in kept.formats else None
            if half and second:
                await _store_bundle(client, half, ref, descriptor, second, kept)
            if bundle:
                if kept.file:
                    destination.write(kept.file, bundle[0], "--bundle")
                await _store_bundle(client, signer, ref, descriptor, bundle, kept)
            if layer:
                await _store_layer(client, signer, ref, layer, kept)


async def _store_bundle(client: RegistryClient, signer: Signer, ref: Reference, subject: oci.Descriptor,
                        made: tuple[bytes, Verified], kept: _Kept) -> None:
    data, verified = made
    if kept.upload:
        pushed = await push_bundle(client, ref, subject, data, verified.predicate_type, system_clock())
        print(f"{ref.name}@{pushed.digest}")
        if kept.replace:
            trust = signer.trust(require_log=verified.log is not None)
            _tell_removed(ref, await replace_bundles(client, ref, verified, pushed, trust, system_clock()))
    else:
        print(data.decode())
    tell(ref, f"{visible(verified.predicate_type)} attested", verified)


async def _store_layer(client: RegistryClient, signer: Signer, ref: Reference,
                       made: tuple[bytes, dict[str, str], Verified], kept: _Kept) -> None:
    envelope, annotations, verified = made
    done = f"{visible(verified.predicate_type)} attested"
    if kept.upload:
        done += f" in {cosign.tag(verified.subject, '.att')}"
        trust = signer.trust(require_log=verified.log is not None)
        older = await replaced_layers(client, ref, verified, trust, system_clock()) if kept.replace else frozenset()
        pushed = await push_attestation(client, ref, envelope, annotations, older)
        print(f"{ref.name}@{pushed.digest}")
        if kept.replace:
            _tell_removed(ref, len(older))
    else:
        print(envelope.decode())
    tell(ref, done, verified)


def _tell_removed(ref: Reference, count: int) -> None:
    print(f"{ref}: removed {count} older attestation{'' if count == 1 else 's'}", file=sys.stderr)
