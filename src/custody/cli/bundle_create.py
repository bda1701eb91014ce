"""`custody bundle create`: a bundle of a signature and what belongs to it."""

from __future__ import annotations

import asyncio
import hashlib

import click
import msgspec

from custody.cli.bundle_upgrade import with_proofs, write_bundle
from custody.cli.kept_keys import trusted_key
from custody.cli.trust_files import read_input
from custody.errors import UsageError
from custody.formats import cosign, dsse, signedpayload
from custody.formats.bundle import Bundle, MessageSignature
from custody.formats.protojson import decode_base64
from custody.kit import destination, strictjson
from custody.trust.keys import hash_of


@click.command("create")
@click.option("--artifact", required=True, metavar="FILE", help="What was signed.")
@click.option("--attestation", metavar="FILE", help="A DSSE envelope about it, which has its signature.")
@click.option("--bundle", "old", metavar="FILE", help="cosign's bundle before Sigstore's, instead of the parts.")
@click.option("--certificate", metavar="FILE", help="The signing certificate: PEM, or base64 of it.")
@click.option("--key", metavar="FILE", help="The public key, where one signed.")
@click.option("--signature", metavar="FILE", help="The signature in base64.")
@click.option("--rfc3161-timestamp", metavar="FILE", help="A timestamp over the signature.")
@click.option("--ignore-tlog", is_flag=True, help="The signature is in no log.")
@click.option("--rekor-url", metavar="URL", help="The log to ask for an entry's proof. Default: the trusted root's.")
@click.option("--out", metavar="FILE", help="Where the bundle goes. Default: standard output.")
def command(artifact: str, attestation: str | None, old: str | None, certificate: str | None, key: str | None,
            signature: str | None, rfc3161_timestamp: str | None, ignore_tlog: bool, rekor_url: str | None,
            out: str | None) -> None:
    """Make a Sigstore bundle 0.3 of a signature and what belongs to it, as `cosign bundle create` does.

    Nothing is verified: `custody verify-blob` does that. A log is not searched: what is in one comes with --bundle.
    """
    if out:
        destination.check(out, "--out")
    if old and (certificate or signature or attestation):
        raise UsageError("--bundle: has the signature and its certificate; give it alone, or its parts")
    if bool(signature) + bool(attestation) + bool(old) != 1:
        raise UsageError("--signature, --attestation and --bundle: give one of them")
    data = read_input(artifact, "--artifact")
    digest = hashlib.sha256(data).digest()
    bundle = _old(old, digest) if old else _of_parts(signature, attestation, certificate, digest)
    if key:
        if bundle.certificates:
            raise UsageError("--key: a certificate signed, and it has its own key")
        public = trusted_key(key)
        message = bundle.message
        if message is not None:  # as sign-blob has it: by the hash that goes with the key
            name = hash_of(public.key).name
            message = MessageSignature(hashlib.new(name, data).digest(), message.signature, name)
        bundle = msgspec.structs.replace(bundle, key_hint=public.hint, message=message)
    elif not bundle.certificates:
        raise UsageError("--key: not given, and there is no certificate", hint="--key FILE or --certificate FILE")
    if rfc3161_timestamp:
        stamp = cosign.parse_timestamp(read_input(rfc3161_timestamp, "--rfc3161-timestamp"),
                                       f"--rfc3161-timestamp {rfc3161_timestamp}")
        bundle = msgspec.structs.replace(bundle, timestamps=(stamp,))
    if ignore_tlog and bundle.entries:
        raise UsageError("--ignore-tlog: the bundle has a log's signed entry timestamp", hint="leave it out")
    if not ignore_tlog and not bundle.entries:
        raise UsageError("the signature comes with no log entry, and no log is searched for one",
                         hint="--ignore-tlog, or --bundle FILE with an entry")
    write_bundle(asyncio.run(with_proofs(bundle, rekor_url)).to_bytes() if bundle.entries else bundle.to_bytes(), out)


def _old(path: str, digest: bytes) -> Bundle:
    where = f"--bundle {path}"
    document = strictjson.loads(read_input(path, "--bundle"), where)
    if not isinstance(document, dict) or signedpayload.SIGNATURE not in document:
        raise UsageError(f"{where}: is no bundle in cosign's older form", hint="custody bundle upgrade FILE")
    return signedpayload.read_signed_payload(document, digest, where)


def _of_parts(signature: str | None, attestation: str | None, certificate: str | None, digest: bytes) -> Bundle:
    certificates: tuple[bytes, ...] = ()
    if certificate:
        text = read_input(certificate, "--certificate").decode("ascii", "replace")
        certificates = signedpayload.read_certificates(text, f"--certificate {certificate}")[:1]
    if attestation:
        data = read_input(attestation, "--attestation")
        dsse.parse_envelope(data, f"--attestation {attestation}")
        return signedpayload.of_parts(data.lstrip(), digest, certificates, where=f"--attestation {attestation}")
    where = f"--signature {signature}"
    text = read_input(str(signature), "--signature").decode("ascii", "replace").strip()
    return signedpayload.of_parts(decode_base64(text, where), digest, certificates, where=where)
