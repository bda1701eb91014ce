"""notation: the test data of notation-go. What each file must come to is in its name, and refusals in their reasons.

Envelopes are verified at level strict with the trust stores beside them, at the time at which they were signed or, with
timestamps, now; the artifact is the one that they name. Nobody is asked whether certificates were revoked.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from custody.adapters.programs import SystemPrograms
from custody.errors import CustodyError
from custody.formats import notary, oci
from custody.kit.digest import sha256
from custody.registry.listedlayout import ListedLayout
from custody.sign.notary.countersignature import countersigned
from custody.sign.notary.directory import Directory
from custody.sign.notary.distinguishedname import subject_name
from custody.sign.notary.plugin import Plugin, open_plugin
from custody.sign.notary.revocation import Answer, State
from custody.sign.notary.signingkeys import load_configuration, load_signing_keys
from custody.sign.notary.trustpolicy import Statement, parse_oci
from custody.sign.notary.truststore import DirectoryStores, read_certificates, unfit
from custody.sign.notary.verify import Demands, Verifier

_MESSAGE = b"notation"
"""What the bare tokens stamp."""
_PLUGIN = """#!{python}
import json, sys
request = json.load(sys.stdin)
if sys.argv[1] == "get-plugin-metadata":
    print(json.dumps({{"name": "{name}", "description": "d", "version": "1.0.0", "url": "u",
                      "supportedContractVersions": ["1.0"], "capabilities": ["SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
                      "SIGNATURE_VERIFIER.REVOCATION_CHECK"]}}))
else:
    asked = request["trustPolicy"]["signatureVerification"]
    print(json.dumps({{"verificationResults": {{name: {{"success": True}} for name in asked}},
                      "processedAttributes": request["signature"]["unprocessedAttributes"]}}))
