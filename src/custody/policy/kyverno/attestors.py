"""Who must have signed: attestor sets of `verifyImages`, compiled to what they ask for and what they object to.

Whom the service's own trust root vouches for is gathered with the image. Where an attestor says more (roots, a log's
key, certificates, another repository …), it asks a question of its own: `ports.lookup.ImageEvidence`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import KeylessSigner, KeySigner, Verified, no_bundle
from custody.kit.digest import sha256
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.keptkeys import kept_at
from custody.policy.kyverno.sought import Sought
from custody.policy.lookup import Together
from custody.ports.lookup import Authority
from custody.sign.trusting import HASHES, PEM_KEY, trust_of
from policylang.go.regex import PatternError, compiled
from policylang.go.wildcards import wildcard
from policylang.variables import has_variables

PUBLIC_REKOR = "https://rekor.sigstore.dev"
EXTENSIONS = ("githubWorkflowTrigger", "githubWorkflowSha", "githubWorkflowName", "githubWorkflowRepository",
              "githubWorkflowRef")
"""Fulcio's extensions 1.3.6.1.4.1.57264.1.2 to .6, which additionalExtensions may name; and oidcIssuer is .1."""
_ARC = "1.3.6.1.4.1.57264.1."
FORMS = ("keys", "keyless", "attestor", "certificates")
_NESTED = 8
Objection = Callable[[Verified], "str | None"]
"""Why a verified statement is not what an attestor entry demands; None where it is."""
Believed = Callable[[Given], "Authority | None"]
"""Whom an attestor believes in a request; None: those of the service's own trust root, and keys that policies name."""


class Attested(NamedTuple):
    """The statements that satisfy an attestor, or why there are not enough."""

    statements: list[Verified]
    problem: str | None


Attestor = Callable[[Sought], Attested]


