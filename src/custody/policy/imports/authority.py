"""An authority of a ClusterImagePolicy: who must have signed an image, or attested what (policy.sigstore.dev)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import KeylessSigner, Verified, no_bundle
from custody.evidence.newest import speaking
from custody.formats import intoto
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.attestors import regexp
from custody.policy.kyverno.keptkeys import checked, decoded, key_at
from custody.policy.kyverno.sought import evidence_for
from custody.policy.regoworld import RegoWorld
from custody.ports.lookup import KEY_SERVICES, ApiCall, Authority, ImageEvidence, PublicKeyAt, Question
from custody.sign.trusting import HASHES, trust_of
from policylang.errors import LanguageError
from policylang.rego import UNDEFINED, Set
from policylang.rego import Policy as Rego

_NAMESPACE = "cosign-system"
_BEYOND = re.compile(r"\b(time|http|net|rand|opa|io)\s*\.")
"""Functions of Rego whose answer is another one later."""
_FORMATS = ("legacy", "bundle")


class Compliance:
    """`policy` of type rego: `data.sigstore.isCompliant` over what was verified."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, and UnsupportedError for cue and for what stands elsewhere."""
        kind = fields.need("type", str)
        if kind != "rego":
            raise UnsupportedError(fields.path("type"), f"{kind} is not evaluated by custody yet", hint="rego is")
        for place in ("remote", "configMapRef"):
            if fields.has(place):
                raise UnsupportedError(fields.path(place), "not evaluated by custody yet", hint="write it into data")
        text = fields.need("data", str)
        self.by_evidence = _BEYOND.search(text) is None
        """Whether it reads nothing but what was verified."""
        self.include_spec, self.include_metadata, self.include_type = (
            fields.take(name, bool) is True for name in ("includeSpec", "includeObjectMeta", "includeTypeMeta"))
        self.by_evidence &= not (self.include_spec or self.include_metadata or self.include_type)
        fields.only("fetchConfigFile", False)
        fields.done()
        try:
            self._entry = Rego({fields.path("data"): text}, version=0).entry("data.sigstore.isCompliant")
        except KeyError:
            raise MalformedError(fields.path("data"), got="no such rule", expected="package sigstore with isCompliant"
                                 ) from None
        except LanguageError as error:
            raise MalformedError(fields.path("data"), got=text[:60], expected=f"Rego ({error.message})") from None

    def problem(self, given: Given, document: Any) -> str | None:
        """Why it does not hold; None where it does. What is undefined does not."""
        try:
            value = self._entry(document, world=RegoWorld(given))
        except LanguageError as error:
            return f"policy could not be evaluated: {error.message}"
        if value is True:
            return None
        said = list(value) if isinstance(value, Set) else []
        if said and all(isinstance(entry, dict) and entry.get("result") is True for entry in said):
            return None
        errors = [str(entry.get("error")) for entry in said if isinstance(entry, dict) and entry.get("error")]
        return "; ".join(errors) or ("policy is not compliant" if value is not UNDEFINED else "policy is undefined")


class _Attestation(NamedTuple):
    name: str
    kind: str
    policy: Compliance | None


class Matched(NamedTuple):
    """What an authority found: by `problem` None it is satisfied; `document` is what a policy's policy sees of it."""

    problem: str | None
    statements: Sequence[Verified] = ()
    document: Mapping[str, Any] = MappingProxyType({})


