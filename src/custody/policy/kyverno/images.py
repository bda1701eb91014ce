"""`verifyImages` rules: who must have signed an image and attested what (Kyverno pkg/engine/internal/imageverifier.go).

Evidence comes verified; here it is held against what a policy demands: identities, logs, counts and conditions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import EvidenceSet, State, Verified
from custody.formats import intoto
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.kyverno.attestors import PUBLIC_REKOR, Attestor, Attestors
from custody.policy.kyverno.attestors import regexp as _regexp
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.sought import Sought, pull_secrets
from custody.policy.kyverno.variables import PREDICATE_ROOTS, variables
from custody.policy.lookup import Together
from custody.policy.model import Outcome
from custody.ports.lookup import PROVIDERS, Authority
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError
from policylang.go.wildcards import wildcard
from policylang.variables import Roots, Value, compile_value, has_variables

__all__ = ["PUBLIC_REKOR", "VerifyImages", "_regexp"]

_KNOWN = 4096  # images, of which it is remembered whether a rule is about them
_REQUEST = re.compile(r"\b(request|images|serviceAccount\w*)\b|@")
_SECRETS = "kyverno"
"""The namespace of Secrets that name none."""


class _Attestation(NamedTuple):
    kind: str
    path: str
    name: str
    attestors: list[Attestor]
    conditions: Conditions | None


class _Deny(NamedTuple):
    """`validate.deny`: what all attestations together must not show."""

    conditions: Conditions
    message: str
    filled: Value | None


class VerifyImages:
    """One compiled entry of `verifyImages`."""

    def __init__(self, fields: Fields, *, every: bool = False, entries: Sequence[str] = (), draft: bool = False,
                 filled: bool = False) -> None:
        """`every`: each attestation of a signer must meet the conditions, not only the newest of its type.

        `entries` are the names of the rule's context. `draft`: only that all its fields are read is of interest; what
        has variables is not there yet. `filled`: it is, and nobody knows the keys that it names.
        """
        self._roots = PREDICATE_ROOTS.extended((), entries) if entries else PREDICATE_ROOTS
        self.where = fields.where
        self._every = every
        self.failure_action = fields.take("failureAction", str)
        self.references = fields.texts("imageReferences")
        old = _converted(fields)
        self.references += [old.image] if old.image else []
        if not self.references:
            raise MalformedError(fields.path("imageReferences"), got="nothing", expected="at least one image reference")
        skipped = fields.texts("skipImageReferences")
        self._known: dict[frozenset[str], bool] = {}
        self._wanted = [wildcard(_lowered(text)) for text in self.references]
        self._skipped = [wildcard(_lowered(text)) for text in skipped]
        kind = fields.take("type", str) or "Cosign"
        if kind not in ("Cosign", "SigstoreBundle", "Notary"):
            raise MalformedError(fields.path("type"), got=kind, expected="Cosign, SigstoreBundle or Notary")
        self.mutate_digest = fields.take("mutateDigest", bool) is not False
        self.verify_digest = fields.take("verifyDigest", bool) is not False
        self.required = fields.take("required", bool) is not False
        """Whether who only validates judges the image too, and does not leave that to who mutates."""
        base = _base(fields)
        self.authority = base if base.secrets or base.providers or base.insecure or base.fresh else None
        """Whom the image itself is asked for with, where that is nobody's usual way."""
        self._attestors_of = Attestors(kind, base, fields.text_map("annotations"), draft=draft,
                                       filled=filled)
        if old.attestors and not fields.has("attestations"):
            sets = [*(fields.take("attestors", list) or []), old.attestors]
        else:
            sets = fields.take("attestors", list) or []
        self._attestors = [
            (f".attestors[{at}]", self._set(entry, fields.path(f"attestors[{at}]"), f".attestors[{at}]"))
            for at, entry in enumerate(sets)]
        self.reads_request = bool(entries) or _REQUEST.search(
            f"{fields.peek('attestations')} {fields.peek('validate')}") is not None
        """Whether conditions may speak of more than the evidence, such as of how the pod names the image."""
        self._attestations = [self._attestation(attestation, f".attestations[{at}]", kind, old.attestors)
                              for at, attestation in enumerate(fields.each("attestations"))]
        self._deny = _deny(fields.inner("validate"), self._roots)
        fields.done()
        self._types = frozenset(self.predicate_types)

    @property
    def keys(self) -> list[bytes]:
        """PEM keys that whoever gathers verifies with."""
        return self._attestors_of.keys

    def wants(self, image: Image) -> bool:
        """Whether any spelling of the image is among the references: what guards must not be spelled around."""
        wanted = self._known.get(image.spellings)
        if wanted is None:
            wanted = any(match(spelling) for match in self._wanted for spelling in image.spellings)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[image.spellings] = wanted
        return wanted

    def skips(self, image: Image) -> bool:
        """Whether the image's one canonical name is exempt: what exempts must not be spelled into."""
        return bool(self._skipped) and any(match(image.name) for match in self._skipped)

    @property
    def predicate_types(self) -> set[str]:
        """The predicate types of statements that this entry can use."""
        return {attestation.kind for attestation in self._attestations} | (
            {intoto.COSIGN_SIGN} if self._attestors else set())

    @property
    def verifies(self) -> bool:
        return bool(self._attestors or self._attestations)

    def demands(self, given: Given, image: Image) -> bool:
        """Whether it has anything to say of an image: an entry may neither verify, nor require, nor pin."""
        return self.verifies or self.required or self.verify_digest or (
            given.changes and self.mutate_digest and not image.digest)

    def image_of(self, given: Given, image: Image) -> EvidenceSet | None:
        """What is known of an image, with its digest; None where nothing was gathered. Raises UnansweredError."""
        if self.authority is None:
            known = given.evidence_of(image)
            if known is None or known.subject or not pull_secrets(given):
                return known
        return self._sought(given, image, None).evidence(self.authority)

    # ── what is demanded ────────────────────────────────────────────────────────────────────────────────────────

    def _set(self, written: Any, where: str, path: str, *, nested: bool = True) -> Attestor:
        return self._attestors_of.compile(Fields(written, where), path, nested=nested)

    def _attestation(self, fields: Fields, path: str, kind: str, old: dict[str, Any] | None) -> _Attestation:
        named = fields.take("type", str) or fields.take("predicateType", str)
        fields.only("predicateType", named)
        if not named:
            raise MalformedError(fields.path("type"), got="nothing", expected="the predicate type of the attestation")
        name = fields.take("name", str) or ""
        entries = [*(fields.take("attestors", list) or []), *([old] if old else [])]
        attestors = [self._set(entry, fields.path(f"attestors[{at}]"), f"{path}.attestors[{at}]", nested=False)
                     for at, entry in enumerate(entries)]
        if kind == "Notary" and not attestors:
            raise MalformedError(fields.path("attestors"), got="nothing", expected="certificates, for type Notary")
        block = fields.any("conditions")
        fields.done()
        conditions = None if block is None else compile_conditions(
            block if isinstance(block, list) else [block], fields.path("conditions"), self._roots, explain=True)
        return _Attestation(named, path, name, attestors or [self._attestors_of.anybody(path)], conditions)

    # ── what is there ───────────────────────────────────────────────────────────────────────────────────────────

    def _sought(self, given: Given, image: Image, kind: str | None) -> Sought:
        reached = None if given.context.summaries is None else given.memo.setdefault((self, image.name, "reached"), {})
        return Sought(given, image, kind, self._types, every=self._every, unresolved=self.authority is not None,
                      reached=reached, keys=b"".join(self.keys).decode())

    def out_of_reach(self, given: Given, image: Image) -> bool:
        """Whether what `verify` looked for could not be had, none of it: nothing speaks against the image either."""
        reached: dict[str, bool] = given.memo.get((self, image.name, "reached"), {})
        return bool(reached) and not any(reached.values())

    def verify(self, given: Given, image: Image) -> tuple[Judgement, list[Verified]]:
        """The judgement on one image, and the statements it relies on. Raises UnansweredError, LookupFailedError."""
        evidence = self.image_of(given, image)
        if evidence is None:
            reason = f"no evidence was gathered ({State.MISSING})"
            return Judgement(Outcome.FAIL, f"failed to verify image {image.name}: {reason}",
                             "check that the registry can be reached and has this image"), []
        relied: list[Verified] = []
        # 1. Every attestor set must be satisfied by signatures.
        together = Together()
        for path, attestors in self._attestors:
            with together:
                attested = attestors(self._sought(given, image, None))
                if attested.problem is not None:
                    return Judgement(Outcome.FAIL, f"failed to verify image {image.name}: {attested.problem or path}",
                                     _remedy(image, evidence, "custody sign")), []
                relied += attested.statements
        together.done()
        # 2. For every attestation, each of its attestor sets must vouch, and what they vouch for must hold: of one
        #    signer the newest, since an older scan says nothing of today.
        shown: dict[str, Any] = {}
        for kind, path, name, sets, conditions in self._attestations:
            for attestors in sets:
                attested = attestors(self._sought(given, image, kind))
                problem = attested.problem
                if problem is None and conditions is not None:
                    problem = _check(conditions, attested.statements, given, image, kind)
                if problem is not None:
                    return Judgement(Outcome.FAIL, f"image attestations verification failed, {path}: {problem}",
                                     _remedy(image, evidence, f"custody attest --type {kind}")), []
                relied += attested.statements
                if name and attested.statements:
                    shown[name] = attested.statements[0].predicate
        # 3. What they show together must not be what is denied.
        if self._deny is not None and (problem := _denied(self._deny, shown, given)) is not None:
            return Judgement(Outcome.FAIL, f"validation in verifyImages failed: {problem}"), []
        proof = "attestations" if self._attestations else "signatures"
        return Judgement(Outcome.PASS, f"verified image {proof} for {image.name}"), relied

    @property
    def validates(self) -> bool:
        """Whether it has a `validate` block."""
        return self._deny is not None


