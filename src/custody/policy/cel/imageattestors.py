"""Attestors of an ImageValidatingPolicy: whom each believes, and whom of those it accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import KeylessSigner, Verified
from custody.policy.cel.environment import Expressions
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.attestors import EXTENSIONS, regexp
from custody.policy.kyverno.keptkeys import key_at
from custody.ports.lookup import KEY_SERVICES, Authority, PublicKeyAt
from custody.sign.trusting import HASHES, trust_of
from policylang.cel.compile.program import Program
from policylang.cel.types import Type, opaque
from policylang.cel.values.errors import CelError
from policylang.go.regex import PatternError
from policylang.go.wildcards import wildcard

_PUBLIC_MIRROR = "https://tuf-repo-cdn.sigstore.dev"
_Test = Callable[[str], bool]



class Attestor:
    """One attestor. It is the value of `attestors.NAME` in expressions."""

    cel_type: ClassVar[Type] = opaque("imageverify.attestor")

    def __init__(self, name: str, authority: Authority, computed: dict[str, Program], *, kms: str = "",
                 identities: Sequence[Callable[[KeylessSigner], bool]] = (), annotations: dict[str, str] | None = None,
                 extensions: dict[str, str] | None = None) -> None:
        """`computed` are the fields of the authority that expressions give."""
        self.name = name
        self.notary = authority.notary
        self.by_request = bool(computed)
        """Whether another request may name another key: then a summary says nothing of this one."""
        self._authority = authority
        self._computed = computed
        self._kms = kms
        self._identities = identities
        self._annotations = annotations or {}
        self._extensions = extensions or {}

    def believed(self, given: Given, values: dict[str, Any]) -> Authority:
        """Raises CelError, UnansweredError, LookupFailedError."""
        fields = {name: getattr(self._authority, name) for name in Authority.__struct_fields__}
        for name, program in self._computed.items():
            value = program(values)
            if not isinstance(value, str):
                raise CelError(f"failed to convert {name} in compiled attestor: {self.name}, error: not a string")
            fields[name] = value
        if self._kms:
            fields["keys"] = key_at(given, PublicKeyAt(self._kms))
        return Authority(**fields)

    def accepts(self, statement: Verified) -> bool:
        """Whether what is verified for this attestor is of somebody whom it means."""
        if any(statement.annotations.get(key) != value for key, value in self._annotations.items()):
            return False
        url = self._authority.log_url
        if url and not self._authority.log_key and statement.log is not None and (
                statement.log.base_url.rstrip("/") != url.rstrip("/")):
            return False
        if not self._identities:
            return True
        signer = statement.signer
        return isinstance(signer, KeylessSigner) and any(fits(signer) for fits in self._identities) and all(
            wildcard(value)(signer.issuer if name == "issuer" else signer.claims.get(name, ""))
            for name, value in self._extensions.items())


def compile_attestors(fields: Fields, base: Authority, expressions: Expressions) -> dict[str, Attestor]:
    """Raises MalformedError, UnsupportedError."""
    attestors: dict[str, Attestor] = {}
    for entry in fields.each("attestors"):
        name = entry.need("name", str)
        if name in attestors:
            raise MalformedError(entry.path("name"), got=f"{name} twice", expected="each name once")
        cosign, notary = entry.inner("cosign"), entry.inner("notary")
        entry.done()
        if (cosign is None) == (notary is None):
            raise MalformedError(entry.where, got="both or none", expected="one of cosign, notary")
        attestors[name] = (_notary(name, notary, base, expressions) if notary is not None
                           else _cosign(name, cosign, base, expressions))  # type: ignore[arg-type]
    return attestors


def _notary(name: str, fields: Fields, base: Authority, expressions: Expressions) -> Attestor:
    said = _Said(base, expressions)
    said.text(fields, "certs", "roots")
    said.text(fields, "tsaCerts", "stamps")
    fields.done()
    return said.attestor(name, fields.where, notary=True)


def _cosign(name: str, fields: Fields, base: Authority, expressions: Expressions) -> Attestor:
    forms = [form for form in ("key", "keyless", "certificate") if fields.has(form)]
    if len(forms) != 1:
        raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                             expected="one of key, keyless, certificate")
    said = _Said(base, expressions)
    kms = ""
    identities: list[Callable[[KeylessSigner], bool]] = []
    extensions: dict[str, str] = {}
    if (key := fields.inner("key")) is not None:
        kms = _key(key, said)
    elif (certificate := fields.inner("certificate")) is not None:
        said.text(certificate, "cert", "certificate")
        said.text(certificate, "certChain", "chain" if said.has("certificate") else "roots")
        certificate.done()
    elif (keyless := fields.inner("keyless")) is not None:
        identities = [_identity(entry) for entry in keyless.each("identities")]
        if not identities:
            raise MalformedError(keyless.path("identities"), got="nothing", expected="at least one identity")
        said.fields["roots"] = keyless.take("roots", str) or ""
        extensions = _extensions(keyless)
        keyless.done()
    _source(fields.inner("source"), said)
    _logs(fields.inner("ctlog"), said)
    _tuf(fields.inner("tuf"))
    said.text(fields, "trustedRoot", "root")
    annotations = fields.text_map("annotations")
    fields.done()
    return said.attestor(name, fields.where, kms=kms, identities=identities, annotations=annotations,
                         extensions=extensions)


class _Said:
    """What an attestor says of whom it believes, as texts and as expressions that give them."""

    def __init__(self, base: Authority, expressions: Expressions) -> None:
        self.fields: dict[str, Any] = {name: getattr(base, name) for name in Authority.__struct_fields__}
        self.computed: dict[str, Program] = {}
        self._expressions = expressions

    def has(self, name: str) -> bool:
        return bool(self.fields[name]) or name in self.computed

    def text(self, fields: Fields, name: str, target: str) -> None:
        """StringOrExpression."""
        inner = fields.inner(name)
        if inner is None:
            return
        value, expression = inner.take("value", str) or "", inner.take("expression", str) or ""
        inner.done()
        self.put(target, value, expression, inner.where)

    def put(self, target: str, value: str, expression: str, where: str) -> None:
        if bool(value) == bool(expression):
            raise MalformedError(where, got="both or none", expected="a text, or an expression that gives one")
        if expression:
            self.computed[target] = self._expressions.program(expression, f"{where}.expression")
        else:
            self.fields[target] = value

    def attestor(self, name: str, where: str, *, notary: bool = False, **more: Any) -> Attestor:
        """Raises MalformedError for an authority that nobody can be."""
        if notary and not self.has("roots"):
            raise MalformedError(f"{where}.certs", got="nothing", expected="certificates")
        authority = Authority(**{**self.fields, "notary": notary})
        if not self.computed:
            try:
                trust_of(Authority(**{**self.fields, "notary": notary, "ignore_sct": True}), None)
            except CustodyError as error:
                error.message = f"{where}: {error.message}"
                error.args = (error.message,)
                raise
        return Attestor(name, authority, self.computed, **more)


def _key(fields: Fields, said: _Said) -> str:
    """The URI of the service that keeps the key, where one does."""
    data, kms, expression = (fields.take(name, str) or "" for name in ("data", "kms", "expression"))
    algorithm = fields.take("hashAlgorithm", str) or ""
    fields.done()
    if algorithm and algorithm not in HASHES:
        raise MalformedError(fields.path("hashAlgorithm"), got=algorithm, expected=", ".join(HASHES))
    said.fields["algorithm"] = "" if algorithm == "sha256" else algorithm
    if kms:
        if data or expression:
            raise MalformedError(fields.where, got="kms and another", expected="one of data, kms, expression")
        if not kms.startswith(KEY_SERVICES):
            raise UnsupportedError(fields.path("kms"), f"{kms[:60]!r} names no service that custody asks")
        return kms
    said.put("keys", data, expression, fields.where)
    return ""


def _identity(fields: Fields) -> Callable[[KeylessSigner], bool]:
    issuer, subject = (_exactly(fields.take(name, str)) for name in ("issuer", "subject"))
    patterns = [_pattern(fields, name) for name in ("issuerRegExp", "subjectRegExp")]
    if fields.has("subjectExpression"):
        raise UnsupportedError(fields.path("subjectExpression"), "Kyverno evaluates it nowhere, and nor does custody",
                               hint="subject or subjectRegExp says who it is")
    fields.done()
    # An exact text stands before a pattern, as in cosign.
    issuers, subjects = issuer or patterns[0], subject or patterns[1]
    if issuers is None and subjects is None:
        raise MalformedError(fields.where, got="nothing", expected="an issuer or a subject")
    return lambda signer: (issuers is None or issuers(signer.issuer)) and (
        subjects is None or subjects(signer.subject))


def _exactly(text: str | None) -> _Test | None:
    return partial(str.__eq__, text) if text else None


def _pattern(fields: Fields, name: str) -> _Test | None:
    text = fields.take(name, str)
    try:
        return regexp(text, fields.path(name))
    except PatternError as error:
        raise MalformedError(fields.path(name), got=text, expected=error.message) from None


def _extensions(fields: Fields) -> dict[str, str]:
    demanded = fields.text_map("additionalExtensions")
    for key in demanded:
        if key != "oidcIssuer" and key not in EXTENSIONS:
            raise MalformedError(f"{fields.path('additionalExtensions')}.{key}", got=key,
                                 expected=f"oidcIssuer, {', '.join(EXTENSIONS)}")
    return {"issuer" if key == "oidcIssuer" else key: value for key, value in demanded.items()}


def _source(fields: Fields | None, said: _Said) -> None:
    if fields is None:
        return
    said.fields["repository"] = fields.take("repository", str) or ""
    names = [entry.need("name", str) for entry in fields.each("PullSecrets")]
    said.fields["secrets"] = (*said.fields["secrets"], *(f"kyverno/{name}" for name in names))
    fields.only("tagPrefix", "", hint="cosign's tags are sha256-DIGEST.sig")
    fields.done()


def _logs(fields: Fields | None, said: _Said) -> None:
    if fields is None:
        return
    url, key = fields.take("url", str) or "", fields.take("rekorPubKey", str) or ""
    said.fields |= {"log_url": url, "log_key": key, "ct_key": fields.take("ctLogPubKey", str) or "",
                    "stamps": fields.take("tsaCertChain", str) or "",
                    "ignore_log": fields.take("insecureIgnoreTlog", bool) is True,
                    "ignore_sct": fields.take("insecureIgnoreSCT", bool) is True}
    fields.done()


def _tuf(fields: Fields | None) -> None:
    """What Kyverno trusts where nothing is said is custody's own trust root; another repository is not read."""
    if fields is None:
        return
    root, mirror = fields.inner("root"), fields.take("mirror", str) or _PUBLIC_MIRROR
    fields.done()
    if root is not None:
        root.only("path", "", hint="trustedRoot takes a whole trusted_root.json")
        root.only("data", "", hint="trustedRoot takes a whole trusted_root.json")
        root.done()
    if mirror.rstrip("/") != _PUBLIC_MIRROR:
        raise UnsupportedError(fields.path("mirror"), f"{json.dumps(mirror)} is not read by custody",
                               hint="trustedRoot takes a whole trusted_root.json")