class ImageAuthority:
    def __init__(self, fields: Fields, at: int) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name = fields.take("name", str) or f"authority-{at}"
        forms = [form for form in ("key", "keyless", "static") if fields.has(form)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                                 expected="one of key, keyless, static")
        self._key_of: Callable[[Given], str] | None = None
        self._identities: list[Callable[[KeylessSigner], bool]] = []
        self._static: tuple[str, str] | None = None
        said: dict[str, Any] = {}
        if (static := fields.inner("static")) is not None:
            self._static = static.need("action", str), static.take("message", str) or ""
            static.done()
            if self._static[0] not in ("pass", "fail"):
                raise MalformedError(static.path("action"), got=self._static[0], expected="pass or fail")
        elif (key := fields.inner("key")) is not None:
            self._key(key, said)
        elif (keyless := fields.inner("keyless")) is not None:
            self._keyless(keyless, said)
        _logs(fields, said, keyed=forms == ["key"])
        bundle = fields.take("signatureFormat", str) or "legacy"
        if bundle not in _FORMATS:
            raise MalformedError(fields.path("signatureFormat"), got=bundle, expected=" or ".join(_FORMATS))
        self._bundles = bundle == "bundle"
        self._sources = [_source(entry) for entry in fields.each("source")] or [("", ())]
        self._attestations = [_attestation(entry) for entry in fields.each("attestations")]
        fields.done()
        self._authority = Authority(**said)
        self._types = tuple(sorted({intoto.COSIGN_SIGN, *(entry.kind for entry in self._attestations)}))
        try:
            trust_of(msgspec.structs.replace(self._authority, ignore_sct=True), None)
        except CustodyError as error:
            error.message = f"{fields.where}: {error.message}"
            error.args = (error.message,)
            raise

    def _key(self, fields: Fields, said: dict[str, Any]) -> None:
        data, kms, secret = fields.take("data", str) or "", fields.take("kms", str) or "", fields.inner("secretRef")
        algorithm = fields.take("hashAlgorithm", str) or "sha256"
        fields.done()
        if algorithm not in HASHES:
            raise MalformedError(fields.path("hashAlgorithm"), got=algorithm, expected=", ".join(HASHES))
        said["algorithm"] = "" if algorithm == "sha256" else algorithm
        if sum(map(bool, (data, kms, secret is not None))) != 1:
            raise MalformedError(fields.where, got="none or several", expected="one of data, kms, secretRef")
        if data:
            said["keys"] = data
        elif secret is not None:
            self._key_of = _secret(secret)
        elif kms.startswith(KEY_SERVICES):
            kept = PublicKeyAt(kms)
            self._key_of = lambda given: key_at(given, kept)
        else:
            raise UnsupportedError(fields.path("kms"), f"{kms[:60]!r} names no service that custody asks")

    def _keyless(self, fields: Fields, said: dict[str, Any]) -> None:
        fields.take("url", str)  # of the authority that issued the certificate, which nobody asks
        self._identities = [_identity(entry) for entry in fields.each("identities")]
        if not self._identities:
            raise MalformedError(fields.path("identities"), got="nothing", expected="at least one identity")
        if (certificate := fields.inner("ca-cert")) is not None:
            said["roots"] = certificate.need("data", str)
            certificate.done()
        _no_trust_root(fields)
        said["ignore_sct"] = fields.take("insecureIgnoreSCT", bool) is True
        fields.done()

    @property
    def by_evidence(self) -> bool:
        """Whether it is satisfied by evidence, and by nothing beside it."""
        return self._static is None and all(
            entry.policy is None or entry.policy.by_evidence for entry in self._attestations)

    def questions(self, given: Given, name: str) -> list[Question]:
        """What it asks of the image `repository@digest`, as far as nobody need be asked for a key before."""
        if self._static is not None or self._key_of is not None:
            return []
        return [ImageEvidence(name, asked, self._types) for asked in self._places(given, self._authority)]

    def _places(self, given: Given, authority: Authority) -> Iterator[Authority]:
        """Whom it believes, for each place where evidence may be."""
        for repository, secrets in self._sources:
            yield msgspec.structs.replace(authority, repository=repository, secrets=tuple(
                f"{given.request.namespace}/{secret}" for secret in secrets))

    def match(self, given: Given, name: str, reached: dict[str, bool]) -> Matched:
        """Of the image `repository@digest`. `reached` is told whether what it asks for could be had.

        Raises UnansweredError, LookupFailedError.
        """
        if self._static is not None:
            action, message = self._static
            return Matched(None, (), {"static": True}) if action == "pass" else Matched(
                f"disallowed by static policy{f': {message}' if message else ''}")
        signatures, reasons = self._signed(given, name, None, reached)
        if not self._attestations:
            if not signatures:
                return Matched(f"signature {'key' if not self._identities else 'keyless'} validation failed: "
                               f"{'; '.join(reasons) or 'no signatures found'}")
            return Matched(None, signatures, {"signatures": [_described(statement) for statement in signatures]})
        relied: list[Verified] = []
        attested: dict[str, Any] = {}
        for attestation in self._attestations:
            statements, reasons = self._signed(given, name, attestation.kind, reached)
            problems = [attestation.policy.problem(given, _statement(statement)) if attestation.policy else None
                        for statement in statements]
            good = [statement for statement, problem in zip(statements, problems, strict=True) if problem is None]
            if not good:
                said = [problem for problem in problems if problem] or reasons or ["no matching attestations"]
                return Matched(f"attestation {attestation.name}: {'; '.join(said)}")
            relied += good
            attested[attestation.name] = [_described(statement) for statement in good]
        return Matched(None, relied, {"attestations": attested})

    def _signed(self, given: Given, name: str, kind: str | None,
                reached: dict[str, bool]) -> tuple[list[Verified], list[str]]:
        """The statements that count, and why others do not."""
        authority = self._authority
        if self._key_of is not None:
            authority = msgspec.structs.replace(authority, keys=self._key_of(given))
        counted: list[Verified] = []
        reasons: list[str] = []
        for asked in self._places(given, authority):
            reached[repr(asked)] = False
            evidence = evidence_for(given, name, asked, self._types)
            reached[repr(asked)] = evidence.reached
            for statement in evidence.signatures if kind is None else speaking(evidence, kind):
                if (reason := self._objection(statement)) is None:
                    counted.append(statement)
                else:
                    reasons.append(reason)
            reasons += [rejected.reason for rejected in evidence.rejected
                        if rejected.predicate_type in (None, kind or intoto.COSIGN_SIGN)]
        return counted, list(dict.fromkeys(reasons))[:5]

    def _objection(self, statement: Verified) -> str | None:
        if self._bundles and (reason := no_bundle(statement)):
            return reason
        signer = statement.signer
        if self._identities and not (isinstance(signer, KeylessSigner)
                                     and any(fits(signer) for fits in self._identities)):
            return f"none of the expected identities matched what was in the certificate: {signer}"
        return None


