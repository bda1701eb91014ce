"""Signatures of the Notary Project as evidence, by the trust policy and the trust stores of a notation directory.

The settings name the directory. All of it that decides is read for each question, and has one digest: whoever changes
it is heeded at once, and what was gathered by what it said before does not count any more. What is wrong with it is
said of each signature, none of which counts then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from custody.errors import Check, CustodyError, UsageError, VerificationError
from custody.evidence.model import Evidence, Rejected, State, Verified
from custody.formats import intoto, notary, oci
from custody.formats.reference import Reference
from custody.kit.clock import Clock, format_rfc3339
from custody.kit.digest import is_digest, sha256
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.services.notaryplaces import registry_staples
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import Directory, read_document
from custody.sign.notary.evidence import vouched
from custody.sign.notary.revocation import OnlineRevocations
from custody.sign.notary.stapled import Staples
from custody.sign.notary.trustpolicy import SKIP, Document, parse_oci
from custody.sign.notary.truststore import DirectoryStores
from custody.sign.notary.verify import Verifier
from custody.sign.steps import SILENT, Trace

_LOG = logging.getLogger(__name__)
_Certificates = tuple[x509.Certificate, ...]


class NotaryTrust:
    """One directory. Verification plugins are not run: what asks for one does not count."""

    def __init__(self, directory: Directory, http: Http, clock: Clock,
                 ready: Callable[[], object] = lambda: None, max_staple_age: timedelta | None = None) -> None:
        """`ready` is called before a revocation list is kept: it makes what the cache is to stand in. How long ago
        stapled answers may have been given is `max_staple_age`, None for as long as they say themselves."""
        self._directory = directory
        self._clock = clock
        self._max_staple_age = max_staple_age
        self._revocations = OnlineRevocations(http, clock, ListCache(directory.revocation_lists, ready))

    async def read(self) -> Reading:
        """What the directory says now; never raises for what it is."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Reading:
        said = None
        stores = _Stores({})
        try:
            said = read_document(self._directory.oci_policy)
            if said is None:
                raise UsageError(f"{self._directory.oci_policy}: there is no trust policy",
                                 hint="`notation` in custody.toml names its folder")
            policy: Document | CustodyError = parse_oci(said)
        except CustodyError as error:
            policy = error
        else:
            assert isinstance(policy, Document)
            stores = _Stores.of(DirectoryStores(self._directory), (
                store for statement in policy.statements for store in statement.trust_stores))
        reason = policy.message if isinstance(policy, CustodyError) else ""
        digest = sha256(msgspec.json.encode([sha256(said or b""), reason, stores.identity]))
        return Reading(digest, policy, Verifier(stores, self._revocations, self._clock,
                                                max_staple_age=self._max_staple_age))


@dataclass(frozen=True, slots=True)
class Reading:
    """A directory at one moment: what is judged by it is judged by that alone."""

    digest: str
    """Of the trust policy and of every certificate of the stores that it names."""
    policy: Document | CustodyError = field(compare=False)
    """Or what is wrong with it."""
    verifier: Verifier = field(compare=False)

    async def judge(self, client: RegistryClient, ref: Reference, subject: oci.Descriptor, evidence: Evidence,
                    trace: Trace = SILENT) -> Verified | Rejected:
        """A signature beside the image `ref`; never raises for what it is, nor for what the directory is. `client` is
        asked what is stapled to it, where nobody can be asked of revoked certificates."""
        try:
            if isinstance(self.policy, CustodyError):
                return _rejected(evidence, State.UNVERIFIABLE, self.policy.message)
            statement = self.policy.for_image(ref.name)
            if statement.level == SKIP:
                return _rejected(evidence, State.UNVERIFIABLE, f"trust policy {statement.name} skips verification: "
                                 "nobody vouches for the image then")
            target = notary.Target(subject.media_type, subject.digest, subject.size, {})
            outcome = await self.verifier.verify(evidence.data, evidence.media_type, statement, lambda _: target,
                                                 trace=trace, staples=partial(_stapled, client, ref, evidence.source))
            for answer in outcome.stapled:
                _LOG.info("%s: %s: %s %s as stapled, answered at %s; now: %s", ref, evidence.source, answer.subject,
                          answer.state, format_rfc3339(answer.said_at), answer.reason)
            return vouched(evidence, outcome)
        except VerificationError as error:
            return _rejected(evidence, State.FAILED, error.message, error)
        except CustodyError as error:
            return _rejected(evidence, State.UNVERIFIABLE, error.message)
        except Exception as error:
            # A verifier's own fault, brought about by a document, costs that document and not the one beside it.
            _LOG.exception("a signature of the Notary Project could not be verified")
            return _rejected(evidence, State.UNVERIFIABLE, f"verifying it failed with {type(error).__name__}")


async def _stapled(client: RegistryClient, ref: Reference, source: str) -> Staples:
    digest = source.removeprefix("referrer ")
    return await registry_staples(client, ref.at(digest)) if is_digest(digest) else Staples()


class _Stores:
    """The trust stores as they were read."""

    def __init__(self, held: Mapping[tuple[str, str], _Certificates | str]) -> None:
        """By type and name; the words of what is wrong with one in place of its certificates."""
        self._held = held

    @classmethod
    def of(cls, stores: DirectoryStores, named: Iterable[tuple[str, str]]) -> _Stores:
        held: dict[tuple[str, str], _Certificates | str] = {}
        for store in sorted({*named}):
            try:
                held[store] = stores.certificates(*store)
            except VerificationError as error:
                held[store] = error.message
        return cls(held)

    @property
    def identity(self) -> list[tuple[tuple[str, str], list[str] | str]]:
        """Each store with the digests of its certificates."""
        return [(store, content if isinstance(content, str) else sorted(
            sha256(certificate.public_bytes(Encoding.DER)) for certificate in content))
            for store, content in self._held.items()]

    def certificates(self, store_type: str, name: str) -> _Certificates:
        """See TrustStores."""
        content = self._held[store_type, name]
        if isinstance(content, str):
            raise VerificationError(content, check=Check.CERTIFICATE)
        return content


def _rejected(evidence: Evidence, state: State, reason: str, error: VerificationError | None = None) -> Rejected:
    return Rejected(subject=evidence.subject, evidence=evidence.digest, source=evidence.source, state=state,
                    reason=reason, predicate_type=intoto.COSIGN_SIGN, check=error.check if error else None)
