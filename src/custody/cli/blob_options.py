"""Options that the commands over files share: where a signature goes, where it comes from, what is believed of it."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from custody.cli.run import settings
from custody.cli.trust_files import load_root, read_input
from custody.cli.trust_options import Expected, options_of, sign_options, stated, verify_options, warn
from custody.errors import Check, UsageError, VerificationError
from custody.evidence.model import Verified
from custody.formats import cosign, signedpayload
from custody.formats.bundle import Bundle
from custody.kit import destination
from custody.kit.visible import visible
from custody.services.verify import tell_signer
from custody.sign.blob import Artifact, artifact_of, parse_digest, read_file_bundle
from custody.sign.signer import Signer
from custody.sign.steps import SILENT, Trace
from custody.trust.pemroots import authority_of, read_pem_chain
from custody.trust.roots import TrustedRoot

sign_blob_options = options_of(
    sign_options,
    click.option("--bundle", metavar="FILE", help="Write all that a verifier needs to FILE."),
    click.option("--new-bundle-format", type=bool, default=True, metavar="BOOL", show_default=True,
                 help="=false: cosign's bundle before Sigstore's, and the signature on standard output."),
    click.option("--output-signature", metavar="FILE", help="Write the signature to FILE."),
    click.option("--output-certificate", metavar="FILE", help="Write the signing certificate to FILE."),
)
"""Commands receive them as keyword arguments; hand those to `Outputs` and `make_signer`."""

verify_blob_options = options_of(
    verify_options,
    click.option("--bundle", metavar="FILE", help="A Sigstore bundle 0.1 to 0.3, or cosign's JSON before it."),
    click.option("--new-bundle-format", type=bool, metavar="BOOL",
                 help="=true: it must be a Sigstore bundle; =false: it must not. Default: what the file is."),
    click.option("--signature", metavar="TEXT|FILE", help="A signature without a bundle: base64, or its file."),
    click.option("--certificate", metavar="FILE", help="The signing certificate: PEM, or base64 of it."),
    click.option("--certificate-chain", metavar="FILE", help="PEM from the certificate's issuer to a root to believe, "
                 "instead of the trusted root's authorities."),
    click.option("--ca-roots", metavar="FILE", help="PEM of authorities to believe instead of the trusted root's."),
    click.option("--ca-intermediates", metavar="FILE", help="With --ca-roots: PEM of what stands below them."),
    click.option("--rfc3161-timestamp", metavar="FILE", help="A timestamp that is in no bundle."),
    click.option("--timestamp-certificate-chain", metavar="FILE", help="PEM of the timestamp authority to believe, "
                 "instead of the trusted root's."),
    click.option("--use-signed-timestamps", is_flag=True, help="Ask for a timestamp; those there always count."),
)
"""Commands receive them as keyword arguments; hand those to `Presented` and `Expectation`."""


def read_artifact(name: str) -> Artifact:
    """A file, standard input for `-`, or `sha256:…` where there is no file of that name. Raises UsageError."""
    if name != "-" and not Path(name).exists() and (known := parse_digest(name, "file")) is not None:
        return known
    return artifact_of(read_input(name, "file"))


class Outputs:
    """Where a signature was told to go. Raises UsageError before anything is signed."""

    def __init__(self, options: dict[str, Any], *more: str) -> None:
        self.legacy = not options["new_bundle_format"]
        self._options = options
        self._stamps = [flag for flag in more if "timestamp" in flag]
        if not self.legacy and not options["bundle"]:
            raise UsageError("--bundle: not given, and the signature would be kept nowhere",
                             hint="--bundle FILE, or --new-bundle-format=false, which prints the signature")
        for flag in ("bundle", "output_signature", "output_certificate", *more):
            if options[flag]:
                destination.check(options[flag], _flag(flag))

    def check(self, signer: Signer) -> None:
        """Say what the older bundle will not hold. Raises UsageError where it was insisted on, and for what will not be
        there to be written: before anything is signed.
        """
        if self._options["output_certificate"] and signer.key is not None:
            raise UsageError("--output-certificate: a key signs, and there is no certificate")
        for flag in self._stamps:
            if self._options[flag] and not signer.config.tsa:
                raise UsageError(f"{_flag(flag)}: the signing config names no timestamp authority")
        if self.legacy and signer.config.rekor and not any(log.major_api_version == 1 for log in signer.config.rekor):
            if self._options["tlog_upload"]:
                raise UsageError("--tlog-upload=true: cosign's older bundle cannot hold an entry of a log of API "
                                 "version 2, and the signing config names no other", hint="--new-bundle-format=true")
            warn("--new-bundle-format=false: is in no log: the log is of API version 2, whose entries it cannot hold; "
                 "verifying it needs --insecure-ignore-tlog")

    def write(self, bundle: Bundle, signature: bytes, *, wrapped: bool) -> None:
        """`signature` as its own file has it; `wrapped`: certificates are base64 of PEM, as cosign writes them."""
        options = self._options
        if options["bundle"]:
            self.file("bundle", signedpayload.signed_payload(bundle) if self.legacy else bundle.to_bytes())
        if options["output_signature"]:
            self.file("output_signature", signature)
        elif self.legacy:
            sys.stdout.flush()
            sys.stdout.buffer.write(signature + (b"\n" if wrapped else b""))
            sys.stdout.buffer.flush()
        if options["output_certificate"]:
            pem = cosign.certificate_pem(bundle.certificates[0])
            self.file("output_certificate", base64.b64encode(pem) if wrapped else pem)

    def stamp(self, option: str, bundle: Bundle) -> None:
        """cosign's JSON around the first timestamp."""
        if self._options[option]:
            self.file(option, json.dumps(cosign.timestamp_json(bundle.timestamps[0]), separators=(",", ":")).encode())

    def file(self, option: str, data: bytes) -> None:
        path = self._options[option]
        destination.write(Path(path), data, _flag(option))
        print(f"Wrote {option.removeprefix('output_').replace('_', ' ')} to file {visible(path)}", file=sys.stderr)


