"""`custody sign`: vouch for an image's digest."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from custody.cli.forms import check_logs, chosen_forms, form_options
from custody.cli.postquantum import post_quantum, pq_option
from custody.cli.run import settings
from custody.cli.trust_files import load_config, load_root
from custody.cli.trust_options import (
    IDENTITY_FLAGS,
    SIGNING,
    Command,
    identity_token,
    named,
    resolve,
    sign_options,
    signing_key,
    stated,
    warn,
)
from custody.errors import UsageError
from custody.evidence.model import Verified
from custody.formats import cosign, intoto, oci
from custody.formats.reference import Reference
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.sign.certificate import load_certificate
from custody.sign.referrers import image_manifests, push_bundle, push_signature
from custody.sign.signer import Signer
from custody.wiring import command_http, registry_client

if TYPE_CHECKING:
    from custody.sign.notary.sign import EnvelopeMaker, Key


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@sign_options
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="Sign this annotation with the digest.")
@click.option("-r", "--recursive", is_flag=True,
              help="Of an index sign every manifest below it too, each by itself, those below first.")
@form_options("sig", "cosign 2, Kyverno by key")
@click.option("--formats", metavar="LIST", help="What every verifier reads, in one go: `v3` (as --format bundle), `v2` "
              "(legacy), `notation` (by a key of `custody notation key`), with commas between them.")
@click.option("--notation-key", metavar="NAME", help="The key that signs for `notation`. Default: the list's default.")
@click.option("--upload", type=bool, default=True, metavar="BOOL", help="=false stores nothing in the registry.")
@pq_option
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bundle to a file too.")
def command(images: tuple[str, ...], annotations: tuple[str, ...], recursive: bool,
            notation_key: str | None, upload: bool, pq: str | None, bundle_file: Path | None, **options: Any) -> None:
    """Sign images and store the signature beside them, as `cosign sign` 3 does.

    Name the image by digest: a tag may move between your look and this signature.
    """
    chosen, flag = chosen_forms(options, "v2", "v3", "notation")
    if chosen == {"notation"} and (useless := stated(SIGNING)):
        raise UsageError(f"{useless}: {flag} signs by a key of `custody notation key` alone")
    if notation_key and "notation" not in chosen:
        raise UsageError("--notation-key: nothing is signed for notation", hint="--formats v3,notation")
    if bundle_file and "v3" not in chosen:
        raise UsageError(f"--bundle: {flag} makes none", hint="--format both")
    if not upload and chosen - {"v3"}:
        raise UsageError(f"--upload=false: a signature of {flag} is kept nowhere else")
    if not upload and not bundle_file:
        raise UsageError("--upload=false: the signature would be kept nowhere", hint="--bundle FILE")
    if pq and not (upload and chosen & {"v2", "v3"}):
        raise UsageError(f"--pq: {flag if upload else '--upload=false'} has no place for a second half")
    if bundle_file and len(images) > 1:
        raise UsageError("--bundle: is one file, and there are several images")
    if bundle_file:
        destination.check(bundle_file, "--bundle")
    given = intoto.parse_annotations(annotations)
    asyncio.run(_run(images, given, Kept(chosen, upload, bundle_file, notation_key, pq), recursive, options))


class Kept(NamedTuple):
    """In which forms, and where."""

    formats: Set[str]
    """Of v2, v3 and notation."""
    upload: bool
    file: Path | None
    notation_key: str | None
    pq: str | None
    """The file of the ML-DSA-65 key that signs a second half."""


async def _run(images: tuple[str, ...], annotations: dict[str, str], kept: Kept, recursive: bool,
               options: dict[str, Any]) -> None:
    http = command_http(settings())
    notary = _notary(kept)  # before a browser is opened: what else is missing is known by now
    signer = await make_signer(http, options) if kept.formats - {"notation"} else None
    half = await post_quantum(signer, kept.pq) if signer else None
    if signer and "v2" in kept.formats:
        check_logs(signer, options["tlog_upload"], "a signature")
    async with registry_client(settings(), http) as client:
        for image in images:
            if named(image).digest is None:
                warn(f"{image}: is a tag, which may move; its digest of this moment is signed")
            ref, descriptor = await resolve(client, image)
            manifests = await image_manifests(client, ref, descriptor) if recursive else [descriptor]
            if kept.file and len(manifests) > 1:
                raise UsageError(f"--bundle: is one file, and -r signs {len(manifests)} manifests of {image}")
            for manifest in manifests:
                at = ref.at(manifest.digest)
                if half:
                    await _sign(client, half, at, manifest, annotations, kept._replace(formats={"v3"}, file=None))
                if signer:
                    await _sign(client, signer, at, manifest, annotations, kept)
                if notary:
                    await _sign_for_notation(client, notary, at, annotations)


def _notary(kept: Kept) -> Key | EnvelopeMaker | None:
    """Whoever signs for notation. Raises UsageError where there is no such key."""
    if "notation" not in kept.formats:
        return None
    from custody.cli.notation.options import Narrator
    from custody.cli.notation.signing import listed_signer

    return listed_signer(kept.notation_key, {}, Narrator())


async def _sign_for_notation(client: RegistryClient, notary: Key | EnvelopeMaker, ref: Reference,
                             annotations: dict[str, str]) -> None:
    from custody.services.notaryplaces import RegistryPlace
    from custody.services.notarysigning import sign_artifact, subject_of
    from custody.sign.notary.sign import Terms

    subject = subject_of(*await client.manifest(ref), str(ref))
    pushed, made = await sign_artifact(RegistryPlace(client, ref, fallback=True), subject, notary,
                                       Terms(metadata=annotations), system_clock)
    print(f"{ref.name}@{pushed.digest}")
    leaf = load_certificate(made.envelope.chain[0], "certificate")
    print(f"{ref}: signed for notation by {visible(leaf.subject.rfc4514_string())}", file=sys.stderr)


async def _sign(client: RegistryClient, signer: Signer, ref: Reference, manifest: oci.Descriptor,
                annotations: dict[str, str], kept: Kept) -> None:
    digest = manifest.digest
    if "v3" in kept.formats:
        statement = intoto.statement(digest, intoto.COSIGN_SIGN, {}, annotations=annotations)
        data, verified = await signer.sign(statement, digest)
        if kept.file:
            destination.write(kept.file, data, "--bundle")
        if kept.upload:
            pushed = await push_bundle(client, ref, manifest, data, intoto.COSIGN_SIGN, system_clock())
            print(f"{ref.name}@{pushed.digest}")
        tell(ref, "signed", verified)
    if "v2" in kept.formats:
        payload = cosign.payload(cosign.SimpleSigning(digest, ref.name, annotations))
        layer, verified = await signer.sign_payload(payload, digest)
        if kept.upload:
            pushed = await push_signature(client, ref, payload, layer)
            print(f"{ref.name}@{pushed.digest}")
        tell(ref, f"signed in {cosign.tag(digest, '.sig')}", verified)


def tell(ref: Reference, done: str, verified: Verified) -> None:
    print(f"{ref}: {done} by {visible(str(verified.signer))}"
          + (f", log index {verified.log.index}" if verified.log else ", in no log"), file=sys.stderr)


async def make_signer(http: Http, options: dict[str, Any]) -> Signer:
    """The signer that the shared options describe."""
    if options["key"] and (given := next((flag for flag in IDENTITY_FLAGS if options[flag]), None)):
        raise UsageError(f"--key and --{given.replace('_', '-')}: give one; a key signs without an identity")
    config = load_config(settings(), options["signing_config"], log=options["tlog_upload"] is not False)
    if options["tlog_upload"] and not config.rekor:
        raise UsageError("--tlog-upload=true: no signing config names a log", hint="--signing-config FILE, or `custody "
                         "up`, which writes one; without the flag a signature is in a log where there is one")
    root = load_root(settings(), options["trusted_root"])
    key = await signing_key(options["key"], http)
    token = None if key else await identity_token(http, settings(), options)
    if (key is None and token and config.rekor and not options["yes"] and sys.stdin.isatty()
            and not click.confirm(f"Your identity will be written into the log {config.rekor[0].url} for good. Go on?",
                                  err=True)):
        raise UsageError("nothing was signed: the answer was no")
    return Signer(http=http, config=config, root=root, key=key, token=token)