class Attestors:
    """Compiles the attestor sets of one entry of `verifyImages`."""

    def __init__(self, kind: str, base: Authority, annotations: dict[str, str], *, draft: bool = False,
                 filled: bool = False, unlogged: bool = False) -> None:
        """`base` is what the entry says of where evidence is. `draft`: what has variables is not there yet; `filled`:
        it is there, and whoever gathers did not know it before. `unlogged`: who asks for the evidence of a certificate
        that is named says himself whether it must be in a log.
        """
        self._unlogged = unlogged
        self._kind = kind
        self._base = base
        self._annotations = annotations
        self._draft = draft
        self._filled = filled
        self.keys: list[bytes] = []
        """PEM keys that whoever gathers must verify with."""

    def anybody(self, path: str) -> Attestor:
        """Whoever is believed at all."""
        return _member(path, lambda _: self._own(), [self._stored()])

    def compile(self, fields: Fields, path: str, *, nested: bool = True, depth: int = 0) -> Attestor:
        count = fields.take("count", int)
        members = [member for at, attestor in enumerate(fields.each("entries"))
                   for member in self._entry(attestor, f"{path}.entries[{at}]", nested, depth)]
        fields.done()
        if not members or (count is not None and not 0 <= count <= len(members)):
            raise MalformedError(fields.where, got=f"count {count} of {len(members)} entries",
                                 expected="entries, and a count of 1 up to their number")
        return partial(_counted, members, count or len(members))

    def _entry(self, fields: Fields, path: str, nested: bool, depth: int) -> list[Attestor]:
        form = self._form(fields)
        annotations = fields.text_map("annotations") if fields.has("annotations") else self._annotations
        repository = fields.take("repository", str)
        if form == "attestor":
            if not nested or depth >= _NESTED:
                raise UnsupportedError(fields.path("attestor"), "not evaluated by custody yet here")
            for name, value in (("annotations", fields.has("annotations")), ("repository", repository)):
                if value:
                    raise UnsupportedError(fields.path(name), "an attestor inside this one says it for itself")
            fields.any("signatureAlgorithm")  # the API server writes its default into each entry
            inner = Fields(fields.any("attestor"), fields.path("attestor"))
            fields.done()
            return [self.compile(inner, f"{path}.attestor", depth=depth + 1)]
        base = msgspec.structs.replace(self._base, repository=repository) if repository else self._base
        common = [_annotated(annotations), self._stored()]
        return [_member(f"{path}.{form}", *member) for member in self.members(fields, form, base, common)]

    def _form(self, fields: Fields) -> str:
        forms = [name for name in FORMS if fields.has(name)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                                 expected="one of keys, keyless, certificates, attestor")
        if self._kind == "Notary" and forms[0] in ("keys", "keyless"):
            raise MalformedError(fields.path(forms[0]), got="one for type Notary", expected="certificates")
        return forms[0]

    def members(self, fields: Fields, form: str, base: Authority, common: list[Objection]
                ) -> list[tuple[Believed, list[Objection]]]:
        """What one entry asks for, of which all but `form` and the algorithm was taken: an entry for each key."""
        algorithm = self._algorithm(fields)
        block = fields.inner(form)
        assert block is not None
        fields.done()
        if form == "keyless":
            return [self._keyless(block, base, common)]
        if form == "certificates":
            return [self._certificates(block, base, common)]
        return self._keys(block, base, algorithm, common)

    def _own(self) -> Authority | None:
        """Whom an attestor believes that says nothing of it."""
        return None if self._base == Authority() else self._base

    def _stored(self) -> Objection:
        bundles = self._kind == "SigstoreBundle"
        return lambda statement: no_bundle(statement) if bundles else None

    def _algorithm(self, fields: Fields) -> str:
        """The hash that a key signs with where it is another than the usual one."""
        algorithm = fields.take("signatureAlgorithm", str) or ""
        if algorithm and algorithm not in HASHES and not has_variables(algorithm):
            raise MalformedError(fields.path("signatureAlgorithm"), got=algorithm, expected=", ".join(HASHES))
        return "" if algorithm == "sha256" else algorithm

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _keys(self, fields: Fields, base: Authority, algorithm: str, common: list[Objection]
              ) -> list[tuple[Believed, list[Objection]]]:
        own = self._algorithm(fields)
        text, kms, secret = fields.take("publicKeys", str), fields.take("kms", str), fields.inner("secret")
        said = [name for name, value in (("publicKeys", text), ("kms", kms), ("secret", secret)) if value]
        if not said:
            raise MalformedError(fields.where, got="nothing", expected="publicKeys, kms or secret")
        if len(said) > 1:
            raise MalformedError(fields.where, got=" and ".join(said), expected="one of them")
        if secret is not None:
            text = f"k8s://{secret.need('namespace', str)}/{secret.need('name', str)}"
            secret.done()
        authority, log, url = self._trust(fields, msgspec.structs.replace(base, algorithm=own or algorithm))
        fields.done()
        written = text or kms or ""
        where = fields.path(said[0])
        if has_variables(written) and self._draft:
            return [(lambda _: authority, [])]
        pems = PEM_KEY.findall(written)
        if pems and PEM_KEY.sub("", written).strip():
            raise MalformedError(where, got=PEM_KEY.sub("", written).strip()[:60], expected="PEM public keys alone")
        if not pems:
            return [(kept_at(written.strip(), where, authority), [*common, _by_key])]
        members: list[tuple[Believed, list[Objection]]] = []
        for pem in pems:
            fingerprint = _fingerprint(pem, where)
            if self._plain(authority, url):
                self.keys.append(pem.encode() + b"\n")
                members.append((lambda _: None, [*common, _by(fingerprint), log]))
            else:
                believed = msgspec.structs.replace(authority, keys=pem)
                members.append((partial(_always, believed), [*common, _by(fingerprint)]))
        return members

    def _plain(self, authority: Authority, log_url: str) -> bool:
        """Whether evidence that is gathered anyway will do, as it says which log it is in."""
        usual = msgspec.structs.replace(authority, ignore_log=False, ignore_sct=False) == Authority()
        return usual and not self._filled and not log_url

    # ── certificates ────────────────────────────────────────────────────────────────────────────────────────────────

    def _certificates(self, fields: Fields, base: Authority, common: list[Objection]
                      ) -> tuple[Believed, list[Objection]]:
        certificate, chain = fields.take("cert", str) or "", fields.take("certChain", str) or ""
        if not certificate and not chain:
            raise MalformedError(fields.where, got="nothing", expected="cert or certChain")
        if self._kind == "Notary":
            for name in ("rekor", "ctlog"):
                fields.only(name, hint="signatures of the Notary Project are in no such log")
            fields.done()
            authority = msgspec.structs.replace(base, notary=True, roots="\n".join(filter(None, (certificate, chain))))
            return partial(_always, self._checked(authority, fields.where)), common
        authority, log, _ = self._trust(fields, base)
        fields.done()
        if certificate:
            authority = msgspec.structs.replace(authority, certificate=_unwrapped(certificate), chain=chain)
        else:
            authority = msgspec.structs.replace(authority, roots=chain)
        return partial(_always, self._checked(authority, fields.where)), common if self._unlogged else [*common, log]

    # ── keyless ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _keyless(self, fields: Fields, base: Authority, common: list[Objection]
                 ) -> tuple[Believed, list[Objection]]:
        subject, issuer = fields.take("subject", str), fields.take("issuer", str)
        subject_re = regexp(fields.take("subjectRegExp", str), fields.path("subjectRegExp"), draft=self._draft)
        issuer_re = regexp(fields.take("issuerRegExp", str), fields.path("issuerRegExp"), draft=self._draft)
        extensions = _extensions(fields)
        roots = fields.take("roots", str) or ""
        if not fields.has("rekor") and not roots:
            raise MalformedError(fields.path("rekor"), got="nothing", expected="rekor.url or roots")
        authority, log, url = self._trust(fields, msgspec.structs.replace(base, roots=roots))
        fields.done()
        who = partial(_who, subject, subject_re, issuer, issuer_re, extensions)
        if not url and authority == Authority():
            return lambda _: None, [*common, who, log]
        return partial(_always, self._checked(authority, fields.where)), [*common, who, log]

    # ── logs and stamps ─────────────────────────────────────────────────────────────────────────────────────────────

    def _trust(self, fields: Fields, base: Authority) -> tuple[Authority, Objection, str]:
        """What `rekor` and `ctlog` say: whom to believe, an objection to other logs, and a log's own URL."""
        rekor, ctlog = fields.inner("rekor"), fields.inner("ctlog")
        url, key, ignored = PUBLIC_REKOR, "", False
        if rekor is not None:
            ignored = rekor.take("ignoreTlog", bool) is True
            url, key = rekor.take("url", str) or PUBLIC_REKOR, rekor.take("pubkey", str) or ""
            rekor.done()
        ct_key = stamps = ""
        ignore_sct = False
        if ctlog is not None:
            ignore_sct = ctlog.take("ignoreSCT", bool) is True
            ct_key, stamps = ctlog.take("pubkey", str) or "", ctlog.take("tsaCertChain", str) or ""
            ctlog.done()
        authority = msgspec.structs.replace(base, ignore_log=ignored, log_key=key, log_url=url if key else "",
                                            ignore_sct=ignore_sct, ct_key=ct_key, stamps=stamps)
        self._checked(authority, fields.where)
        return authority, _logged(url, ignored=ignored, named=bool(key)), url if key else ""

    def _checked(self, authority: Authority, where: str) -> Authority:
        """Raises MalformedError, UnsupportedError, VerificationError for an authority that nobody can be."""
        if has_variables(msgspec.to_builtins(authority)) and self._draft:
            return authority
        try:
            # Whether a certificate was promised to a log is for who has the log's key.
            trust_of(msgspec.structs.replace(authority, ignore_sct=True), None)
        except CustodyError as error:
            error.message = f"{where}.{error.message}"
            error.args = (error.message,)
            raise
        return authority