class Presented:
    """What came with a file: a bundle, or the parts of one. Raises UsageError, MalformedError, UnsupportedError."""

    def __init__(self, options: dict[str, Any], artifact: Artifact) -> None:
        path = options["bundle"]
        if path is None and options["signature"] is None:
            raise UsageError("--bundle: not given, and no --signature", hint="--bundle FILE, as sign-blob wrote it")
        if path is not None and options["signature"] is not None:
            raise UsageError("--bundle and --signature: give one; a bundle has its signature")
        certificates: tuple[bytes, ...] = ()
        if options["certificate"]:
            text = read_input(options["certificate"], "--certificate").decode("ascii", "replace")
            certificates = signedpayload.read_certificates(text, f"--certificate {options['certificate']}")[:1]
            if not certificates:
                raise UsageError(f"--certificate {options['certificate']}: holds no certificate")
        if path is not None:
            self.source, self.data = f"--bundle {path}", read_input(path, "--bundle")
            self.bundle, self.form = read_file_bundle(self.data, artifact, self.source)
            new, is_new = options["new_bundle_format"], self.form == "bundle"
            if new is not None and new != is_new:
                raise UsageError(f"--bundle {path}: is {'a' if is_new else 'no'} Sigstore bundle, and "
                                 f"--new-bundle-format={str(new).lower()}")
            self.bundle = _certified(self.bundle, certificates)
        else:
            self.source, self.data = "--signature", _signature(options["signature"])
            self.form = "blob"
            digest = bytes.fromhex(artifact.hashed("sha256") or "")
            self.bundle = signedpayload.of_parts(self.data, digest, certificates)
        if stamp := options["rfc3161_timestamp"]:
            read = cosign.parse_timestamp(read_input(stamp, "--rfc3161-timestamp"), f"--rfc3161-timestamp {stamp}")
            if read in self.bundle.timestamps:
                raise UsageError(f"--rfc3161-timestamp {stamp}: the bundle has it already")
            self.bundle = _replaced(self.bundle, timestamps=(*self.bundle.timestamps, read))
        if options["use_signed_timestamps"] and not self.bundle.timestamps:
            raise VerificationError("timestamp: there is none, and --use-signed-timestamps asks for one",
                                    check=Check.TIME)


