"""Signatures of the Notary Project as evidence, by the trust policy and the trust stores of a notation directory.

The settings name the directory. Its documents are read for each signature: whoever changes them is heeded at once, and
what is wrong with them is said of each signature, none of which counts then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from custody.errors import CustodyError, UsageError, VerificationError
from custody.evidence.model import Evidence, Rejected, State, Verified
from custody.formats import intoto, notary, oci
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.kit.digest import sha256
from custody.ports.http import Http
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import Directory, read_document
from custody.sign.notary.evidence import vouched
from custody.sign.notary.revocation import OnlineRevocations
from custody.sign.notary.trustpolicy import SKIP, Document, parse_oci
from custody.sign.notary.truststore import DirectoryStores
from custody.sign.notary.verify import Verifier
from custody.sign.steps import SILENT, Trace

_LOG = logging.getLogger(__name__)


class NotaryTrust:
    """One directory. Verification plugins are not run: what asks for one does not count."""

    def __init__(self, directory: Directory, http: Http, clock: Clock,
                 ready: Callable[[], object] = lambda: None) -> None:
        """`ready` is called before a revocation list is kept: it makes what the cache is to stand in."""
        self._directory = directory
        self._verifier = Verifier(DirectoryStores(directory), OnlineRevocations(
            http, clock, ListCache(directory.revocation_lists, ready)), clock)

    @property
    def digest(self) -> str:
        """Of the trust policy, by which evidence that was gathered before is known again; "" where there is none."""
        try:
            return sha256(self._document())
        except UsageError:
            return ""

    async def judge(self, ref: Reference, subject: oci.Descriptor, evidence: Evidence, trace: Trace = SILENT
                    ) -> Verified | Rejected:
        """A signature beside the image `ref`; never raises for what it is, nor for what the directory is."""
        try:
            statement = (await asyncio.to_thread(self._policy)).for_image(ref.name)
            if statement.level == SKIP:
                return _rejected(evidence, State.UNVERIFIABLE, f"trust policy {statement.name} skips verification: "
                                 "nobody vouches for the image then")
            target = notary.Target(subject.media_type, subject.digest, subject.size, {})
            outcome = await self._verifier.verify(evidence.data, evidence.media_type, statement, lambda _: target,
                                                  trace=trace)
            return vouched(evidence, outcome)
        except VerificationError as error:
            return _rejected(evidence, State.FAILED, error.message, error)
        except CustodyError as error:
            return _rejected(evidence, State.UNVERIFIABLE, error.message)
        except Exception as error:
            # A verifier's own fault, brought about by a document, costs that document and not the one beside it.
            _LOG.exception("a signature of the Notary Project could not be verified")
            return _rejected(evidence, State.UNVERIFIABLE, f"verifying it failed with {type(error).__name__}")

    def _policy(self) -> Document:
        """Raises UsageError, MalformedError, UnsupportedError."""
        return parse_oci(self._document(), "trust policy")

    def _document(self) -> bytes:
        """Raises UsageError where there is none, or none that can be read."""
        for path in self._directory.oci_policies:
            if (data := read_document(path)) is not None:
                return data
        raise UsageError(f"{self._directory.oci_policies[-1]}: there is no trust policy",
                         hint="`notation` in custody.toml names its folder")


def _rejected(evidence: Evidence, state: State, reason: str, error: VerificationError | None = None) -> Rejected:
    return Rejected(subject=evidence.subject, evidence=evidence.digest, source=evidence.source, state=state,
                    reason=reason, predicate_type=intoto.COSIGN_SIGN, check=error.check if error else None)
