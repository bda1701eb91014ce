"""What was found about an artifact and what a verifier did with each document of it, for `--explain`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from custody.errors import Check, CustodyError, NotFoundError, VerificationError
from custody.evidence.model import Evidence, Rejected, State, Verified
from custody.kit.digest import sha256
from custody.sign.referrers import Gathered
from custody.sign.steps import NOTARY, SIGSTORE, WHO, Fault, Step, StepResult, Taken, Trace


@dataclass(slots=True)
class Document:
    """One document on its way."""

    source: str
    media_type: str = ""
    """"" where it has none, or was not looked at."""
    digest: str | None = None
    steps: tuple[Step, ...] = ()
    """Those that it would take if none failed; none where it was not looked at."""
    trace: Trace = field(default_factory=Trace)
    signer: str | None = None
    """Who signed it, once a verifier vouches for that."""
    kind: str | None = None
    """Predicate type, likewise."""
    aside: str = ""
    """Why it does not count although no step failed."""

    @property
    def counts(self) -> bool:
        return self.signer is not None and self.trace.failure is None and not self.aside

    def to_json(self) -> dict[str, Any]:
        failure = self.trace.failure
        return {"source": self.source, "mediaType": self.media_type or None, "digest": self.digest,
                "predicateType": self.kind, "signer": self.signer, "counts": self.counts, "aside": self.aside or None,
                "failure": _of_step(failure) if failure else None,
                "steps": [_of_step(entry) for entry in self.trace.taken]}


def _of_step(entry: Taken) -> dict[str, Any]:
    made: dict[str, Any] = {"step": entry.step, "result": entry.result, "detail": entry.detail}
    return made | {"code": entry.code, "check": entry.check} if entry.fault else made


class Telling:
    """All documents about one artifact. `after` are the steps that the caller itself takes, in their order."""

    def __init__(self, *after: Step) -> None:
        self.documents: list[Document] = []
        self._after = after
        self._by_source: dict[str, Document] = {}

    def judged(self, gathered: Gathered, judge: Callable[[Evidence, Trace], Verified | Rejected]
               ) -> list[Verified | Rejected]:
        """What `judge` says of each document; what was not read is put beside them."""
        results = []
        for evidence in gathered.evidence:
            results.append(judge(evidence, self.open(evidence.source, evidence.data, evidence.media_type)))
            self.vouched(results[-1])
        for rejected in gathered.rejected:
            self.unread(rejected)
        return results

    def open(self, source: str, data: bytes, media_type: str, *, notary: bool = False) -> Trace:
        """The trace for a document that a verifier is given now."""
        document = Document(source, media_type, sha256(data), NOTARY if notary else (*SIGSTORE, *WHO, *self._after))
        document.trace.passed(f"{len(data)} bytes", step=Step.DOCUMENT)
        self._put(document)
        return document.trace

    def vouched(self, judged: Verified | Rejected) -> None:
        """How it came out for the document of that source."""
        if isinstance(judged, Verified):
            self.closed(judged.source, str(judged.signer), kind=judged.predicate_type)

    def closed(self, source: str, signer: str | None, aside: str = "", kind: str | None = None) -> None:
        document = self._by_source[source]
        document.signer, document.aside, document.kind = signer, aside, kind

    def broken(self, source: str, error: CustodyError) -> None:
        """One that is there by its name, and cannot be had."""
        fault = Fault.ABSENT if isinstance(error, NotFoundError) else Fault.REFUSED
        document = Document(source)
        document.trace.taken.append(Taken(Step.DOCUMENT, StepResult.FAILED, error.message, fault))
        self._put(document)

    def passed_over(self, source: str, why: str) -> None:
        """One that is there and was not looked at."""
        document = Document(source)
        document.trace.skipped(why, Step.DOCUMENT)
        self._put(document)

    def unread(self, rejected: Rejected) -> None:
        if rejected.state is State.UNVERIFIABLE:
            self.passed_over(rejected.source, rejected.reason)
        elif rejected.state is State.MISSING:
            self.broken(rejected.source, NotFoundError(rejected.reason))
        else:
            self.broken(rejected.source, VerificationError(rejected.reason))

    def _put(self, document: Document) -> None:
        known = self._by_source.get(document.source)
        if document.steps and known is not None and not known.steps:  # it was passed over, and now somebody looks at it
            self.documents.remove(known)
        self.documents.append(document)
        self._by_source[document.source] = document

    def trace(self, verified: Verified) -> Trace:
        """Of the document that was verified, for steps that the caller takes."""
        return self._by_source[verified.source].trace

    def narrow(self, step: Step, verified: Verified, reason: str | None, detail: str) -> None:
        """A step that the caller takes: the document does not count for a reason, or passed."""
        trace = self._by_source[verified.source].trace
        if trace.failure is not None:
            return
        if reason is None:
            trace.passed(detail, step=step)
        else:
            trace.failed(VerificationError(reason), Check.STATEMENT, step=step)

    def skip(self, step: Step, verified: Verified, why: str) -> None:
        """A step that nobody asks for."""
        trace = self._by_source[verified.source].trace
        if trace.failure is None:
            trace.skipped(why, step)

    def close(self) -> list[Document]:
        """All of them, each with the steps that it did not reach."""
        for document in self.documents:
            document.trace.close(document.steps)
        return self.documents