def _replaced(bundle: Bundle, **changes: Any) -> Bundle:
    return msgspec.structs.replace(bundle, **changes)


def _certified(bundle: Bundle, certificates: tuple[bytes, ...]) -> Bundle:
    """With the certificate that was given beside it, which must be the same where the bundle has one."""
    if not certificates:
        return bundle
    if bundle.certificates and bundle.certificates[0] != certificates[0]:
        raise VerificationError("certificate: --certificate is not the one in the bundle", check=Check.CERTIFICATE)
    return bundle if bundle.certificates else _replaced(bundle, certificates=certificates, key_hint=None)


def _signature(text: str) -> bytes:
    """A signature's bytes: of a file or of the text itself, in base64 or as they are, as cosign takes them."""
    given = text == "-" or Path(text).is_file()
    data = read_input(text, "--signature") if given else text.encode()
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except ValueError:
        if given:
            return data
        raise UsageError(f"--signature: got {text[:64]!r}, expected base64 or the name of a file") from None


class Expectation:
    """On what terms a file's signature counts."""

    def __init__(self, options: dict[str, Any], form: str) -> None:
        if options["offline"]:
            click.get_current_context().obj = settings().replace(offline=True)
        if options["key"] and options["certificate"]:
            raise UsageError("--key and --certificate: give one; a key signs without a certificate")
        if options["key"] and (given := stated(("certificate_chain", "ca_roots", "ca_intermediates"))):
            raise UsageError(f"--key and {given}: give one; a key signs without a certificate")
        terms = Expected(settings(), options).terms
        trust = terms.trust
        if form == "blob":  # where nothing attests a time, cosign takes the present for it
            trust = replace(trust, expiring=True)
        root = trust.root
        if root is None and (options["use_signed_timestamps"] or options["rfc3161_timestamp"]):
            root = load_root(settings(), options["trusted_root"])
            if root is None and not options["timestamp_certificate_chain"]:
                raise UsageError("--use-signed-timestamps: there is no trusted root to check a timestamp against",
                                 hint="--trusted-root FILE, or --timestamp-certificate-chain FILE")
        self.trust = replace(trust, root=_root(options, root))
        self._terms = terms

    def check_signer(self, verified: Verified, trace: Trace = SILENT) -> None:
        """Raises VerificationError for somebody else's signature."""
        reason = self._terms.mismatch(verified.signer) if self._terms.mismatch else None
        tell_signer(trace, self._terms, verified.signer, reason)
        if reason is not None:
            raise VerificationError(reason, check=Check.IDENTITY)


def _root(options: dict[str, Any], root: TrustedRoot | None) -> TrustedRoot | None:
    """The trusted root with the authorities that were given in PEM in the place of its own."""
    chain, roots, below = (options[name] for name in ("certificate_chain", "ca_roots", "ca_intermediates"))
    stamping = options["timestamp_certificate_chain"]
    if chain and roots:
        raise UsageError("--certificate-chain and --ca-roots: give one; both say whom to believe")
    if below and not roots:
        raise UsageError("--ca-intermediates: stand below roots, and none are given", hint="--ca-roots FILE")
    if not (chain or roots or stamping):
        return root
    root = root or TrustedRoot()
    if chain:
        root = msgspec.structs.replace(root, certificate_authorities=(
            authority_of(read_pem_chain(chain, "--certificate-chain")),))
    if roots:
        between = read_pem_chain(below, "--ca-intermediates") if below else ()
        root = msgspec.structs.replace(root, certificate_authorities=tuple(
            authority_of((*between, own)) for own in read_pem_chain(roots, "--ca-roots")))
    if stamping:
        root = msgspec.structs.replace(root, timestamp_authorities=(
            authority_of(read_pem_chain(stamping, "--timestamp-certificate-chain")),))
    return root


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