def _always(authority: Authority, _: Given) -> Authority:
    return authority


def _counted(members: list[Attestor], required: int, sought: Sought) -> Attested:
    problems: list[str] = []
    statements: list[Verified] = []
    good = 0
    together = Together()
    for member in members:
        with together:
            attested = member(sought)
            if attested.problem is None:
                good += 1
                statements += attested.statements
                if good >= required:
                    return Attested(statements, None)
            else:
                problems.append(attested.problem)
    together.done()
    return Attested(statements, "; ".join(problems))


def _member(path: str, believed: Believed, objections: list[Objection]) -> Attestor:
    def attest(sought: Sought) -> Attested:
        candidates, absent = sought.candidates(believed(sought.given))
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
            return Attested(good, None)
        return Attested([], f"{path}: {'; '.join(reasons[:5]) if candidates else absent()}")

    return attest


def _annotated(annotations: dict[str, str]) -> Objection:
    def object_to(statement: Verified) -> str | None:
        for key, value in annotations.items():
            if statement.annotations.get(key) != value:
                return f"annotations mismatch: expected {key}={value}, received {statement.annotations.get(key)}"
        return None

    return object_to


def _by_key(statement: Verified) -> str | None:
    return None if isinstance(statement.signer, KeySigner) else f"key mismatch: received {statement.signer}"


