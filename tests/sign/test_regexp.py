"""Patterns that meet what a signer chose are Go's: linear, whatever the pattern.

None of these comes back in an hour with a matcher that backtracks, so that they end at all is the test.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from custody.admission.webhook import Admission
from custody.errors import MalformedError, UsageError
from custody.evidence.model import EvidenceSet, KeylessSigner, Verified
from custody.policy.kyverno.images import _regexp
from custody.policy.load import PolicySet
from custody.sign.identity import Identity
from tests.admission.test_webhook import NOW, ask, review
from tests.policy.test_lint import images
from tests.sign.authority import IMAGE

LONG = "a" * 60
PATTERNS = [(r"^([a-z0-9]+[.-]?)+@myorg\.example$", f"{LONG}@myorg!example"), (r"^(a+)+$", f"{LONG}!"),
            (r"^(\w+\.?)+@example\.com$", f"{LONG}!"), (r"^([a-z]+-?)+@example\.com$", f"{LONG}@examplf.com"),
            (r"(a|aa)+$", f"{LONG}b"), (r"^(a?){60}a{60}$", "a" * 59)]


@pytest.mark.parametrize(("pattern", "subject"), PATTERNS)
def test_regexp_redos(pattern: str, subject: str) -> None:
    signer = KeylessSigner(subject=subject, issuer=subject)
    expected = f"identity: got {subject!r}, expected a match of {pattern!r}"
    assert Identity(subject_regexp=pattern, issuer_regexp=".").mismatch(signer) == expected
    assert "issuer: got" in str(Identity(subject=subject, issuer_regexp=pattern).mismatch(signer))


@pytest.mark.parametrize(("pattern", "subject"), PATTERNS)
def test_regexp_not_re2(pattern: str, subject: str) -> None:
    compiled = _regexp(pattern, "subjectRegExp")
    assert compiled is not None
    assert not compiled(subject)


def test_regex_hangs_webhook() -> None:
    pattern, subject = PATTERNS[0]
    keyless = {"issuer": "https://i", "subjectRegExp": pattern, "rekor": {"url": "https://r"}}
    policies = PolicySet([images(attestors=[{"entries": [{"keyless": keyless}]}])])
    signature = Verified(subject=IMAGE, evidence="e", source="s", kind="signature", predicate={}, log=None,
                         predicate_type="https://sigstore.dev/cosign/sign/v1", signed_at=None,
                         signer=KeylessSigner(subject=subject, issuer="https://i"))

    async def gather(_: Any, names: list[str]) -> dict[str, EvidenceSet]:
        return {name: EvidenceSet(subject=IMAGE, verified=(signature,)) for name in names}

    answer = ask(Admission(policies, gather, lambda: NOW), review())["response"]
    assert answer["allowed"] is False
    said = "".join(answer["status"]["message"].split("\n    "))
    assert f"subject mismatch: expected {pattern}, received {subject}" in said


def test_go_has_no_special_case_for_line_breaks() -> None:
    compiled = _regexp("^ann$", "subjectRegExp")
    assert compiled is not None
    assert compiled("ann")
    assert not compiled("ann\n")
    signer = KeylessSigner(subject="ann\nevil", issuer="i")
    assert Identity(subject_regexp="^ann", issuer="i").mismatch(signer) is None
    assert "expected a match" in str(Identity(subject_regexp="^ann$", issuer="i").mismatch(signer))
    assert "expected a match" in str(Identity(subject_regexp="^ann.evil$", issuer="i").mismatch(signer))


@pytest.mark.parametrize("pattern", ["(?=x)", r"(a)\1", "(?<=x)y", "a++", "["])
def test_what_re2_has_not_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="--certificate-identity-regexp: error parsing regexp"):
        Identity(subject_regexp=pattern, issuer="i")
    with pytest.raises(MalformedError, match=r"subjectRegExp: got .* expected a regular expression of Go"):
        _regexp(pattern, "subjectRegExp")


def test_verify_with_a_key_does_not_import_re2() -> None:
    code = "import sys, custody.cli.verify; print('re2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "False"
