"""sigstore-python-assets: what sigstore-python's tests read, each file judged as those tests mean it.

A file's name says what it is, and `_REASONS` why those must be refused that are. A bundle is judged by the root of the
public instance whose log it names, staging where it names none; those under `tsa` by the authority in `tsa/ca.json`
too, where that file is there. Certificates under `x509` are judged for the place in a chain that their names say.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec.structs import replace

from custody.errors import CustodyError
from custody.formats import cosign
from custody.formats.cosign import pem_certificates
from custody.sign.authorities import choose
from custody.sign.blob import Artifact, artifact_of, check_attested, check_signed, read_file_bundle, verify_blob
from custody.sign.certificate import read_signing_certificate
from custody.sign.timestamp import check_timestamp
from custody.sign.verify import Trust
from custody.trust.pemroots import authority_of, log_of
from custody.trust.roots import (
    TRUSTED_ROOT,
    CertificateAuthority,
    TrustedRoot,
    Validity,
    parse_signing_config,
    parse_trusted_root,
)
from tests.oracles.sigstore_bundles import published_root

Judged = Callable[[], object]
_REASONS: Sequence[tuple[str, str]] = (
    # Bundles.
    (r"bundle_cve_2022_36056", "log entry: its .* is not the one of this signature"),
    (r"bundle_invalid_version", "mediaType: .* is no Sigstore bundle"),
    (r"bundle_no_cert", "certificates: got 'nothing'|expected one of certificate, x509CertificateChain and publicKey"),
    (r"bundle_no_log_entry", "log entry: there is none"),
    (r"bundle_no_checkpoint", "inclusion proof: has no checkpoint"),
    (r"bundle_v3_no_signed_time", "time: nothing attests when the signature was made"),
    (r"bundle\.many_timestamp", "rfc3161Timestamps: got '33 of them', expected a list of at most 32"),
    (r"bundle\.duplicate", "rfc3161Timestamps: got 'one twice'"),
    (r"late_timestamp", "certificate: not valid at"),
    # Signature and certificate apart, of before bundles: nobody is asked for the entry.
    (r"\.txt\.sig$", "log entry: there is none"),
    # What is trusted, and where to sign.
    (r"(trustedroot|config)\.badtype", r"mediaType: .*; custody reads"),
    (r"certificate_authority\.(missingroot|empty)", "expected (a self-signed certificate of a CA|at least the root)"),
    (r"fulcio_intermediate", "expected a self-signed certificate of a CA"),
    # Certificates that are none of a leaf, or none of an authority.
    (r"bogus-(leaf-invalid-eku|leaf-missing-eku|intermediate\.pem)", "extended key usage is not codeSigning"),
    (r"bogus-leaf-invalid-ku", "may not sign \\(key usage\\)"),
    (r"bogus-intermediate-with-eku", "is a CA certificate, expected a leaf"),
    (r"bogus-root-(invalid|missing)-ku", "may not sign certificates \\(key usage\\)"),
    (r"bogus-root-noncritical-bc", "basic constraints"))
"""The first pattern that a path fits, and why it is refused; what fits none is accepted."""


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    assets = folder / "test/assets"
    for path in sorted(path for path in assets.rglob("*") if path.is_file()):
        name = str(path.relative_to(assets))
        judged = _judged(path, assets)
        if judged is None:
            continue
        expected = next((reason for pattern, reason in _expected(assets) if re.search(pattern, name)), "")
        try:
            judged()
        except CustodyError as error:
            right = expected and re.search(expected, error.message)
            yield name, None if right else f"expected {expected or 'that it is accepted'}, got {error.message}"
        else:
            yield name, f"accepted, expected {expected}" if expected else None


def _expected(assets: Path) -> Iterator[tuple[str, str]]:
    if not (assets / "tsa/issue1482-message").exists():
        yield r"tsa/issue1482-timestamp", "Mismatch between messages"
    yield from _REASONS


def _judged(path: Path, assets: Path) -> Judged | None:
    """What custody is asked of a file; None of one that is beside another, or that is signed."""
    name, size = path.name, path.stat().st_size
    if re.search(r"\.sigstore(\.json)?$", name) and size:
        return lambda: _bundle(path, assets)
    if name.endswith(".txt.sig") and path.with_suffix(".crt").exists() and path.with_suffix("").exists():
        return lambda: _apart(path, assets)
    if name.endswith(".crt"):
        return lambda: read_signing_certificate(_one(path))
    if path.parent.name == "signing_config":
        return lambda: _services(path)
    if path.parent.name == "trust_config":
        return lambda: (parse_trusted_root(path.read_bytes()), parse_signing_config(path.read_bytes()))
    if "certificate_authority" in name or name == "ca.json":
        return lambda: _authority(path)
    if "trusted_root" in path.parts[-2:][0] or "trusted_root.json" in name:
        return lambda: parse_trusted_root(path.read_bytes())
    if path.parent.name == "tsa" and "timestamp" in name:
        return lambda: _stamp(path, assets)
    if name.endswith(".crt.pem") or re.search(r"bogus-root", name):
        return lambda: authority_of(pem_certificates(path.read_text(), name))
    if name.endswith(".pub"):
        return lambda: log_of(path.read_bytes(), name, "", Validity())
    if name.startswith("bogus-"):
        return lambda: read_signing_certificate(_one(path), named=False)
    if name.endswith("privkey.pem"):
        return lambda: load_pem_private_key(path.read_bytes(), None)
    return None


def _one(path: Path) -> bytes:
    der, = pem_certificates(path.read_text(), path.name)
    return der


def _staging(assets: Path) -> TrustedRoot:
    """The staging instance's root, with the authority that stamped what is under `tsa`."""
    root = parse_trusted_root(published_root("sigstage").read_bytes())
    authority = assets / "tsa/ca.json"
    return root if not authority.exists() else replace(
        root, timestamp_authorities=(*root.timestamp_authorities, _authority(authority)))


