"""Whom a verifier expects: a certificate identity and its issuer, or a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from custody.errors import UsageError
from custody.evidence.model import KeylessSigner, KeySigner, Signer
from custody.sign.steps import Step
from policylang.errors import InputError

CLAIM_FLAGS: Mapping[str, str] = {"trigger": "githubWorkflowTrigger", "sha": "githubWorkflowSha",
                                  "name": "githubWorkflowName", "repository": "githubWorkflowRepository",
                                  "ref": "githubWorkflowRef"}
"""`--certificate-github-workflow-X` → the claim that it compares."""


class Comparison(NamedTuple):
    """One step of holding a signer against whom one expects."""

    step: Step
    got: str
    reason: str | None = None
    """Why it is somebody else; None where it fits."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Subject and issuer, each exact or as a regular expression that is searched for (not anchored, as in cosign).

    Patterns are Go's (RE2): linear in what a certificate says, whatever the pattern. RE2 is imported only for one.
    """

    subject: str | None = None
    subject_regexp: str | None = None
    issuer: str | None = None
    issuer_regexp: str | None = None
    claims: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UsageError unless both sides are named, and each in one way only."""
        for part, flag, exact, pattern in (
                ("identity", "--certificate-identity", self.subject, self.subject_regexp),
                ("issuer", "--certificate-oidc-issuer", self.issuer, self.issuer_regexp)):
            if not exact and not pattern:
                raise UsageError(f"{part}: not given; a certificate proves nothing until you say whose you expect",
                                 hint=f"{flag} VALUE or {flag}-regexp PATTERN; or --key FILE")
            check_given_once(part, flag, exact, pattern)

    def mismatch(self, signer: Signer) -> str | None:
        """Why `signer` is somebody else; None where it is the one."""
        return next((comparison.reason for comparison in self.compared(signer) if comparison.reason is not None), None)

    def compared(self, signer: Signer) -> Iterator[Comparison]:
        """Every step of it, in order."""
        if not isinstance(signer, KeylessSigner):
            yield Comparison(Step.IDENTITY, str(signer), f"identity: signed with a {signer}, expected a certificate")
            return
        for step, got, exact, pattern in ((Step.IDENTITY, signer.subject, self.subject, self.subject_regexp),
                                          (Step.ISSUER, signer.issuer, self.issuer, self.issuer_regexp)):
            reason = None
            if exact and got != exact:
                reason = f"{step}: got {got!r}, expected {exact!r}"
            elif pattern and not matches(pattern, got):
                reason = f"{step}: got {got!r}, expected a match of {pattern!r}"
            yield Comparison(step, got, reason)
        for name, expected in self.claims.items():
            said = signer.claims.get(name)
            yield Comparison(Step.CLAIMS, f"{name}={said}",
                             None if said == expected else f"{name}: got {said!r}, expected {expected!r}")


def not_by_key(signer: Signer) -> str | None:
    """Why `signer` is not the key that was given; None where it is. A verifier is given no other."""
    return None if isinstance(signer, KeySigner) else f"signer: got {signer}, expected the key"


def check_given_once(part: str, flag: str, exact: str | None, pattern: str | None) -> None:
    """Raises UsageError where a name is given in both ways, and for a pattern that is none."""
    if exact and pattern:
        raise UsageError(f"{part}: given exactly and as a pattern", hint=f"keep {flag} or {flag}-regexp")
    if pattern:
        try:
            matches(pattern, "")
        except InputError as error:
            raise UsageError(f"{flag}-regexp: {error.message}", hint="the syntax is Go's (RE2)") from None


def matches(pattern: str, text: str) -> bool:
    """Whether Go's pattern is anywhere in the text. Raises InputError for a pattern that is none."""
    from policylang.go.regex import compiled

    return compiled(pattern).search(text) is not None
