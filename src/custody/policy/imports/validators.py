"""Connaisseur's validators: what each says of an image, by evidence that the gatherer had (connaisseur v3).

A validator has trust roots, keys or identities by their names; a rule says which of them must have signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from cryptography.x509 import load_pem_x509_certificates

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import EvidenceSet, KeylessSigner, Verified
from custody.formats import intoto
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.attestors import regexp
from custody.policy.kyverno.sought import evidence_for
from custody.policy.lookup import LookupFailedError, Together
from custody.ports.lookup import KEY_SERVICES, Authority, ImageEvidence, PublicKeyAt, Question
from custody.sign.keys import load_public_key
from custody.sign.trusting import authorities, trust_of
from policylang.errors import LanguageError
from policylang.go import urls

NAMESPACE = "connaisseur"
"""In which the Secrets lie that validators name."""
_DEFAULT = "default"
_ALL = "*"
_TYPES = (intoto.COSIGN_SIGN,)
_SECRET = re.compile(r"[A-Za-z0-9._-]+")
_LEVELS = ("strict", "permissive", "audit")
Fits = Callable[[KeylessSigner], bool]


class Options(NamedTuple):
    """What a rule says `with`."""

    trust_root: str
    threshold: int
    required: tuple[str, ...]
    log: bool
    """verifyInTransparencyLog."""
    sct: bool
    """verifySCT."""


class Signed(NamedTuple):
    """What a demand found: by `problem` None it is met."""

    problem: str | None
    statements: Sequence[Verified] = ()
    summary: str = ""
    """Words for the summary that it rests on."""


class TrustRoot(NamedTuple):
    """Whom one trust root believes, for one rule."""

    name: str
    authority: Authority
    fits: Fits | None = None
    kms: str = ""
    identity: Mapping[str, str] = MappingProxyType({})
    """What it says of issuer and subject, as it is written."""

    def believed(self, given: Given) -> Authority:
        """Raises UnansweredError, LookupFailedError."""
        if not self.kms:
            return self.authority
        return msgspec.structs.replace(self.authority, keys=str(given.answers.value(PublicKeyAt(self.kms)) or ""))

    def accepts(self, statement: Verified) -> bool:
        return self.fits is None or (isinstance(statement.signer, KeylessSigner) and self.fits(statement.signer))


class Demand:
    """What a rule wants of an image: of which trust roots, and of how many, there must be signatures."""

    def __init__(self, roots: Sequence[TrustRoot], threshold: int, required: Sequence[str]) -> None:
        self.roots, self.threshold, self.required = roots, threshold, required

    def questions(self, name: str) -> list[Question]:
        """About an image `repository@digest`, as far as nobody need be asked for a key before."""
        return [ImageEvidence(name, root.authority, _TYPES) for root in self.roots if not root.kms]

    def judge(self, given: Given, name: str, reached: dict[str, bool]) -> Signed:
        """`reached` is told of each trust root whether its evidence could be had.

        Raises UnansweredError, once all is asked that is to be.
        """
        signed: dict[str, list[Verified]] = {}
        reasons: list[str] = []
        together = Together()
        for root in self.roots:
            with together:
                reached[root.name] = False
                try:
                    evidence = evidence_for(given, name, root.believed(given), _TYPES)
                except LookupFailedError as error:
                    reasons.append(f"{root.name}: {error.message}")
                    continue
                reached[root.name] = evidence.reached
                statements = [statement for statement in evidence.signatures if root.accepts(statement)]
                if statements:
                    signed[root.name] = statements
                else:
                    reasons.append(f"{root.name}: {absent(evidence)}")
        together.done()
        if len(signed) < self.threshold:
            return Signed(_because(f"validation threshold not reached ({len(signed)}/{self.threshold})", reasons))
        missing = [name for name in self.required if name not in signed]
        if missing:
            return Signed(_because(f"missing required signatures from [{' '.join(missing)}]", reasons))
        if not signed:
            return Signed(f"error validating image: [{'; '.join(reasons)}]")
        return Signed(None, [statement for statements in signed.values() for statement in statements])


class Static:
    """Lets all images pass, or none."""

    type = "static"

    def __init__(self, fields: Fields) -> None:
        self.approve = fields.take("approve", bool) is True
        fields.done()


class Cosign:
    """Signatures of cosign. `place` is how the registry is asked."""

    type = "cosign"

    def __init__(self, fields: Fields, name: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        said = _host(fields.inner("host"))
        self.place = _place(fields, name)
        self._roots: dict[str, TrustRoot] = {}
        for entry in fields.each("trustRoots"):
            root = _cosign_root(entry, msgspec.structs.replace(self.place, **said))
            _put(self._roots, root, entry)
        _some(self._roots, fields, name)
        fields.done()

    def demand(self, options: Options, where: str) -> Demand:
        """Of a rule whose `with` stands at a path. Raises MalformedError for a trust root that is not there."""
        every = options.trust_root == _ALL
        names: Sequence[str]
        if not every:
            names = [options.trust_root or _DEFAULT]
        elif options.required and options.threshold <= len(options.required):
            names = options.required
        else:
            names = [*self._roots]
        threshold = options.threshold if every else 0
        if every and not options.required and not threshold:
            threshold = len(names)
        roots = [_chosen(self._roots, name, where) for name in dict.fromkeys(names)]
        return Demand([root._replace(authority=msgspec.structs.replace(
            root.authority, ignore_log=not options.log, ignore_sct=not options.sct)) for root in roots],
            threshold, options.required)


class Notation:
    """Signatures of the Notary Project, at level strict, by whomever a certificate belongs to."""

    type = "notation"

    def __init__(self, fields: Fields, name: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.place = _place(fields, name)
        self._roots: dict[str, TrustRoot] = {}
        for entry in fields.each("trustRoots"):
            called, roots = entry.need("name", str), entry.need("cert", str)
            stamps = entry.take("tsCert", str) or ""
            entry.done()
            authority = msgspec.structs.replace(self.place, notary=True, roots=roots, stamps=stamps)
            _put(self._roots, TrustRoot(called, _checked(authority, entry.where)), entry)
        _some(self._roots, fields, name)
        fields.done()

    def demand(self, options: Options, where: str) -> Demand:
        """Raises MalformedError, UnsupportedError."""
        for field, said in (("threshold", options.threshold), ("required", options.required)):
            if said:
                raise UnsupportedError(f"{where}.{field}", "a notation validator counts no signatures")
        names = [*self._roots] if options.trust_root == _ALL else [options.trust_root or _DEFAULT]
        roots = [_chosen(self._roots, name, where) for name in names]
        # One trust policy with the stores of all: one signature by any of them will do.
        stamps = "".join(root.authority.stamps for root in roots)
        if stamps and not all(root.authority.stamps for root in roots):
            raise UnsupportedError(f"{where}.trustRoot", "trust roots of which only some have a tsCert")
        together = msgspec.structs.replace(roots[0].authority, stamps=stamps, roots="\n".join(
            root.authority.roots for root in roots))
        return Demand([TrustRoot(" ".join(names), together)], 0, ())


Validator = Static | Cosign | Notation


def validator(fields: Fields) -> tuple[str, Validator]:
    """(name, validator). Raises MalformedError, UnsupportedError."""
    name, kind = fields.need("name", str), fields.need("type", str)
    if kind == "static":
        return name, Static(fields)
    if kind == "cosign":
        return name, Cosign(fields, name)
    if kind == "notation":
        return name, Notation(fields, name)
    if kind == "notaryv1":
        raise UnsupportedError(fields.path("type"), "notaryv1 (Docker Content Trust) is not evaluated by custody",
                               hint="sign the images with cosign or notation")
    raise MalformedError(fields.path("type"), got=kind, expected="static, cosign or notation")


def options(fields: Fields | None, kind: str) -> Options:
    """What stands `with` a rule whose validator has this type. Raises MalformedError, UnsupportedError."""
    if fields is None:
        return Options("", 0, (), log=True, sct=True)
    threshold = fields.take("threshold", int) or 0
    if threshold < 0:
        raise MalformedError(fields.path("threshold"), got=threshold, expected="0 or more")
    required = tuple(fields.texts("required"))
    log, sct = (fields.take(name, bool) is not False for name in ("verifyInTransparencyLog", "verifySCT"))
    if kind == "notation":
        if (level := fields.take("verificationLevel", str) or "strict") != "strict":
            if level not in _LEVELS:
                raise MalformedError(fields.path("verificationLevel"), got=level, expected=", ".join(_LEVELS))
            raise UnsupportedError(fields.path("verificationLevel"), f"{level} is not evaluated by custody yet",
                                   hint="strict is")
        fields.only("verifyTimestamp", "always", hint="always is evaluated")
    said = Options(fields.take("trustRoot", str) or "", threshold, required, log=log, sct=sct)
    fields.done()
    return said


def absent(evidence: EvidenceSet) -> str:
    """Why there is no signature that counts."""
    reasons = [f"{rejected.state}: {rejected.reason}" for rejected in evidence.rejected
               if rejected.predicate_type in (None, intoto.COSIGN_SIGN)]
    return "; ".join(dict.fromkeys(reasons[:5])) or "no matching signatures"


def _because(problem: str, reasons: Sequence[str]) -> str:
    return f"{problem}: {'; '.join(reasons)}" if reasons else problem


def _host(fields: Fields | None) -> dict[str, str]:
    """The services whose word counts, as fields of an Authority.

    `rekor` says where an entry is looked for that a signature does not carry; here a signature without one fails.
    """
    if fields is None:
        return {}
    rekor, log, ct, roots = (fields.take(name, str) or "" for name in (
        "rekor", "rekorPubkey", "ctLogPubkey", "fulcioCert"))
    try:
        urls.parse(rekor)
    except LanguageError as error:
        raise MalformedError(fields.path("rekor"), got=rekor, expected=f"a URL ({error.message})") from None
    for name, pem in (("rekorPubkey", log), ("ctLogPubkey", ct)):
        if pem:
            _key(pem, fields.path(name))
    if roots:
        authorities(roots, fields.path("fulcioCert"))
    fields.done()
    return {"log_key": log, "log_url": rekor if log else "", "ct_key": ct, "roots": roots}


def _key(pem: str, where: str) -> None:
    try:
        load_public_key(pem.encode(), where)
    except CustodyError as error:
        if isinstance(error, MalformedError):  # says so by itself
            raise
        raise MalformedError(where, got=pem[:60], expected=f"a public key in PEM ({error.message})") from None


def _place(fields: Fields, name: str) -> Authority:
    """How the registry is asked: with which logins, and by which certificates of its own."""
    pem = fields.take("cert", str) or ""
    if pem:
        try:
            load_pem_x509_certificates(pem.encode())
        except ValueError as error:
            raise MalformedError(fields.path("cert"), got=pem[:60], expected=f"certificates in PEM ({error})") from None
    return Authority(secrets=_secrets(fields.inner("auth"), name), registry_ca=pem)


def _secrets(fields: Fields | None, name: str) -> tuple[str, ...]:
    if fields is None:
        return ()
    secret, keychain = fields.take("secretName", str), fields.take("useKeychain", bool)
    username, password = fields.take("username", str), fields.take("password", str)
    fields.take("registry", str)
    fields.done()
    if secret is None and username and password:
        secret = f"{name}-auth"  # which the chart makes of them
    if secret is None:
        if keychain is None:
            raise MalformedError(fields.where, got="neither secretName nor useKeychain", expected="one of them")
        return ()  # the logins and helpers of the Docker configuration, which are asked anyway
    if not _SECRET.fullmatch(secret):
        raise MalformedError(fields.path("secretName"), got=secret, expected="the name of a Secret")
    return (f"{NAMESPACE}/{secret}",)


def _cosign_root(fields: Fields, base: Authority) -> TrustRoot:
    name = fields.need("name", str)
    forms = [form for form in ("key", "keyless", "cert") if fields.has(form)]
    if len(forms) != 1:
        raise MalformedError(fields.where, got=" and ".join(forms) or "nothing", expected="one of key, keyless")
    if forms == ["cert"]:
        raise MalformedError(fields.path("cert"), got="a certificate", expected="key or keyless, for type cosign")
    if (keyless := fields.inner("keyless")) is not None:
        fields.done()
        said = {field: keyless.peek(field) for field in ("issuer", "issuerRegex", "subject", "subjectRegex")
                if keyless.has(field)}
        return TrustRoot(name, _checked(base, fields.where), _identity(keyless), identity=said)
    key = fields.need("key", str).strip()
    fields.done()
    base = msgspec.structs.replace(base, roots="")
    if key.startswith(KEY_SERVICES):
        return TrustRoot(name, _checked(base, fields.where), kms=key)
    if not key.startswith("-----BEGIN"):
        raise UnsupportedError(fields.path("key"), f"{key[:60]!r} is no public key in PEM and names no KMS",
                               hint="files, Secrets and URLs are read by nobody here")
    _key(key, fields.path("key"))
    return TrustRoot(name, _checked(msgspec.structs.replace(base, keys=key), fields.where))


def _identity(fields: Fields) -> Fits:
    tests: list[tuple[str, Callable[[str], bool]]] = []
    for name in ("issuer", "subject"):
        exact = fields.take(name, str)
        pattern = regexp(fields.take(f"{name}Regex", str), fields.path(f"{name}Regex"))
        if bool(exact) == (pattern is not None):
            raise MalformedError(fields.path(name), got="both or none", expected=f"one of {name}, {name}Regex")
        tests.append((name, pattern if pattern is not None else exact.__eq__))
    fields.done()
    return lambda signer: all(test(getattr(signer, name)) for name, test in tests)


def _checked(authority: Authority, where: str) -> Authority:
    """Raises MalformedError, UnsupportedError, VerificationError for an authority that nobody can be."""
    try:
        # Whether a certificate was promised to a log is for who has the log's key.
        trust_of(msgspec.structs.replace(authority, ignore_sct=True), None)
    except CustodyError as error:
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise
    return authority


def _put(roots: dict[str, TrustRoot], root: TrustRoot, fields: Fields) -> None:
    if root.name in roots:
        raise MalformedError(fields.path("name"), got=f"{root.name} twice", expected="each name once")
    roots[root.name] = root


def _some(roots: Mapping[str, TrustRoot], fields: Fields, name: str) -> None:
    if not roots:
        raise MalformedError(fields.path("trustRoots"), got="nothing",
                             expected=f"trust roots (no trust roots provided for validator {name})")


def _chosen(roots: Mapping[str, TrustRoot], name: str, where: str) -> TrustRoot:
    root = roots.get(name)
    if root is None:
        raise MalformedError(f"{where}.trustRoot", got=f"unable to find trust root {name}",
                             expected=", ".join(roots))
    return root
