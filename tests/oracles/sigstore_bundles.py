"""sigstore-bundles: the bundles of sigstore-conformance; those whose name ends in _fail must be refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from custody.errors import CustodyError
from custody.evidence.model import Evidence
from custody.formats import bundle
from custody.kit.digest import sha256
from custody.services.verify import Terms, tell_signer
from custody.sign.identity import Identity
from custody.sign.keys import load_public_key, read_key_file
from custody.sign.steps import SILENT, Trace
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import parse_trusted_root

_IDENTITY = ("https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
             "extremely-dangerous-oidc-beacon.yml@refs/heads/main")
_ISSUER = "https://token.actions.githubusercontent.com"


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for case in sorted(path.parent for path in folder.rglob("bundle.sigstore.json")):
        refusal = verdict(case)
        if case.name.endswith("_fail"):
            yield case.name, None if refusal else "accepted"
        else:
            yield case.name, refusal


def verdict(case: Path, trace: Trace = SILENT) -> str | None:
    """Why a case is refused; None where it is accepted. `trace` is told each step."""
    artifact = case / "artifact" if (case / "artifact").exists() else case.parent / "a.txt"
    evidence = Evidence(subject=sha256(artifact.read_bytes()), media_type=bundle.MEDIA_TYPE,
                        data=(case / "bundle.sigstore.json").read_bytes(), source=case.name)
    root = case / "trusted_root.json"
    try:
        key = case / "key.pub"
        keys = (load_public_key(read_key_file(str(key)), "key.pub"),) if key.exists() else ()
        trust = Trust(parse_trusted_root((root if root.exists() else _public_root()).read_bytes()), keys,
                      blobs=True)
        found = verify_evidence(evidence, trust, datetime.now(UTC), trace=trace)
        if keys:
            return None
        identity = Identity(_text(case / "identity", _IDENTITY), issuer=_text(case / "issuer", _ISSUER))
        reason = identity.mismatch(found.signer)
        tell_signer(trace, Terms(trust, identity.mismatch, compared=identity.compared), found.signer, reason)
        return reason
    except CustodyError as error:
        return error.message


def _text(path: Path, default: str) -> str:
    return path.read_text().strip() if path.exists() else default


def _public_root() -> Path:
    """The public instance's trusted root, as the sigstore package carries it."""
    found = importlib.util.find_spec("sigstore")
    assert found is not None
    assert found.origin is not None
    return next((Path(found.origin).parent / "_store").glob("*tuf-repo-cdn.sigstore.dev/trusted_root.json"))