class _Old(NamedTuple):
    """The flat fields of the first version, as an attestor set."""

    image: str
    attestors: dict[str, Any] | None


def _converted(fields: Fields) -> _Old:
    image, key, issuer = (fields.take(name, str) or "" for name in ("image", "key", "issuer"))
    subject, roots = fields.take("subject", str) or "", fields.take("roots", str) or ""
    extensions = fields.text_map("additionalExtensions")
    if key:
        entry: dict[str, Any] | None = {"keys": {"publicKeys": key}}
    elif issuer:
        entry = {"keyless": {"issuer": issuer, "subject": subject, "roots": roots,
                             "additionalExtensions": extensions}}
    else:
        entry = None
    if entry is None or key:
        for name, value in (("subject", subject), ("roots", roots), ("additionalExtensions", extensions)):
            if value:
                raise UnsupportedError(fields.path(name), "it counts beside issuer alone",
                                       hint="write attestors with entries of keyless")
    return _Old(image, {"entries": [entry]} if entry else None)


def _base(fields: Fields) -> Authority:
    """Where evidence is kept, and how the registry is asked."""
    repository, artifacts = fields.take("repository", str) or "", fields.take("cosignOCI11", bool) is True
    fresh = fields.take("useCache", bool) is False
    secrets: list[str] = []
    providers: tuple[str, ...] = ()
    insecure = False
    if (credentials := fields.inner("imageRegistryCredentials")) is not None:
        insecure = credentials.take("allowInsecureRegistry", bool) is True
        providers = named_providers(credentials)
        secrets = [name if "/" in name else f"{_SECRETS}/{name}" for name in credentials.texts("secrets")]
        credentials.done()
    return Authority(repository=repository, artifacts=artifacts, secrets=tuple(secrets), providers=providers,
                     insecure=insecure, fresh=fresh)


