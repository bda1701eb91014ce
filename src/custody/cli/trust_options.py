"""Options that the signing and verifying commands share, and what they amount to."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from custody.cli.goflags import Command as Command
from custody.cli.kept_keys import opened_key, trusted_key
from custody.cli.password import ask
from custody.cli.run import settings
from custody.cli.trust_files import load_root, trusted_root_option
from custody.errors import MissingEvidenceError, UnsupportedError, UsageError, VerificationError
from custody.evidence.model import Rejected, Verified
from custody.formats import reference
from custody.formats.reference import LAYOUT, Reference
from custody.kit.visible import visible
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.services.verify import Terms
from custody.settings import Settings
from custody.sign.ambient import PROVIDERS, Place, ambient_token
from custody.sign.identity import CLAIM_FLAGS, Identity, not_by_key
from custody.sign.keptkeys import SigningKey
from custody.sign.keys import PrivateKey, load_private_key, read_key_file
from custody.sign.referrers import Gathered, fetch_evidence
from custody.sign.verify import Trust
from custody.wiring import command_http, is_kept_elsewhere

_F = TypeVar("_F", bound=Callable[..., Any])
_R = TypeVar("_R")


def options_of(*options: Callable[[Any], Any]) -> Callable[[_F], _F]:
    """All of them as one decorator, in this order."""
    def decorate(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


verify_options = options_of(
    click.option("--key", metavar="FILE|NAME", help="Public key (cosign.pub), env://NAME, or the name of a key that "
                 "somebody keeps: k8s://NAMESPACE/SECRET, or one to sign with."),
    click.option("--certificate-identity", metavar="ID", help="Whose certificate: an email address or a URI."),
    click.option("--certificate-identity-regexp", metavar="RE", help="The same as a pattern, not anchored."),
    click.option("--certificate-oidc-issuer", metavar="URL", help="Who vouched for that identity."),
    click.option("--certificate-oidc-issuer-regexp", metavar="RE", help="The same as a pattern, not anchored."),
    *(click.option(f"--certificate-github-workflow-{name}", metavar="TEXT", help=f"The certificate's {claim}.")
      for name, claim in CLAIM_FLAGS.items()),
    trusted_root_option,
    click.option("--insecure-ignore-tlog", is_flag=True, help="Do not ask for a transparency log entry."),
    click.option("--insecure-ignore-sct", is_flag=True, help="Do not ask for a CT log's promise in the certificate."),
    click.option("--offline", is_flag=True, help="Ask no log; custody never does, all proofs are in the evidence."),
)
"""Commands receive them as keyword arguments; hand those to `Expected`."""

image_options = options_of(
    click.option("--local-image", is_flag=True, help="IMAGE is a folder as save writes it: the same as oci:IMAGE."),
    click.option("--max-workers", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
                 help="Look for the evidence of so many images at a time."),
)
"""Of commands that verify images; hand `local_image` to `local`, `max_workers` to `evidence_of`."""


def local(images: tuple[str, ...], folders: bool) -> tuple[str, ...]:
    """The images as all else names them, where `--local-image` says that they are folders. Raises UsageError."""
    if folders and (stored := next((image for image in images if image.startswith(LAYOUT)), None)):
        raise UsageError(f"--local-image: got {stored}, expected the name of a folder", hint="leave one of them out")
    return tuple(f"{LAYOUT}{image}" for image in images) if folders else images

sign_options = options_of(
    click.option("--key", metavar="FILE|NAME", help="Private key (cosign.key), env://NAME, or the name of a key that "
                 "somebody keeps: hashivault://, openbao://, awskms://, gcpkms://, azurekms://, pkcs11:, or NAME:// "
                 "of a plugin sigstore-kms-NAME; else keyless."),
    click.option("--identity-token", metavar="TOKEN|FILE",
                 help="OIDC token for keyless; default $SIGSTORE_ID_TOKEN, else that of the place where this runs."),
    click.option("--oidc-provider", type=click.Choice(list(PROVIDERS)),
                 help="Take the identity of this place only. Default: of whichever promises one."),
    click.option("--oidc-disable-ambient-providers", is_flag=True, help="Look for no identity of the place."),
    click.option("--oidc-client-id", default="sigstore", show_default=True, metavar="AUDIENCE",
                 help="Whom such a token is for."),
    click.option("-v", "-d", "--verbose", is_flag=True, help="Say where an identity was looked for."),
    click.option("--signing-config", metavar="FILE", help="Where to sign; default: this data directory's services."),
    trusted_root_option,
    click.option("--tlog-upload", type=bool, metavar="BOOL",
                 help="=true insists on a log, =false leaves it out. Default: the log of the signing config, if any."),
    click.option("--yes", "-y", is_flag=True, help="Do not ask before an identity becomes public in a log."),
)


IDENTITY_FLAGS = ("identity_token", "oidc_provider")
SIGNING = ("key", *IDENTITY_FLAGS, "oidc_disable_ambient_providers", "oidc_client_id", "signing_config", "trusted_root",
           "tlog_upload")
"""Those of `sign_options` that say who signs, and where."""


def stated(names: Iterable[str]) -> str | None:
    """The first of these options that is on the command line, as it is spelled there: one that would be passed over."""
    context = click.get_current_context()
    line = click.core.ParameterSource.COMMANDLINE
    return next((f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) is line), None)


class Expected:
    """Whom a verifying command was told to expect, and what it trusts. Warns of every check that is switched off."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        claims = {claim: options[f"certificate_github_workflow_{name}"] for name, claim in CLAIM_FLAGS.items()
                  if options[f"certificate_github_workflow_{name}"]}
        named = {field: options[f"certificate_{name}"] for field, name in (
            ("subject", "identity"), ("subject_regexp", "identity_regexp"), ("issuer", "oidc_issuer"),
            ("issuer_regexp", "oidc_issuer_regexp"))}
        identity: Identity | None = None
        key, ignore_tlog = options["key"], options["insecure_ignore_tlog"]
        if key is None:
            identity = Identity(**named, claims=claims)
        elif any(named.values()) or claims:
            raise UsageError("--key and --certificate-…: give one; a key has no certificate")
        root = None
        if key is None or not ignore_tlog or options["trusted_root"]:
            root = load_root(settings, options["trusted_root"])
        for flag, skipped in (("insecure_ignore_tlog", "transparency log"), ("insecure_ignore_sct", "CT log")):
            if options[flag]:
                warn(f"the {skipped} was not checked (--{flag.replace('_', '-')})")
        keys = (trusted_key(key),) if key else ()
        trust = Trust(root, keys, require_log=not ignore_tlog, require_sct=not options["insecure_ignore_sct"])
        self.terms = Terms(trust, identity.mismatch if identity else not_by_key,
                           compared=identity.compared if identity else None)