def _identity(fields: Fields) -> Callable[[KeylessSigner], bool]:
    tests: list[Callable[[KeylessSigner], bool]] = []
    for name in ("issuer", "subject"):
        exact, pattern = fields.take(name, str), regexp(fields.take(f"{name}RegExp", str), fields.path(f"{name}RegExp"))
        if exact:
            tests.append(lambda signer, name=name, exact=exact: bool(getattr(signer, name) == exact))  # type: ignore[misc]
        elif pattern is not None:
            tests.append(lambda signer, name=name, fits=pattern: fits(getattr(signer, name)))  # type: ignore[misc]
        else:
            raise MalformedError(fields.path(name), got="nothing", expected=f"{name} or {name}RegExp")
    fields.done()
    return lambda signer: all(test(signer) for test in tests)


def _secret(fields: Fields) -> Callable[[Given], str]:
    name, namespace = fields.need("name", str), fields.take("namespace", str) or _NAMESPACE
    fields.done()
    if not all(re.fullmatch(r"[a-z0-9.-]+", part) for part in (name, namespace)):
        raise MalformedError(fields.where, got=f"{namespace}/{name}", expected="the name of a Secret")
    asked = ApiCall(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def key(given: Given) -> str:
        secret = given.answers.value(asked)
        data = secret.get("data") if isinstance(secret, dict) else None
        text = decoded(next(iter(data.values()))) if isinstance(data, dict) and len(data) == 1 else None
        return checked(text, asked, "it is no Secret with one public key")

    return key


def _logs(fields: Fields, said: dict[str, Any], *, keyed: bool) -> None:
    """Which log a signature must be in: of a key only one that is named, as policy-controller has it."""
    ctlog, stamp = fields.inner("ctlog"), fields.inner("rfc3161timestamp")
    if ctlog is not None:
        _no_trust_root(ctlog)
        said["ignore_log"] = not ctlog.take("url", str)
        ctlog.done()
    else:
        said["ignore_log"] = keyed
    if stamp is not None:
        _no_trust_root(stamp)
        stamp.done()


def _no_trust_root(fields: Fields) -> None:
    if fields.has("trustRootRef"):
        raise UnsupportedError(fields.path("trustRootRef"), "a TrustRoot is not read by custody yet",
                               hint="custody's own trusted_root.json says whom to trust")


def _source(fields: Fields) -> tuple[str, tuple[str, ...]]:
    repository = fields.take("oci", str) or ""
    secrets = tuple(entry.need("name", str) for entry in fields.each("signaturePullSecrets"))
    fields.only("tagPrefix", "", hint="cosign's tags are sha256-DIGEST.sig")
    fields.done()
    return repository, secrets


def _attestation(fields: Fields) -> _Attestation:
    name, kind = fields.need("name", str), fields.need("predicateType", str)
    policy = fields.inner("policy")
    fields.done()
    return _Attestation(name, intoto.predicate_type(kind), None if policy is None else Compliance(policy))


def _statement(statement: Verified) -> dict[str, Any]:
    algorithm, _, digest = statement.subject.partition(":")
    return {"predicateType": statement.predicate_type, "predicate": statement.predicate,
            "subject": [{"digest": {algorithm: digest}}]}


def _described(statement: Verified) -> dict[str, Any]:
    described: dict[str, Any] = {"id": statement.evidence}
    if isinstance(statement.signer, KeylessSigner):
        described |= {"subject": statement.signer.subject, "issuer": statement.signer.issuer}
    return described
