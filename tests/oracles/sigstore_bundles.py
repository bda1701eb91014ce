"""sigstore-bundles: the bundles of sigstore-conformance; _fail at the end of a name says that it is refused.

Each is refused for its own reason, which is in its name. One that no pattern of `_REASONS` fits must merely be refused,
which is all that sigstore-conformance demands.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
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
_REASONS: Sequence[tuple[str, str]] = (
    (r"unknown-version", "is no Sigstore bundle of version"),
    (r"invalid-base64", "expected standard base64"),
    (r"negative-", "expected a number that is not negative"),
    (r"with-root-cert", "holds a root certificate"),
    (r"managed-key-no-key", "no key is trusted"),
    (r"managed-key-wrong-key", "key.pub: .* expected a PEM public key|the signature is not this key's"),
    (r"statement-(missing|unknown)-type", "in-toto statement._type"),
    (r"checkpoint-missing-log-signature", "checkpoint: .* expected text, an empty line, and signature lines"),
    (r"checkpoint-missing-(origin|size|root-hash)", "checkpoint: .* expected origin, size and root"),
    (r"checkpoint-bad-keyhint", "checkpoint: no signature of the log"),
    (r"invalid-checkpoint-signature", "checkpoint: not signed by the log's key"),
    (r"checkpoint", "checkpoint"),
    (r"(missing|no)-inclusion-proof", "log entry: has no inclusion proof"),
    (r"inclusion-proof", "inclusion proof: "),
    (r"set-|inclusion-promise", "signed entry timestamp: not signed by the log's key"),
    (r"mist?match-envelope|wrong-hashedrekord", "log entry: its (payload hash|digest) is not the one"),
    (r"mist?match-sig", "log entry: its signature is not the one"),
    (r"incorrect-public-key", "log entry: its certificate is not the one"),
    (r"swapped-tlog-entry|cve-2022-36056", "log entry: its .* is not the one"),
    (r"digest-mismatch", "subject: the signature is of"),
    (r"invalid-sig", "the signature is not this key's"),
    (r"no-timestamp", "time: nothing attests when the signature was made"),
    (r"untrusted-tsa-with-", "timestamp: .*certificate verify error"),
    (r"untrusted-tsa-without-", "timestamp: .*signer certificate not found"),
    (r"outside-tsa-cert-validity", "timestamp: .*a certificate of its chain is not valid at"),
    (r"tsa-validity", "timestamp: .*the authority is trusted from"),
    (r"incorrect-time|outside-cert-validity|expired-certificate", "certificate: not valid at"))
"""The first pattern that a name fits, and why the bundle is refused."""


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for case in sorted(path.parent for path in folder.rglob("bundle.sigstore.json")):
        refusal = verdict(case)
        if not case.name.endswith("_fail"):
            yield case.name, refusal
        elif refusal is None:
            yield case.name, "accepted"
        else:
            expected = next((reason for pattern, reason in _REASONS if re.search(pattern, case.name)), "")
            yield case.name, None if re.search(expected, refusal) else f"expected {expected}, got {refusal}"


def verdict(case: Path, trace: Trace = SILENT) -> str | None:
    """Why a case is refused; None where it is accepted. `trace` is told each step."""
    artifact = case / "artifact" if (case / "artifact").exists() else case.parent / "a.txt"
    evidence = Evidence(subject=sha256(artifact.read_bytes()), media_type=bundle.MEDIA_TYPE,
                        data=(case / "bundle.sigstore.json").read_bytes(), source=case.name)
    root = case / "trusted_root.json"
    try:
        key = case / "key.pub"
        keys = (load_public_key(read_key_file(str(key)), "key.pub"),) if key.exists() else ()
        trust = Trust(parse_trusted_root((root if root.exists() else published_root("sigstore")).read_bytes()), keys,
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


def published_root(instance: str) -> Path:
    """The trusted root of a public instance, `sigstore` or `sigstage`, as the sigstore package carries it."""
    found = importlib.util.find_spec("sigstore")
    assert found is not None
    assert found.origin is not None
    return next((Path(found.origin).parent / "_store").glob(f"*tuf-repo-cdn.{instance}.dev/trusted_root.json"))
