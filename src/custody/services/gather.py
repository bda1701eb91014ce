"""Gather: everything that is known about an image, fetched and verified, before anybody decides.

    image reference → registry client (digest) → list of documents → each fetched and verified → EvidenceSet

What cannot be had or does not verify is part of the answer, with its state and reason. Answers are kept for a few
seconds by digest, so that a burst of pods asks once; a newer attestation counts when that time is over.

An image may come from anywhere and be about anything, so what one image costs is bounded, and ends: bytes, documents,
seconds, memory. Above a bound that image is unverifiable, and no other is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from custody.errors import CustodyError, NetworkError, NotFoundError, VerificationError
from custody.evidence.model import EvidenceSet, Rejected, State, Verified, unreached
from custody.formats import notary, oci, reference
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.kit.concurrency import together
from custody.kit.digest import sha256
from custody.ports.lookup import Authority, BlobEvidence, ImageEvidence
from custody.registry.budget import Budget
from custody.registry.client import RegistryClient
from custody.services.artifacts import notarized
from custody.services.evidencecache import EvidenceCache
from custody.services.pace import Pace
from custody.services.remembered import Probe, Remembered
from custody.services.verify import Terms, Unlogged, sort
from custody.services.verifying import Share, Verifying, memory_of
from custody.sign.blob import blob_evidence
from custody.sign.keys import PublicKey, load_public_key
from custody.sign.listing import Document, Limits, Listing, fetch_document, list_documents, list_notary
from custody.sign.trusting import trust_of
from custody.sign.verify import Trust
from custody.trust.roots import TrustedRoot

if TYPE_CHECKING:
    from custody.registry.credentials import Ask, Credential
    from custody.services.notaryevidence import NotaryTrust, Reading

_LOG = logging.getLogger(__name__)
_MIB = 1024 * 1024
_LONGEST_ERROR = 1.5  # seconds for which a failure counts
_NAME = 1024  # bytes that a resolved tag takes in the cache


@dataclass(frozen=True, slots=True)
class Bounds:
    """What gathering may cost. Above one of them, an image is unverifiable."""

    seconds: float = 30.0
    """For one image; who asks may have less time, and its work ends when nobody waits for it any more."""
    documents: Limits = field(default_factory=lambda: Limits(documents=200, document=8 * _MIB, total=32 * _MIB))
    """For one image: documents of kinds and types that somebody can use."""
    weight: int = 40 * _MIB
    """Memory that one document may take once parsed."""
    images: int = 8
    """Images of one review that are asked for at once."""
    at_once: int = 4
    """Documents of one image that are fetched at once."""
    memory: int = 48 * _MIB
    """For all images that are being gathered, in this process: what came and what was parsed of it."""
    kept: int = 48 * _MIB
    """For all that is kept."""


class Gatherer:
    """One registry client, one trust root; `keep` is how many seconds an answer counts."""

    def __init__(self, client: RegistryClient, root: TrustedRoot | None, clock: Clock, *, keep: float = 10.0,
                 bounds: Bounds = Bounds(), remembered: Remembered | None = None,
                 notation: NotaryTrust | None = None) -> None:
        """`remembered` has what was gathered before, for when a registry does not answer; `notation` says whose
        signatures of the Notary Project count, where no policy does."""
        self._client = client
        self._root = root
        self._clock = clock
        self._bounds = bounds
        self._cache = EvidenceCache(keep=keep, keep_errors=min(keep, _LONGEST_ERROR), max_bytes=bounds.kept)
        self._verifying = Verifying()
        self._memory = _Memory(bounds.memory)
        self._pace = Pace()
        self._notation = notation
        self.remembered = remembered

    @property
    def client(self) -> RegistryClient:
        """For what is asked of registries beside evidence."""
        return self._client

    async def gather(self, images: Iterable[str] | Mapping[str, frozenset[str]], keys: Iterable[bytes] = (), *,
                     root: TrustedRoot | None = None) -> dict[str, EvidenceSet]:
        """Evidence by the images' names as given; whatever goes wrong with one is said of that one.

        A mapping has the predicate types that are of use to somebody (`https://sigstore.dev/cosign/sign/v1` for
        signatures): other documents are named and not fetched. `keys` are PEM public keys to verify with, beside the
        trust root: `root`, or this gatherer's own.
        """
        names = list(dict.fromkeys(images))
        pems, trusted, notation = tuple(keys), root or self._root, await self._reading()
        gate = asyncio.Semaphore(self._bounds.images)

        async def of_image(position: int, name: str) -> EvidenceSet:
            async with gate:
                predicate_types = images[name] if isinstance(images, Mapping) else None
                question = _Question(pems, predicate_types, trusted, notation=notation)
                return await self._of_image(name, question, position)

        return dict(zip(names, await together(of_image(*place) for place in enumerate(names)), strict=True))

    def known(self, images: Mapping[str, frozenset[str]], keys: Iterable[bytes] = (), *,
              root: TrustedRoot | None = None) -> dict[str, EvidenceSet] | None:
        """What `gather` would give now without waiting; None where it would wait, as it does for a folder of trust
        policies, or says what went wrong."""
        if self._notation is not None:
            return None
        evidence = self._held(images, tuple(keys), root, None)
        return evidence if len(evidence) == len(images) else None

    async def held(self, images: Mapping[str, frozenset[str]], keys: Iterable[bytes] = (), *,
                   root: TrustedRoot | None = None) -> dict[str, EvidenceSet]:
        """Of these, what `gather` would give now without asking a registry."""
        return self._held(images, tuple(keys), root, await self._reading())

    async def demanded(self, asked: ImageEvidence, logins: Mapping[str, str],
                       root: TrustedRoot | None = None) -> EvidenceSet:
        """What a policy's question asks for, on its own terms; never raises for what the world did.

        `logins` are JSON texts of the Secrets that it names. `root` counts where it names none, or this gatherer's own.
        """
        question = _Question((), frozenset(asked.predicate_types), root or self._root, asked.authority,
                             tuple(sorted(logins.items())))
        if not asked.authority.fresh:
            return await self._of_image(asked.image, question, 0)
        try:
            ref = reference.parse(asked.image)
            return await self._collect(ref.at(ref.digest or await self._resolve(ref, question)), question)
        except NotFoundError as error:
            return unreached(State.MISSING, error.message)
        except CustodyError as error:
            return unreached(State.UNVERIFIABLE, error.message)

    async def signed(self, asked: BlobEvidence, root: TrustedRoot | None = None) -> EvidenceSet:
        """Whose a signature is that was not fetched: by `root`, or this gatherer's own. Never raises for what it is."""
        return blob_evidence(asked, root or self._root, self._clock())

    def asking(self, ref: Reference, authority: Authority, logins: Mapping[str, str]) -> RegistryClient:
        """The client for an image, with logins and as the authority says."""
        question = _Question((), None, None, authority, tuple(sorted(logins.items())))
        return self._client_for(ref, question).within(Budget(self._bounds.seconds, self._bounds.documents.total))

    def forget(self, name: str = "", digest: str = "", tags: Collection[str] = ()) -> None:
        """Ask everything anew the next time; with a name, what is known of that digest and what these tags mean."""
        if not name:
            self._cache.forget()
            return
        tagged = {f"{name}:{tag}" for tag in tags}
        self._cache.forget(lambda key: isinstance(key, tuple) and (
            key[:2] == (name, digest) or (key[0] == "digest" and key[1] in tagged)))

    async def _reading(self) -> Reading | None:
        return await self._notation.read() if self._notation is not None else None

    def _held(self, images: Mapping[str, frozenset[str]], keys: tuple[bytes, ...], root: TrustedRoot | None,
              notation: Reading | None) -> dict[str, EvidenceSet]:
        trusted = root or self._root
        kept = {name: self._kept(name, _Question(keys, predicate_types, trusted, notation=notation))
                for name, predicate_types in images.items()}
        return {name: about for name, about in kept.items() if about is not None}

    async def _of_image(self, name: str, question: _Question, position: int) -> EvidenceSet:
        try:
            ref = reference.parse(name)
            # Before the work, not in it: who waits for the same image may come first in his own review.
            named = ("digest", str(ref), question.logins, question.connection)
            if not self._cache.holds(named if ref.digest is None else (ref.name, ref.digest, question)):
                await self._pace.turn(position)
            meant: EvidenceSet | None = None
            if ref.digest is None:
                # The name as it is asked for is the key, so that a 404 for one image says nothing of others.
                meant = await self._cache.get(named, lambda: self._meant(ref, question), lambda _: _NAME)
                ref = ref.at(meant.subject)
            key = (ref.name, ref.digest, question)
            gathered = await self._cache.get(key, lambda: self._known(ref, question), lambda gathered: gathered.weight)
            return gathered if meant is None or meant.stale_since is None else _of_old_tag(gathered, meant)
        except NotFoundError as error:
            return unreached(State.MISSING, error.message)
        except CustodyError as error:
            return unreached(State.UNVERIFIABLE, error.message)
        except Exception as error:
            _LOG.exception("evidence of an image could not be gathered")
            return unreached(State.UNVERIFIABLE, f"{name[:200]!r}: gathering failed with {type(error).__name__}")

    def _kept(self, name: str, question: _Question) -> EvidenceSet | None:
        """What `_of_image` would have of the cache alone."""
        try:
            ref = reference.parse(name)
        except CustodyError:
            return None
        meant: EvidenceSet | None = None
        if ref.digest is None:
            meant = self._cache.known(("digest", str(ref), question.logins, question.connection))
            if meant is None:
                return None
            ref = ref.at(meant.subject)
        gathered: EvidenceSet | None = self._cache.known((ref.name, ref.digest, question))
        return gathered if gathered is None or meant is None or meant.stale_since is None else (
            _of_old_tag(gathered, meant))

    async def _meant(self, ref: Reference, question: _Question) -> EvidenceSet:
        """What a tag means: of evidence the subject alone. It is stale where that could not be looked up anew."""
        async def resolve() -> EvidenceSet:
            return EvidenceSet(subject=await self._resolve(ref, question))

        if self.remembered is None:
            return await resolve()
        place = sha256(msgspec.json.encode(question.connection))
        return await self.remembered.gather(f"tag {ref} {place}", ref.registry, resolve, self._probe(ref, question),
                                            moves=True)

    async def _known(self, ref: Reference, question: _Question) -> EvidenceSet:
        if self.remembered is None:
            return await self._collect(ref, question)
        # Of the image and of all that its evidence is verified by; logins only say who may read.
        name = f"{ref} {_terms_digest(question)}{f' {question.notation.digest}' if question.notation else ''}"
        return await self.remembered.gather(name, ref.registry, lambda: self._collect(ref, question),
                                            self._probe(ref, question))

    def _probe(self, ref: Reference, question: _Question) -> Probe:
        return lambda: self._client_for(ref, question).ping(ref)

    async def _resolve(self, ref: Reference, question: _Question) -> str:
        budget = Budget(self._bounds.seconds, self._bounds.documents.total)
        return (await self._client_for(ref, question).within(budget).resolve(ref)).digest

    def _client_for(self, ref: Reference, question: _Question) -> RegistryClient:
        """With the logins of the question where it has some."""
        insecure = question.authority is not None and question.authority.insecure
        ca = question.authority.registry_ca if question.authority is not None else ""
        providers = question.authority.providers if question.authority is not None else ()
        if not (question.logins or insecure or ca or providers):
            return self._client
        from custody.registry.credentials import credential_in, find_credential
        from custody.registry.providers import provided

        logins = dict(question.logins)

        def find(host: str, repository: str, ask: Ask) -> Credential | None:
            return (credential_in(logins, host, repository) or provided(providers, host, ask=ask)
                    or find_credential(host, repository, ask=ask))

        return self._client.knowing(find, plain_http=[ref.registry] if insecure else [], ca=ca)

    async def _collect(self, ref: Reference, question: _Question) -> EvidenceSet:
        bounds = self._bounds
        terms = _terms(question, bounds.weight)
        with self._memory.held(str(ref)) as held:
            client = self._client_for(ref, question).within(_Charged(bounds.seconds, bounds.documents.total, held))
            try:
                async with asyncio.timeout(bounds.seconds):
                    # The image itself is asked for too: evidence about something that is not there admits nothing.
                    listing, subject = await together((self._list(client, ref, question), client.resolve(ref)))
                    assert isinstance(listing, Listing)
                    assert isinstance(subject, oci.Descriptor)
                    share, gate = Share(), asyncio.Semaphore(bounds.at_once)
                    judged = await together(self._judge(client, ref, document, terms, share, gate, held, (
                        question.notation, subject)) for document in listing.documents)
                    if question.authority is not None and question.authority.notary:
                        judged += await notarized(
                            client, ref, question.predicate_types or frozenset(), bounds.documents,
                            lambda place, document: self._judge(client, place, document, terms, share, gate, held))
            except TimeoutError:
                raise NetworkError(f"{ref}: evidence did not come within {bounds.seconds:g} s") from None
            return sort(str(ref.digest), judged, listing.rejected, held.parsed + _NAME * (1 + len(listing.rejected)))

    async def _list(self, client: RegistryClient, ref: Reference, question: _Question) -> Listing:
        authority, limits = question.authority or Authority(), self._bounds.documents
        place = reference.parse(authority.repository).at(str(ref.digest)) if authority.repository else ref
        if authority.notary:
            return await list_notary(client, place, limits, apart=bool(authority.repository))
        return await list_documents(client, place, unsigned=False, predicate_types=question.predicate_types,
                                    limits=limits, artifacts=authority.artifacts, apart=bool(authority.repository),
                                    notation=question.notation is not None)

    async def _judge(self, client: RegistryClient, ref: Reference, document: Document, terms: Terms, share: Share,
                     gate: asyncio.Semaphore, held: _Held,
                     by: tuple[Reading | None, oci.Descriptor | None] = (None, None)) -> Verified | Rejected:
        async with gate:
            evidence = await fetch_document(client, str(ref.digest), document, self._bounds.documents)
            if isinstance(evidence, Rejected):
                return evidence
            notation, subject = by
            if notation is not None and subject is not None and evidence.media_type in notary.ENVELOPES:
                result = await notation.judge(client, ref, subject, evidence)
                memory = memory_of(result)
            else:
                result, memory = await self._verifying.verify(share, evidence, terms, self._clock)
        held.take(memory)
        held.give_back(len(evidence.data))
        held.parsed += memory
        return result


