"""`verifyImages` rules: who must have signed an image and attested what (Kyverno pkg/engine/internal/imageverifier.go).

Evidence comes verified; here it is held against what a policy demands: identities, logs, counts and conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import EvidenceSet, KeylessSigner, KeySigner, Rejected, State, Verified
from custody.evidence.newest import newest
from custody.formats import intoto
from custody.kit.digest import sha256
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.variables import PREDICATE_ROOTS, variables
from custody.policy.model import Outcome
from policylang.conditions import compile_conditions
from policylang.errors import LanguageError
from policylang.go.regex import PatternError, compiled
from policylang.go.wildcards import wildcard
from policylang.variables import has_variables

_KNOWN = 4096  # images, of which it is remembered whether a rule is about them
PUBLIC_REKOR = "https://rekor.sigstore.dev"
_REQUEST = re.compile(r"\b(request|images|serviceAccount\w*)\b|@")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_Objection = Callable[[Verified], "str | None"]
"""Why a verified statement is not what an attestor entry demands; None where it is."""


class Found(NamedTuple):
    """What an attestor set found: the statements that satisfy it, or why there are not enough."""

    statements: list[Verified]
    problem: str | None


Absent = Callable[[], str]
"""Says why there are no candidates."""
Attestor = Callable[[list[Verified], Absent], Found]


class VerifyImages:
    """One compiled entry of `verifyImages`."""

    def __init__(self, fields: Fields, *, every: bool = False, entries: Sequence[str] = ()) -> None:
        """`every`: each attestation of a signer must meet the conditions, not only the newest of its type.

        `entries` are the names of the rule's context.
        """
        self._roots = PREDICATE_ROOTS.extended((), entries) if entries else PREDICATE_ROOTS
        self.where = fields.where
        self._every = every
        self.failure_action = fields.take("failureAction", str)
        self.references = fields.texts("imageReferences")
        if not self.references:
            raise MalformedError(fields.path("imageReferences"), got="nothing", expected="at least one image reference")
        skipped = fields.texts("skipImageReferences")
        if has_variables([self.references, skipped]):
            raise UnsupportedError(fields.path("imageReferences"), "variables are not evaluated by custody yet here")
        self._known: dict[frozenset[str], bool] = {}
        self._wanted = [wildcard(_lowered(text)) for text in self.references]
        self._skipped = [wildcard(_lowered(text)) for text in skipped]
        kind = fields.take("type", str) or "Cosign"
        if kind not in ("Cosign", "SigstoreBundle"):
            raise UnsupportedError(fields.path("type"), f"{kind} is not evaluated by custody yet",
                                   hint="Cosign or SigstoreBundle")
        self.mutate_digest = fields.take("mutateDigest", bool) is not False
        self.verify_digest = fields.take("verifyDigest", bool) is not False
        fields.only("required", True, False)
        fields.only("useCache", True, hint="custody keeps verified evidence by digest, never by name")
        self.keys: list[bytes] = []
        bundles = kind == "SigstoreBundle"
        self._attestors = [(f".attestors[{at}]", self._set(attestors, f".attestors[{at}]", bundles))
                           for at, attestors in enumerate(fields.each("attestors"))]
        self.reads_request = bool(entries) or _REQUEST.search(
            str(fields.peek("attestations"))) is not None
        """Whether conditions may speak of more than the evidence, such as of how the pod names the image."""
        self._attestations = [self._attestation(attestation, f".attestations[{at}]", bundles)
                              for at, attestation in enumerate(fields.each("attestations"))]
        fields.done()

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
        return {kind for kind, *_ in self._attestations} | ({intoto.COSIGN_SIGN} if self._attestors else set())

    @property
    def verifies(self) -> bool:
        return bool(self._attestors or self._attestations)

    # ── what is demanded ────────────────────────────────────────────────────────────────────────────────────────

    def _set(self, fields: Fields, path: str, bundles: bool, *, nested: bool = True, depth: int = 0) -> Attestor:
        count = fields.take("count", int)
        members = [member for at, attestor in enumerate(fields.each("entries"))
                   for member in self._entry(attestor, f"{path}.entries[{at}]", bundles, nested, depth)]
        fields.done()
        if not members or (count is not None and not 1 <= count <= len(members)):
            raise MalformedError(fields.where, got=f"count {count} of {len(members)} entries",
                                 expected="entries, and a count of 1 up to their number")
        required = count or len(members)

        def attest(candidates: list[Verified], absent: Absent) -> Found:
            problems: list[str] = []
            statements: list[Verified] = []
            good = 0
            for member in members:
                attested = member(candidates, absent)
                if attested.problem is None:
                    good += 1
                    statements += attested.statements
                    if good >= required:
                        return Found(statements, None)
                else:
                    problems.append(attested.problem)
            return Found(statements, "; ".join(problems))

        return attest

    def _entry(self, fields: Fields, path: str, bundles: bool, nested: bool, depth: int) -> list[Attestor]:
        forms = [name for name in ("keys", "keyless", "attestor", "certificates") if fields.has(name)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                                 expected="one of keys, keyless, attestor")
        annotations = fields.text_map("annotations")
        algorithm = fields.take("signatureAlgorithm", str)
        if algorithm not in (None, "", "sha256"):
            raise UnsupportedError(fields.path("signatureAlgorithm"), f"{algorithm} is not evaluated by custody yet")
        if forms[0] == "attestor":
            if not nested or depth >= 8 or annotations:
                raise UnsupportedError(fields.path("attestor"), "not evaluated by custody yet here")
            inner = self._set(Fields(fields.any("attestor"), fields.path("attestor")), f"{path}.attestor", bundles,
                              depth=depth + 1)
            fields.done()
            return [inner]
        objections: list[list[_Objection]] = []
        if (keyless := fields.inner("keyless")) is not None:
            objections = [_keyless(keyless)]
        elif (keys := fields.inner("keys")) is not None:
            objections = [_key(keys, pem, self.keys) for pem in _pems(keys)]
            _rest_of_keys(keys, objections)
        fields.done()
        common = [_annotated(annotations), _stored(bundles)]
        return [_member(f"{path}.{forms[0]}", [*common, *demands]) for demands in objections]

    def _attestation(self, fields: Fields, path: str, bundles: bool) -> tuple[str, str, list[Attestor], Any]:
        kind = fields.take("type", str) or fields.take("predicateType", str)
        fields.only("predicateType", kind)
        if not kind:
            raise MalformedError(fields.path("type"), got="nothing", expected="the predicate type of the attestation")
        sets = [self._set(attestors, f"{path}.attestors[{at}]", bundles, nested=False)
                for at, attestors in enumerate(fields.each("attestors"))]
        block = fields.any("conditions")
        fields.done()
        conditions = None if block is None else compile_conditions(
            block if isinstance(block, list) else [block], fields.path("conditions"), self._roots, explain=True)
        return kind, path, sets or [_member(path, [_stored(bundles)])], conditions

    # ── what is there ───────────────────────────────────────────────────────────────────────────────────────────

    def verify(self, given: Given, image: Image) -> tuple[Judgement, list[Verified]]:
        """The judgement on one image, and the statements it relies on."""
        evidence = given.evidence_of(image)
        if evidence is None:
            reason = f"no evidence was gathered ({State.MISSING})"
            return Judgement(Outcome.FAIL, f"failed to verify image {image.name}: {reason}",
                             "check that the registry can be reached and has this image"), []
        relied: list[Verified] = []
        # 1. Every attestor set must be satisfied by signatures.
        for path, attestors in self._attestors:
            attested = attestors(list(evidence.signatures), partial(_absent, evidence, None))
            if attested.problem is not None:
                return Judgement(Outcome.FAIL, f"failed to verify image {image.name}: {attested.problem or path}",
                                 _remedy(image, evidence, "custody sign")), []
            relied += attested.statements
        # 2. For every attestation, each of its attestor sets must vouch, and what they vouch for must hold: of one
        #    signer the newest, since an older scan says nothing of today.
        for kind, path, sets, conditions in self._attestations:
            attestations = list(evidence.of(kind))
            if not self._every and len(attestations) > 1:
                attestations = newest(attestations).speaking
            for attestors in sets:
                attested = attestors(attestations, partial(_absent, evidence, kind))
                problem = attested.problem
                if problem is None and conditions is not None:
                    problem = _check(conditions, attested.statements, given, image, kind)
                if problem is not None:
                    return Judgement(Outcome.FAIL, f"image attestations verification failed, {path}: {problem}",
                                     _remedy(image, evidence, f"custody attest --type {kind}")), []
                relied += attested.statements
        proof = "attestations" if self._attestations else "signatures"
        return Judgement(Outcome.PASS, f"verified image {proof} for {image.name}"), relied


def _lowered(pattern: str) -> str:
    """A reference pattern with its host in lower case, as hosts are compared."""
    host, slash, path = pattern.partition("/")
    return f"{host.lower()}{slash}{path}"


def _check(conditions: Any, statements: list[Verified], given: Given, image: Image, kind: str) -> str | None:
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


def _absent(evidence: EvidenceSet, kind: str | None) -> str:
    """Why there is nothing, by the states of what was rejected; `kind` None for signatures."""
    what = "no signatures found" if kind is None else f"attestations not found for predicate type {kind}"

    def speaks(rejected: Rejected) -> bool:
        return rejected.predicate_type in (None, kind) or (kind is None and "cosign" in (rejected.predicate_type or ""))

    reasons = [f"{rejected.state}: {rejected.source}: {rejected.reason}" for rejected in evidence.rejected
               if speaks(rejected)]
    return f"{what} ({'; '.join(reasons[:5]) or State.MISSING})"


def _member(path: str, objections: list[_Objection]) -> Attestor:
    def attest(candidates: list[Verified], absent: Absent) -> Found:
        reasons: list[str] = []
        good: list[Verified] = []
        for candidate in candidates:
            for object_to in objections:
                if (reason := object_to(candidate)) is not None:
                    if reason not in reasons:
                        reasons.append(reason)
                    break
            else:
                good.append(candidate)
        if good:
            return Found(good, None)
        return Found([], f"{path}: {'; '.join(reasons[:5]) if candidates else absent()}")

    return attest


def _annotated(annotations: dict[str, str]) -> _Objection:
    def object_to(statement: Verified) -> str | None:
        for key, value in annotations.items():
            if statement.annotations.get(key) != value:
                return f"annotations mismatch: expected {key}={value}, received {statement.annotations.get(key)}"
        return None

    return object_to


def _stored(bundles: bool) -> _Objection:
    return lambda statement: f"stored as {statement.format}, expected a Sigstore bundle" if (
        bundles and statement.format != "bundle") else None


def _keyless(fields: Fields) -> list[_Objection]:
    subject, issuer = fields.take("subject", str), fields.take("issuer", str)
    subject_re = _regexp(fields.take("subjectRegExp", str), fields.path("subjectRegExp"))
    issuer_re = _regexp(fields.take("issuerRegExp", str), fields.path("issuerRegExp"))
    if has_variables([subject, issuer]):
        raise UnsupportedError(fields.path("subject"), "variables are not evaluated by custody yet here")
    if (ctlog := fields.inner("ctlog")) is not None:
        ctlog.only("ignoreSCT", False, hint="custody always checks the SCT of a signing certificate")
        ctlog.done()
    rekor = fields.inner("rekor")
    if rekor is None:
        raise MalformedError(fields.path("rekor"), got="nothing", expected="rekor.url, as Kyverno requires")
    log = _log(rekor)
    fields.done()
    subjects = [test for test in (wildcard(subject) if subject else None, subject_re) if test]
    issuers = [test for test in (wildcard(issuer) if issuer else None, issuer_re) if test]

    def who(statement: Verified) -> str | None:
        signer = statement.signer
        if not isinstance(signer, KeylessSigner):
            return f"certificate not found: signed with {signer}"
        if subjects and not any(test(signer.subject) for test in subjects):
            expected = subject or subject_re.pattern  # type: ignore[union-attr]
            return f"subject mismatch: expected {expected}, received {signer.subject}"
        if not all(test(signer.issuer) for test in issuers):
            return f"issuer mismatch: expected {issuer or issuer_re.pattern}, received {signer.issuer}"  # type: ignore[union-attr]
        return None

    return [who, log]


class _Regexp:
    """An unanchored match as Go's regexp does it, linear in the text (cosign pkg/cosign/verify.go: MatchString)."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled = compiled(pattern)

    def __call__(self, text: str) -> bool:
        return self._compiled.search(text) is not None


