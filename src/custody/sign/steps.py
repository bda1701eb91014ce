"""What a verifier did with one signed document, step by step: passed, failed, not asked for, or not reached.

A verifier tells a `Trace` as it goes; `SILENT`, which it is given otherwise, keeps nothing and formats nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from custody.errors import Check, DeniedError, MalformedError, UnsupportedError, VerificationError

Detail = str | Callable[[], str]
"""For people. What takes time to say is a function, which is called where somebody wants to read it."""


class Step(enum.StrEnum):
    """One thing that is asked of a signed document, in the order in which verifiers ask."""

    DOCUMENT = "document"
    """It is of a kind that is evaluated here, and could be had whole."""
    FORMAT = "format"
    """It is what its media type says, and custody reads all of it."""
    INTEGRITY = "integrity"
    """Notary Project: the envelope is whole, and signed by the first certificate of a fit chain."""
    PLUGIN = "plugin"
    """Notary Project: the verification plugin that the signature names is there and can do what it must."""
    AUTHENTICITY = "authenticity"
    """Notary Project: a certificate of the chain is in the trust policy's stores."""
    SIGNER = "signer"
    """A trusted key may have signed it, or a certificate that is for signing code and names one identity."""
    SIGNATURE = "signature"
    """That signer's key signed these bytes."""
    TIMESTAMP = "timestamp"
    """A trusted authority saw this signature at a time (RFC 3161); Notary Project: the chain was valid then."""
    LOG_ENTRY = "log-entry"
    """There is an entry of a trusted log, and it is about this signature, this signer and these bytes."""
    LOG_PROMISE = "log-promise"
    """The log signed that it will keep the entry, and when it took it (Rekor v1's SET)."""
    LOG_CHECKPOINT = "log-checkpoint"
    """The log signed the size and the root hash of the tree that the proof leads to."""
    LOG_PROOF = "log-proof"
    """The entry is in that tree."""
    LOG_TRUST = "log-trust"
    """The log's key was trusted when the entry was made."""
    VALIDITY = "validity"
    """The signing certificate was valid at every time that is attested."""
    CHAIN = "chain"
    """An authority that was trusted then issued the certificate."""
    SCT = "sct"
    """A trusted CT log promised to show the certificate."""
    EXPIRY = "expiry"
    """Notary Project: the signature has not expired."""
    REVOCATION = "revocation"
    """Notary Project: no certificate of the chain is revoked."""
    STATEMENT = "statement"
    """What was signed says something about artifacts, in a form that custody reads."""
    SUBJECT = "subject"
    """It says it about this artifact, by its digest."""
    IDENTITY = "identity"
    """The signer is the one that was expected: the key, or the certificate's subject."""
    ISSUER = "issuer"
    """The expected issuer vouched for that identity."""
    CLAIMS = "claims"
    """The certificate says of its workflow what was expected."""
    PREDICATE_TYPE = "predicate-type"
    """The statement is of the kind that was asked for; a signature for `verify`."""
    PREDICATE = "predicate"
    """The predicate has the fields that its type requires, where custody knows which (in-toto's vetted types)."""
    SUMMARY = "summary"
    """A verification summary has PASSED, by the verifier, of the resource, at the levels, by the policies asked for."""
    ANNOTATIONS = "annotations"
    """The annotations, or the user's metadata, that were asked for were signed with it."""
    POLICY = "policy"
    """Every policy allows the predicate."""


class StepResult(enum.StrEnum):
    """How a step came out."""

    PASSED = "passed"
    """As it should be."""
    FAILED = "failed"
    """It is why the document does not count: at most one step of a document is."""
    LOGGED = "logged"
    """It did not pass, and the trust policy only logs that."""
    NOT_ASKED = "not-asked"
    """Nobody asks for it on these terms, or there is nothing of the kind; the detail says why."""
    NOT_REACHED = "not-reached"
    """A step before it failed."""