@dataclass(frozen=True, slots=True)
class _Question:
    """For whom evidence is gathered: the keys and the root it is verified with, and the types that are read."""

    keys: tuple[bytes, ...]
    predicate_types: frozenset[str] | None
    root: TrustedRoot | None = field(hash=False)
    authority: Authority | None = None
    """Whom a policy believes instead."""
    logins: tuple[tuple[str, str], ...] = ()
    notation: Reading | None = None
    """Whose signatures of the Notary Project count, where no policy says so."""

    @property
    def connection(self) -> tuple[bool, str]:
        """By what a registry's word is believed: whether plain HTTP will do, and which certificates."""
        return (self.authority.insecure, self.authority.registry_ca) if self.authority is not None else (False, "")


@lru_cache(64)
def _terms_digest(question: _Question) -> str:
    root = question.root.to_json() if question.root is not None else b""
    types = None if question.predicate_types is None else sorted(question.predicate_types)
    return sha256(msgspec.json.encode([question.keys, types, sha256(root), question.authority], order="deterministic"))


@lru_cache(64)
def _terms(question: _Question, weight: int) -> Terms:
    """Raises MalformedError, UnsupportedError or VerificationError for an authority that nobody can be."""
    if question.authority is not None:
        trust = trust_of(question.authority, question.root, max_weight=weight)
        return Terms(trust, unlogged=Unlogged.KEYS) if question.authority.also else Terms(trust)
    # A policy may accept a key's signature without a log; it sees that `log` is None.
    return Terms(Trust(question.root, _loaded(question.keys), max_weight=weight), unlogged=Unlogged.KEYS)