"""
Rule = tuple[str, str]
_ENVELOPES: Sequence[Rule] = (
    (r"incompatible_pluginver", "and the signature asks for"), (r"compatible_pluginver|_plugin_sig", ""),
    (r"_invalid_", "base64url|is not this certificate's over these bytes"), (r"_expired_", "expired at"),
    (r"withoutTimestamp", "timestamp: there is none"), (r"[bB]eforeNotBefore", "is before certificate"),
    (r"[aA]fterNotAfter", "is after certificate"), (r".", ""))
"""The first pattern that a name fits, and why it is refused; "" where it is accepted."""
_TOKENS: Sequence[Rule] = (
    (r"Invalid", "expected an RFC 3161 TimeStampToken"), (r"WithoutCertificate", "is not in the token"), (r".", ""))
_STORES: Sequence[Rule] = (
    (r"invalid-certs", "certificates in PEM or DER"), (r"leaf-certs", "neither a CA's certificate nor self-signed"),
    (r"SYMLINK|symlinks|directories", "a link or a folder|is no folder"),
    (r"nonCA", "is no root: .* is no CA"), (r"nonSelfIssued", "is no root: .* did not issue"), (r".", ""))


class _Silent:
    """Nobody is asked."""

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        return [Answer(certificate.subject.rfc4514_string(), State.GOOD) for certificate in chain[:-1]]


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for name, expected, judged in _cases(folder):
        try:
            judged()
        except CustodyError as error:
            right = expected and re.search(expected, error.message)
            yield name, None if right else f"expected {expected or 'that it is accepted'}, got {error.message}"
        else:
            yield name, f"accepted, expected {expected}" if expected else None


def _cases(folder: Path) -> Iterator[tuple[str, str, Callable[[], object]]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix in (".json", ".sig") and (path.parent.name in ("testdata", "sigEnv")) and _is_envelope(path):
            yield name, _expected(_ENVELOPES, path.name), lambda path=path: _envelope(folder, path)  # type: ignore[misc]
        elif path.suffix == ".p7s":
            yield name, _expected(_TOKENS, path.name), lambda path=path: _token(folder, path)  # type: ignore[misc]
        elif path.parent.parent.name == "testdata" and path.name in ("config.json", "signingkeys.json"):
            expected = "" if path.parent.name == "valid" else "twice|expected"
            yield name, expected, lambda path=path: _configuration(path)  # type: ignore[misc]
        elif path.parts[-3:-1] == ("testdata", "verifier"):
            expected = "encoded values" if path.name.startswith("bad") else ""
            yield name, expected, lambda path=path: subject_name(_read(path)[0], path.name)  # type: ignore[misc]
        elif path.parts[-3:-1] == ("signer", "testdata"):
            yield name, "", lambda path=path: _root(path)  # type: ignore[misc]
    for store in sorted({path.parent for path in (folder / "verifier/testdata/truststore").rglob("*") if path.is_file()
                         and path.name != ".gitkeep"}):
        name = str(store.relative_to(folder))
        yield name, _expected(_STORES, store.name), lambda store=store: _store(store)  # type: ignore[misc]
    for plugin in sorted((folder / "plugin/testdata/plugins").glob("*")):
        yield f"plugin {plugin.name}", "no file|No such file", lambda plugin=plugin: open_plugin(  # type: ignore[misc]
            _directory(plugin.parents[1]), plugin.name, SystemPrograms())
    layout = folder / "internal/testdata/oci-layout"
    if layout.is_dir():
        yield "oci-layout", "", lambda: _layout(layout)


def _expected(rules: Sequence[Rule], name: str) -> str:
    return next(reason for pattern, reason in rules if re.search(pattern, name))


def _is_envelope(path: Path) -> bool:
    data = path.read_bytes()
    return data[:1] == b"\xd2" or b'"protected"' in data


def _directory(place: Path) -> Directory:
    return Directory(place, place, place / "cache")


def _statement(timestamps: bool) -> Statement:
    document = {"version": "1.0", "trustPolicies": [{
        "name": "oracle", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:valid-trust-store", "signingAuthority:valid-trust-store"] + (
            ["tsa:test-timestamp"] if timestamps else []), "trustedIdentities": ["*"]}]}
    return parse_oci(json.dumps(document).encode()).statements[0]


def _envelope(folder: Path, path: Path) -> None:
    data = path.read_bytes()
    media_type = notary.COSE if data[:1] == b"\xd2" else notary.JWS
    stamped = path.parent.name == "sigEnv"
    try:
        envelope = notary.parse_envelope(data, media_type)
        now, target = envelope.signing_time + timedelta(seconds=1), envelope.target
    except CustodyError:
        now, target = datetime.now(UTC), notary.Target("", "sha256:" + 64 * "0", 0, {})
    if stamped or "expired" in path.name:
        now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        shutil.copytree(folder / "verifier/testdata/truststore", place / "truststore", ignore=shutil.ignore_patterns(
            "*symlink*", "*SYMLINK*", "*directories*", "*leaf*", "*invalid*"))
        # What signed some of the envelopes is in no store of the data: they are trusted as notation's tests do.
        own = place / "truststore/x509/ca/valid-trust-store/own.der"
        own.write_bytes(notary.parse_envelope(data, media_type).chain[-1] if "_invalid_" not in path.name else
                        (place / "truststore/x509/ca/valid-trust-store/GlobalSign.der").read_bytes())

        def plugin(name: str) -> Plugin:
            program = _directory(place).plugin(name)
            program.parent.mkdir(parents=True)
            program.write_text(_PLUGIN.format(python=sys.executable, name=name))
            program.chmod(0o755)
            return open_plugin(_directory(place), name, SystemPrograms())

        verifier = Verifier(DirectoryStores(_directory(place)), _Silent(), lambda: now, plugin)
        demands = Demands({"io.wabbit-networks.buildId": "123"} if "metadata" in path.name else {})
        outcome = asyncio.run(verifier.verify(data, media_type, _statement(stamped), lambda _: target, demands))
    if outcome.error is not None:
        raise outcome.error


def _token(folder: Path, path: Path) -> None:
    roots = _read(next((folder / "verifier/testdata/truststore/x509/tsa/test-timestamp").iterdir()))
    countersigned(path.read_bytes(), _MESSAGE, roots)


def _configuration(path: Path) -> None:
    (load_configuration if path.name == "config.json" else load_signing_keys)(_directory(path.parent))


def _read(path: Path) -> list[x509.Certificate]:
    return read_certificates(path.read_bytes(), path.name)


def _root(path: Path) -> None:
    assert [unfit(certificate, "tsa") for certificate in _read(path)] == [""]


def _store(store: Path) -> None:
    """As a store of its type; Git keeps links as files that hold where they lead, and no empty folder."""
    kind = store.parent.name if store.parent.name in ("ca", "signingAuthority", "tsa") else "ca"
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        target = place / "truststore/x509" / kind / store.name
        shutil.copytree(store, target, symlinks=True)
        for path in list(target.iterdir()):
            if "SYMLINK" in path.name and not path.is_symlink():
                leads = path.read_text()
                path.unlink()
                path.symlink_to(leads)
        DirectoryStores(_directory(place)).certificates(kind, store.name)


def _layout(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        place = Path(made) / "layout"
        shutil.copytree(folder, place)
        (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        layout = ListedLayout(place)
        index = oci.parse_manifest((place / "index.json").read_bytes(), "index.json", oci.INDEX)
        assert isinstance(index, oci.Index)
        for entry in index.manifests:
            path = place / "blobs" / entry.digest.replace(":", "/")
            if path.is_file():
                assert layout.resolve(entry.digest).digest == entry.digest == sha256(path.read_bytes())