class Fault(enum.StrEnum):
    """How a step failed: `STEP.FAULT` is the reason's code."""

    ABSENT = "absent"
    """What is asked for is not there."""
    MALFORMED = "malformed"
    """The bytes are not what their format says."""
    UNSUPPORTED = "unsupported"
    """It is well formed, and custody does not evaluate it."""
    REFUSED = "refused"
    """It is there, it was read, and it is not right."""
    INTERNAL = "internal"
    """The verifier itself failed at it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One step of one document."""

    step: Step
    result: StepResult
    detail: str = ""
    """What was seen; why it failed, was not asked for or was not reached."""
    fault: Fault | None = None
    check: Check | None = None
    """Of a step that failed."""

    @property
    def code(self) -> str | None:
        """`log-proof.absent`; None where nothing is wrong."""
        return f"{self.step}.{self.fault}" if self.fault else None


SIGSTORE = (Step.FORMAT, Step.SIGNER, Step.SIGNATURE, Step.TIMESTAMP, Step.LOG_ENTRY, Step.LOG_PROMISE,
            Step.LOG_CHECKPOINT, Step.LOG_PROOF, Step.LOG_TRUST, Step.VALIDITY, Step.CHAIN, Step.SCT, Step.STATEMENT,
            Step.SUBJECT)
NOTARY = (Step.INTEGRITY, Step.PLUGIN, Step.AUTHENTICITY, Step.IDENTITY, Step.EXPIRY, Step.TIMESTAMP, Step.REVOCATION,
          Step.SUBJECT, Step.ANNOTATIONS)
LOG = (Step.LOG_ENTRY, Step.LOG_PROMISE, Step.LOG_CHECKPOINT, Step.LOG_PROOF, Step.LOG_TRUST)
WHO = (Step.IDENTITY, Step.ISSUER, Step.CLAIMS)
"""What is asked of a signer once its signature holds."""


class Trace:
    """The steps of one document so far."""

    asked = True
    """Whether anybody reads it."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._begun: Step | None = None

    def begin(self, step: Step) -> None:
        """Whatever is raised now is of this step."""
        self._begun = step

    def passed(self, detail: Detail = "", *, step: Step | None = None) -> None:
        """The step that was begun, or another one, passed."""
        which = step or self._begun
        assert which is not None  # a verifier begins a step before it passes
        self.taken.append(Taken(which, StepResult.PASSED, _said(detail)))
        if step is None:
            self._begun = None

    def skipped(self, why: Detail, *steps: Step) -> None:
        self.taken += [Taken(step, StepResult.NOT_ASKED, _said(why)) for step in steps]

    def failed(self, error: Exception, check: Check | None = None, *, step: Step | None = None,
               result: StepResult = StepResult.FAILED) -> None:
        """The step that was begun failed, or another one."""
        which = step or self._begun or Step.FORMAT
        self._begun = None
        self.taken.append(Taken(which, result, str(error) or type(error).__name__, fault_of(error), check))

    def restart(self) -> None:
        """The document is verified again, on other terms."""
        self.taken = [entry for entry in self.taken if entry.step is Step.DOCUMENT]
        self._begun = None

    def close(self, steps: Iterable[Step]) -> None:
        """Those that were not taken are not reached."""
        known = {entry.step for entry in self.taken}
        self.taken += [Taken(step, StepResult.NOT_REACHED) for step in steps if step not in known]

    @property
    def failure(self) -> Taken | None:
        return next((entry for entry in self.taken if entry.result is StepResult.FAILED), None)


class _Silent(Trace):
    """Nobody asked."""

    asked = False

    def begin(self, step: Step) -> None:
        """Keeps nothing."""

    def passed(self, detail: Detail = "", *, step: Step | None = None) -> None:
        """Keeps nothing."""

    def skipped(self, why: Detail, *steps: Step) -> None:
        """Keeps nothing."""

    def failed(self, error: Exception, check: Check | None = None, *, step: Step | None = None,
               result: StepResult = StepResult.FAILED) -> None:
        """Keeps nothing."""

    def close(self, steps: Iterable[Step]) -> None:
        """Keeps nothing."""


SILENT: Trace = _Silent()


def fault_of(error: Exception) -> Fault:
    if isinstance(error, MalformedError):
        return Fault.MALFORMED
    if isinstance(error, UnsupportedError):
        return Fault.UNSUPPORTED
    if isinstance(error, VerificationError):
        return Fault.ABSENT if error.absent else Fault.REFUSED
    if isinstance(error, DeniedError):
        return Fault.REFUSED
    return Fault.INTERNAL


def _said(detail: Detail) -> str:
    return detail if isinstance(detail, str) else detail()