def _bundle(path: Path, assets: Path) -> None:
    file = _artifact(path)
    found, form = read_file_bundle(path.read_bytes(), file)
    production = parse_trusted_root(published_root("sigstore").read_bytes())
    known = {log.log_id for log in production.tlogs}
    trust = Trust(production if known & {entry.log_id for entry in found.entries} else _staging(assets))
    if found.envelope is not None:  # its subject is none of the files
        check_attested(found, form, None, trust, datetime.now(UTC))
    else:
        check_signed(found, form, file, trust, datetime.now(UTC))


def _artifact(path: Path) -> Artifact:
    """The file that a bundle's name begins with, or where it is not there, what the bundle says of it."""
    file = next((file for name in (path.name.split(".sigstore")[0], f"{path.name.split('.')[0]}.txt")
                 if (file := path.with_name(name)).exists()), None)
    if file is not None:
        return artifact_of(file.read_bytes())
    said = json.loads(path.read_bytes()).get("messageSignature", {}).get("messageDigest", {}).get("digest", "")
    return Artifact(f"sha256:{base64.b64decode(said).hex()}")


def _apart(path: Path, assets: Path) -> None:
    annotations = cosign.signature_annotations(path.read_text().strip(), path.with_suffix(".crt").read_text(), "")
    verify_blob(path.with_suffix("").read_bytes(), annotations, Trust(_staging(assets)), datetime.now(UTC))


def _services(path: Path) -> None:
    """Of each kind one is valid now."""
    config, now = parse_signing_config(path.read_bytes()), datetime.now(UTC)
    assert choose(config.ca, "certificate authority", (1,), now).url == "https://fulcio.example.com"
    assert choose(config.rekor, "log", (1, 2), now).url.startswith("https://rekor")
    assert choose(config.tsa, "timestamp authority", (1,), now).url.startswith("https://timestamp")


def _authority(path: Path) -> CertificateAuthority:
    document = json.dumps({"mediaType": TRUSTED_ROOT, "timestampAuthorities": [json.loads(path.read_bytes())]})
    authority, = parse_trusted_root(document.encode()).timestamp_authorities
    authority_of(authority.chain)
    return authority


def _stamp(path: Path, assets: Path) -> None:
    """One that holds no certificate: the root's authority is known by itself."""
    message = assets / "tsa/issue1482-message"
    check_timestamp(path.read_bytes(), message.read_bytes() if message.exists() else b"something else",
                    _staging(assets).timestamp_authorities)