def named_providers(credentials: Fields) -> tuple[str, ...]:
    """Raises MalformedError. `default` is what this machine has, which is asked anyway."""
    names = credentials.texts("providers")
    for at, name in enumerate(names):
        if name != "default" and name not in PROVIDERS:
            raise MalformedError(f"{credentials.path('providers')}[{at}]", got=name,
                                 expected=f"default, {', '.join(PROVIDERS)}")
    return tuple(dict.fromkeys(name for name in names if name != "default"))


def _deny(fields: Fields | None, roots: Roots) -> _Deny | None:
    if fields is None:
        return None
    message, deny = fields.take("message", str) or "", fields.inner("deny")
    fields.done()
    if deny is None:
        return None
    block = deny.any("conditions")
    deny.done()
    if block is None:
        raise MalformedError(deny.path("conditions"), got="nothing", expected="any or all of conditions")
    return _Deny(compile_conditions(block, deny.path("conditions"), roots), message,
                 compile_value(message, fields.path("message"), roots))


def _denied(deny: _Deny, shown: dict[str, Any], given: Given) -> str | None:
    data = {**variables(given), **shown}
    try:
        holds, said = deny.conditions(data, given.context.now)
    except (CustodyError, LanguageError) as error:
        return f"failed to check deny conditions: {error.message}"
    if not holds:
        return None
    try:
        message = str(deny.filled(data, given.context.now)) if deny.filled is not None else deny.message
    except (CustodyError, LanguageError):
        message = ""
    return "; ".join(filter(None, (message, said))) or "validation error: imageVerify  failed"


def _lowered(pattern: str) -> str:
    """A reference pattern with its host in lower case, as hosts are compared."""
    if has_variables(pattern):
        return pattern
    host, slash, path = pattern.partition("/")
    return f"{host.lower()}{slash}{path}"


def _check(conditions: Conditions, statements: list[Verified], given: Given, image: Image, kind: str) -> str | None:
    for statement in statements:
        if not isinstance(statement.predicate, dict):
            return f"failed to check attestations: the predicate of {statement.evidence} is no map"
        try:
            holds, message = conditions({**statement.predicate, **variables(given)}, given.context.now)
        except (CustodyError, LanguageError) as error:
            return f"failed to check attestations: {error.message}"
        if not holds:
            return f"attestation checks failed for {image.name} and predicate {kind}: {message}"
    return None


def _remedy(image: Image, evidence: EvidenceSet, command: str) -> str:
    """What to do next: where nothing could be had, signing again would not help."""
    unreached = [rejected for rejected in evidence.rejected if rejected.evidence is None and not evidence.subject]
    if any(rejected.state is State.MISSING for rejected in unreached):
        return f"check the name: the registry {image.ref.registry} has no such image"
    if unreached:
        return f"look at the registry {image.ref.registry} and the network to it, then ask again"
    return f"{command} {image.ref.name}@{evidence.subject or 'DIGEST'}"