def nothing(ref: Reference, kind: str, rejected: Sequence[Rejected]) -> VerificationError:
    """The error for an image of which no evidence counts."""
    if not rejected:
        return MissingEvidenceError(f"{ref}: no {kind} found")
    return VerificationError(f"{ref}: no {kind} that counts\n" + "\n".join(
        f"  {visible(document.source)}: {visible(document.reason)}" for document in rejected))


def signers(verified: Sequence[Verified]) -> str:
    """Who signed them, each once."""
    return ", ".join(sorted({visible(str(statement.signer)) for statement in verified}))


def named(image: str) -> Reference:
    """The image of a registry that `image` names; raises UnsupportedError for a layout's, MalformedError."""
    if image.startswith(("oci:", "archive:", "dir:", "sbom:")):
        raise UnsupportedError(image, "signatures are written into registries, and this target is none",
                               hint="push the image, then name registry/name@digest; custody copy and load carry it "
                               "with its evidence")
    return reference.parse(image)


async def resolve(client: RegistryClient, image: str) -> tuple[Reference, Any]:
    """The image with its digest, and its descriptor."""
    ref = named(image)
    descriptor = await client.resolve(ref)
    return ref.at(descriptor.digest), descriptor


async def located(client: RegistryClient, image: str) -> tuple[RegistryClient, Reference]:
    """Whom to ask about an image, and its name with its digest: `client`, or the folder of oci:DIR[:TAG|@DIGEST]."""
    if image.startswith("oci:"):
        from custody.cli.places import stored

        return (held := stored(image)).client, held.ref
    ref = named(image)
    return client, ref if ref.digest else ref.at((await client.resolve(ref)).digest)