@lru_cache(64)
def _loaded(pems: tuple[bytes, ...]) -> tuple[PublicKey, ...]:
    return tuple(load_public_key(pem, "policy key") for pem in pems)


def _of_old_tag(gathered: EvidenceSet, meant: EvidenceSet) -> EvidenceSet:
    """What is known of the digest that a tag was found to mean before."""
    since = meant.stale_since
    older = gathered.stale_since is None or (since is not None and since < gathered.stale_since)
    return msgspec.structs.replace(gathered, tag_since=since, stale_since=since if older else gathered.stale_since,
                                   stale_reason=meant.stale_reason if older else gathered.stale_reason)


class _Held:
    """What one image holds of the memory for all."""

    def __init__(self, memory: _Memory, name: str) -> None:
        self._memory = memory
        self._task = asyncio.current_task()
        self.name = name
        self.size = 0
        self.parsed = 0
        self.given_up: str | None = None

    def take(self, size: int) -> None:
        self.size += size
        self._memory.grow(size)

    def give_back(self, size: int) -> None:
        self.size -= size
        self._memory.grow(-size)

    def give_up(self, reason: str) -> None:
        """End all work on this image; what was found so far is not all, so none of it counts."""
        if self.given_up is None and self._task is not None:
            self.given_up = reason
            self._task.cancel()


class _Memory:
    """Nobody waits for memory: where there is too little, the image that holds most gives up, and says so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._held: set[_Held] = set()

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[_Held]:
        held = _Held(self, name)
        self._held.add(held)
        try:
            yield held
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if held.given_up is None or task is None:
                raise
            task.uncancel()
            raise VerificationError(f"{name}: {held.given_up}") from None
        finally:
            self._held.discard(held)
            self._size -= held.size

    def grow(self, size: int) -> None:
        self._size += size
        if size <= 0 or self._size <= self._limit:
            return
        staying = [held for held in self._held if held.given_up is None]
        if sum(held.size for held in staying) > self._limit:
            most = max(staying, key=lambda held: held.size)
            most.give_up(f"its evidence takes {most.size} bytes of memory, the most of all images that are being "
                         f"gathered, and there are {self._limit} for them together")


class _Charged(Budget):
    """A budget whose bytes are held in memory, too."""

    def __init__(self, seconds: float, max_bytes: int, held: _Held) -> None:
        super().__init__(seconds, max_bytes)
        self._held = held

    def charge(self, count: int) -> None:
        try:
            super().charge(count)
        except VerificationError as error:
            self._held.give_up(error.message)
            raise
        self._held.take(count)