def _by(fingerprint: str) -> Objection:
    def object_to(statement: Verified) -> str | None:
        if isinstance(statement.signer, KeySigner) and statement.signer.fingerprint == fingerprint:
            return None
        return f"key mismatch: expected key {fingerprint}, received {statement.signer}"

    return object_to


def _fingerprint(pem: str, where: str) -> str:
    try:
        loaded = load_pem_public_key(pem.encode())
        return sha256(loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(where, got=pem[:60], expected=f"a PEM public key ({error})") from None


def _unwrapped(certificate: str) -> str:
    """PEM text, which may be written in base64."""
    try:
        return base64.b64decode(certificate, validate=True).decode()
    except ValueError:
        return certificate


def _extensions(fields: Fields) -> dict[str, str]:
    """Values by the names of Fulcio's claims; `issuer` for the OIDC issuer."""
    demanded: dict[str, str] = {}
    for key, value in fields.text_map("additionalExtensions").items():
        number = key.removeprefix(_ARC)
        name = "issuer" if key == "oidcIssuer" or key == f"{_ARC}1" else key if key in EXTENSIONS else (
            EXTENSIONS[int(number) - 2] if key != number and number in ("2", "3", "4", "5", "6") else None)
        if name is None:
            raise MalformedError(f"{fields.path('additionalExtensions')}.{key}", got=key,
                                 expected=f"oidcIssuer, {', '.join(EXTENSIONS)}, or their OID")
        demanded[name] = value
    return demanded


class _Regexp:
    """An unanchored match as Go's regexp does it, linear in the text (cosign pkg/cosign/verify.go: MatchString)."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._compiled = compiled(pattern)

    def __call__(self, text: str) -> bool:
        return self._compiled.search(text) is not None


def regexp(pattern: str | None, where: str, *, draft: bool = False) -> _Regexp | None:
    if not pattern or (draft and has_variables(pattern)):
        return None
    try:
        return _Regexp(pattern)
    except PatternError as error:
        raise MalformedError(where, got=pattern, expected=f"a regular expression of Go ({error.message})") from None


def _who(subject: str | None, subject_re: _Regexp | None, issuer: str | None, issuer_re: _Regexp | None,
         extensions: dict[str, str], statement: Verified) -> str | None:
    signer = statement.signer
    if not isinstance(signer, KeylessSigner):
        return f"certificate not found: signed with {signer}"
    subjects = [test for test in (wildcard(subject) if subject else None, subject_re) if test]
    if subjects and not any(test(signer.subject) for test in subjects):
        expected = subject or subject_re.pattern  # type: ignore[union-attr]
        return f"subject mismatch: expected {expected}, received {signer.subject}"
    for expected, test in ((issuer, wildcard(issuer) if issuer else None),
                           (issuer_re.pattern if issuer_re else None, issuer_re)):
        if test is not None and not test(signer.issuer):
            return f"issuer mismatch: expected {expected}, received {signer.issuer}"
    for name, value in extensions.items():
        got = signer.issuer if name == "issuer" else signer.claims.get(name, "")
        if not wildcard(value)(got):
            return f"extension mismatch: expected {json.dumps(value)} for key {name}, received {json.dumps(got)}"
    return None


def _logged(url: str, *, ignored: bool, named: bool) -> Objection:
    """That the signature is in the log with this base URL; nothing where that is ignored, or the log's key is given."""
    def object_to(statement: Verified) -> str | None:
        if ignored:
            return None
        if statement.log is None:
            return f"not in a transparency log, expected an entry in {url}"
        if not named and statement.log.base_url.rstrip("/") != url.rstrip("/"):
            return f"log mismatch: expected an entry in {url}, received one in {statement.log.base_url}"
        return None

    return object_to