async def evidence_of(client: RegistryClient, images: Sequence[str], workers: int = 8
                      ) -> AsyncIterator[tuple[Reference, Gathered, RegistryClient]]:
    """Each image with its digest, all that claims to be signed about it, and who was asked for that; fetched so many
    images at a time.
    """
    gate = asyncio.Semaphore(workers)

    async def fetch(image: str) -> tuple[Reference, Gathered, RegistryClient]:
        async with gate:
            at, ref = await located(client, image)
            return ref, await fetch_evidence(at, ref, unsigned=False), at

    tasks = [asyncio.create_task(fetch(image)) for image in images]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def signing_key(path: str | None, http: Http, name: str = "--key") -> SigningKey | None:
    """The key of `--key`, or of the option of that name, wherever it is."""
    if path is not None and is_kept_elsewhere(path):
        return await opened_key(path, http)
    return load_signing_key(path, name)


def message_signer(path: str | None, name: str = "--key") -> Callable[[bytes], bytes] | None:
    """What signs a message with that key, outside of an event loop. The key is opened by now."""
    if path is None or not is_kept_elsewhere(path):
        key = load_signing_key(path, name)
        return None if key is None else key.sign
    http = command_http(settings())

    async def closing(work: Coroutine[Any, Any, _R]) -> _R:
        try:
            return await work
        finally:
            await http.close()

    kept = asyncio.run(closing(opened_key(path, http)))
    return lambda message: asyncio.run(closing(kept.signature(message)))


def load_signing_key(path: str | None, name: str = "--key") -> PrivateKey | None:
    """The private key of `--key`, or of the option of that name; asks for the password where it needs one."""
    if path is None:
        return None
    pem = read_key_file(path, name)
    encrypted = b"ENCRYPTED" in pem[:64]
    return load_private_key(pem, ask(f"Password of {path}") if encrypted else b"", path)


async def identity_token(http: Http, settings: Settings, options: dict[str, Any]) -> str | None:
    """The token of --identity-token, else of $SIGSTORE_ID_TOKEN, else of the place where custody runs; else None.

    Raises UsageError, and what `ambient_token` does.
    """
    for given, name in ((options["identity_token"], "--identity-token"),
                        (None if options["oidc_provider"] else os.environ.get("SIGSTORE_ID_TOKEN"),
                         "SIGSTORE_ID_TOKEN")):
        if given and given.strip():
            return _stated_token(given.strip(), name)
    if options["oidc_disable_ambient_providers"]:
        return None
    direct = command_http(settings, proxies=False)
    try:
        identity = await ambient_token(Place(http=http, direct=direct), options["oidc_client_id"],
                                    options["oidc_provider"], _said if options["verbose"] else lambda _: None)
    finally:
        await direct.close()
    if identity is None:
        return None
    _said(f"identity: {identity[0]}")
    return identity[1]


def _said(text: str) -> None:
    print(visible(text), file=sys.stderr)


def _stated_token(text: str, name: str) -> str:
    """A token, or what the file of that name holds."""
    if text.count(".") == 2 and not os.path.exists(text):
        return text
    try:
        return Path(text).read_text().strip()
    except (OSError, UnicodeDecodeError, ValueError):  # the text may be a secret that was cut off: it is not shown
        raise UsageError(f"{name}: got {len(text)} characters, expected a JWT or the name of a readable file"
                         ) from None


def warn(text: str) -> None:
    print(f"warning: {visible(text)}", file=sys.stderr)
