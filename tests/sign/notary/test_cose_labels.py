"""COSE's own parameters are numbers: no text of the same name says anything of them (RFC 9052 section 3.1)."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import cbor, notary
from custody.kit.clock import system_clock
from custody.registry.listedlayout import ListedLayout
from custody.services.notaryplaces import LayoutPlace
from custody.sign.notary.sign import Signed
from tests.conftest import peer
from tests.sign.authority import IMAGE
from tests.sign.notary.envelopes import HASHES, MANIFEST, NAME, der, encoded, encoded_cose, signed
from tests.sign.notary.materials import chain_of, directory_in, environment, key_of, layout, trust

_SCHEME = f"{NAME}signingScheme"
_BODY = json.dumps({"targetArtifact": {"mediaType": MANIFEST, "digest": IMAGE, "size": 7}}).encode()
_RIGHT: dict[Any, Any] = {1: -7, 2: [_SCHEME], 3: notary.PAYLOAD_TYPE, _SCHEME: notary.X509}

OVERRULED: dict[str, tuple[dict[Any, Any], str]] = {
    "content type": ({3: "text/plain", "cty": notary.PAYLOAD_TYPE}, "cty: 'text/plain'"),
    "critical attribute": ({2: [_SCHEME, "must.know"], "must.know": 1, "crit": [_SCHEME]}, ""),
    "algorithm": ({1: -39, "alg": "ES256"}, "integrity"),
    "algorithm unknown": ({1: -257, "alg": "ES256"}, "alg: -257"),
    "algorithm as text": ({1: "ES256"}, "alg: 'ES256'"),
    "no algorithm": ({1: None, "alg": "ES256"}, "alg: got 'nothing'"),
    "no critical ones": ({2: None, "crit": [_SCHEME]}, "crit: got 'nothing'"),
    "no content type": ({3: None, "cty": notary.PAYLOAD_TYPE}, "cty: got 'nothing'"),
    "critical text label": ({2: [_SCHEME, "alg"], "alg": "ES256"}, ""),
    "critical, not there": ({2: [_SCHEME, "cty"]}, "crit: got 'cty, which is not there'"),
}
"""What the protected header says beside what is right, and why it does not count; None: a label is not there."""

STRICTER = {"critical attribute", "critical text label"}
"""Where `notation` takes what custody refuses: an attribute that is critical, and no plugin named that may know it."""


def enveloped(changes: dict[Any, Any], body: bytes = _BODY) -> bytes:
    """Signed with P-256 and SHA-256, whatever its header says."""
    said = {**_RIGHT, f"{NAME}signingTime": cbor.Tagged(1, int(system_clock().timestamp())), **changes}
    protected = dict(sorted(((label, value) for label, value in said.items() if value is not None),
                            key=lambda pair: encoded(pair[0])))
    signature = signed(key_of("EC-256"), encoded(["Signature1", encoded(protected), b"", body]), HASHES["256"])
    return encoded_cose(protected, body, signature, [der(certificate) for certificate in chain_of("EC-256")], None)


@pytest.mark.parametrize("name", OVERRULED)
def test_text_overrules_no_number(name: str) -> None:
    changes, words = OVERRULED[name]
    if words in ("", "integrity"):
        envelope = notary.parse_envelope(enveloped(changes), notary.COSE)
        assert envelope.algorithm == ("PS512" if words else "ES256")
        assert envelope.unprocessed == [] if words else [{"critical attribute": "must.know"}.get(name, "alg")]
        return
    with pytest.raises((MalformedError, UnsupportedError)) as refused:
        notary.parse_envelope(enveloped(changes), notary.COSE)
    assert words in str(refused.value)


def test_texts_are_attributes() -> None:
    envelope = notary.parse_envelope(enveloped({"alg": "x", "crit": "y", "cty": "z"}), notary.COSE)
    assert (envelope.extended, envelope.unprocessed) == ({"alg": "x", "crit": "y", "cty": "z"}, [])
    assert (envelope.algorithm, envelope.scheme) == ("ES256", notary.X509)


def test_true_is_no_one() -> None:
    """Python holds `true` and 1 to be one key."""
    with pytest.raises(CustodyError, match="the key True"):
        cbor.loads(b"\xa1\xf5\x26", "x")
    with pytest.raises(CustodyError, match="the key False"):
        cbor.loads(b"\xa1\xf4\x26", "x")


@pytest.mark.parametrize("name", OVERRULED)
def test_notation_says_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    """At level strict, beside one that is right in every part."""
    directory = directory_in(tmp_path / "notation")
    for key, value in environment(directory).items():
        if key.startswith("NOTATION_"):
            monkeypatch.setenv(key, value)
    trust(directory, "ca", "acme", chain_of("EC-256")[-1])
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}))
    right = notary.parse_envelope(enveloped({}), notary.COSE)
    for folder, changes, taken in (("right", {}, True), ("wrong", OVERRULED[name][0], False)):
        digest, stored = layout(tmp_path / folder), ListedLayout(tmp_path / folder)
        subject = stored.resolve(digest)
        body = json.dumps({"targetArtifact": {"mediaType": subject.media_type, "digest": subject.digest,
                                              "size": subject.size}}).encode()
        asyncio.run(LayoutPlace(stored).push(subject, Signed(enveloped(changes, body), notary.COSE, right)))
        arguments = ["verify", "--oci-layout", "--scope", "local/app", f"{tmp_path / folder}@{digest}"]
        theirs = subprocess.run([peer("notation"), *arguments], capture_output=True, text=True, check=False)
        ours = run(["notation", *arguments])
        assert (ours == 0, theirs.returncode == 0) == (taken, taken or name in STRICTER), (
            theirs.stderr, capsys.readouterr().err)