def _regexp(pattern: str | None, where: str) -> _Regexp | None:
    if not pattern:
        return None
    if has_variables(pattern):
        raise UnsupportedError(where, "variables are not evaluated by custody yet here")
    try:
        return _Regexp(pattern)
    except PatternError as error:
        raise MalformedError(where, got=pattern, expected=f"a regular expression of Go ({error.message})") from None


def _log(fields: Fields | None) -> _Objection:
    """That the signature is in the log with this base URL; nothing where ignoreTlog is true."""
    url = PUBLIC_REKOR
    if fields is not None:
        ignored = fields.take("ignoreTlog", bool)
        url = fields.take("url", str) or ("" if ignored else PUBLIC_REKOR)
        fields.done(hint="the keys of logs come from the trust root")
        if ignored:
            return lambda statement: None  # noqa: ARG005 - nothing to object to

    def object_to(statement: Verified) -> str | None:
        if statement.log is None:
            return f"not in a transparency log, expected an entry in {url}"
        if statement.log.base_url.rstrip("/") != url.rstrip("/"):
            return f"log mismatch: expected an entry in {url}, received one in {statement.log.base_url}"
        return None

    return object_to


def _pems(fields: Fields) -> list[str]:
    text = fields.need("publicKeys", str)
    keys = _PEM.findall(text)
    if not keys or _PEM.sub("", text).strip():
        raise UnsupportedError(fields.path("publicKeys"), "only PEM public keys are evaluated by custody yet",
                               hint="write the key itself here instead of a reference to a secret or a KMS")
    return keys


def _key(fields: Fields, pem: str, keys: list[bytes]) -> list[_Objection]:
    try:
        loaded = load_pem_public_key(pem.encode())
        der = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(fields.path("publicKeys"), got=pem[:60], expected=f"a PEM public key ({error})") from None
    keys.append(pem.encode() + b"\n")
    fingerprint = sha256(der)

    def who(statement: Verified) -> str | None:
        if isinstance(statement.signer, KeySigner) and statement.signer.fingerprint == fingerprint:
            return None
        return f"key mismatch: expected key {fingerprint}, received {statement.signer}"

    return [who]


def _rest_of_keys(fields: Fields, objections: list[list[_Objection]]) -> None:
    fields.only("signatureAlgorithm", "sha256")
    if (ctlog := fields.inner("ctlog")) is not None:
        ctlog.only("ignoreSCT", True, False)  # a key has no certificate, so there is no SCT to ignore
        ctlog.done()
    log = _log(fields.inner("rekor"))
    fields.done()
    for demands in objections:
        demands.append(log)
