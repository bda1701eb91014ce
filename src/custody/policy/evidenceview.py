"""Evidence as the policy languages see it: plain data, by kind, of which nothing is there that nobody vouches for.

`custody.evidence(image)` of Rego and `evidence(image)` of CEL give this map (docs/guides/evidence.md):

    image, digest     its canonical name, and the digest that the evidence is about
    states            of each kind: verified, stale, missing, failed or unverifiable
    reasons           why, of those that are neither verified nor stale
    KIND              what is verified, a list of statements; absent in every other state

A kind that is not verified is absent and no empty list: CEL makes an error of reading it, and Rego's callers are told
by `unverified`, so that "none of them is bad" is never said of what is not there.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet, KeylessSigner, KeySigner, Signer, State, Verified
from custody.evidence.newest import newest
from custody.formats import intoto, intotovulns, sbom, vulnattestation
from custody.formats.slsa import PROVENANCE_V1
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.policy.given import Given
from custody.policy.images import Image, image
from custody.policy.lookup import UnansweredError
from custody.policy.rule import Needs
from custody.ports.lookup import Authority, ImageEvidence
from policylang.errors import Shape
from policylang.go.regex import PatternError, compiled

PROVENANCE_02 = "https://slsa.dev/provenance/v0.2"
TYPES: Mapping[str, tuple[str, ...]] = {
    "signatures": (intoto.COSIGN_SIGN,),
    "provenance": (PROVENANCE_V1, PROVENANCE_02),
    "sbom": sbom.PREDICATES,
    "findings": (vulnattestation.PREDICATE_TYPE, intotovulns.PREDICATE_TYPE)}
"""The predicate types of each kind."""
KINDS = tuple(TYPES)
COUNTED = ("verified", "stale")
"""States in which a kind is there."""
SEVERITIES = ("critical", "high", "medium", "low", "none", "unknown")
_KEPT = 256
_SHOWN = 200
_MAX_SIGNERS = 64


class Accepted(NamedTuple):
    """One whose statements count: all that is stated must hold; of keys the fingerprint."""

    exact: Mapping[str, str]
    patterns: Mapping[str, Any]
    key: str = ""

    def takes(self, signer: Signer) -> bool:
        if self.key:
            return isinstance(signer, KeySigner) and signer.fingerprint == self.key
        return isinstance(signer, KeylessSigner) and all(
            getattr(signer, name) == text for name, text in self.exact.items()) and all(
            pattern.fullmatch(getattr(signer, name)) is not None for name, pattern in self.patterns.items())


Who = Mapping[str, Sequence[Accepted]]
"""By kind, whose statements count; other kinds are not asked for."""


def accepted(written: Any) -> Who:
    """`{"signatures": [{"issuer": …, "subject": …}], …}`; also `issuerRegExp`, `subjectRegExp`, which the whole text
    must match, and `key` (a fingerprint).

    Raises MalformedError.
    """
    if not isinstance(written, dict):
        raise MalformedError("who", got=Shape(written), expected="a map of kinds of evidence")
    who: dict[str, Sequence[Accepted]] = {}
    for kind, entries in written.items():
        if kind not in TYPES:
            raise MalformedError("who", got=str(kind)[:_SHOWN], expected=", ".join(KINDS))
        if not isinstance(entries, list) or not entries or len(entries) > _MAX_SIGNERS:
            raise MalformedError(f"who.{kind}", got=Shape(entries), expected=f"a list of 1 to {_MAX_SIGNERS} signers")
        who[kind] = [_accepted(entry, f"who.{kind}[{at}]") for at, entry in enumerate(entries)]
    if not who:
        raise MalformedError("who", got="nothing", expected=", ".join(KINDS))
    return who


def _accepted(entry: Any, where: str) -> Accepted:
    if not isinstance(entry, dict) or not all(isinstance(value, str) and value for value in entry.values()):
        raise MalformedError(where, got=Shape(entry), expected="a map of texts")
    known = {"issuer", "subject", "issuerRegExp", "subjectRegExp", "key"}
    if unknown := sorted(str(name) for name in entry if name not in known):
        raise MalformedError(where, got=unknown[0][:_SHOWN], expected=", ".join(sorted(known)))
    if "key" in entry:
        if len(entry) > 1 or not re.fullmatch("sha256:[0-9a-f]{64}", entry["key"]):
            raise MalformedError(f"{where}.key", got=entry["key"][:_SHOWN],
                                 expected="sha256:… of the public key (DER), alone")
        return Accepted({}, {}, entry["key"])
    for name in ("issuer", "subject"):
        if (name in entry) == (f"{name}RegExp" in entry):
            raise MalformedError(where, got=f"{'both' if name in entry else 'neither'} of {name} and {name}RegExp",
                                 expected="one of them")
    return Accepted({name: entry[name] for name in ("issuer", "subject") if name in entry},
                    {name: _pattern(entry[f"{name}RegExp"], f"{where}.{name}RegExp")
                     for name in ("issuer", "subject") if f"{name}RegExp" in entry})


def _pattern(text: str, where: str) -> Any:
    try:
        return compiled(text)
    except PatternError as error:
        raise MalformedError(where, got=text[:_SHOWN], expected=f"a regular expression: {error}") from None


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def types_of(kinds: Collection[str]) -> frozenset[str]:
    return frozenset(kind for name in kinds for kind in TYPES[name])


def needs_of(given: Given, kinds: Collection[str]) -> Needs:
    """The evidence of the images that a request brings into a pod: asked for together, before it is judged."""
    types = types_of(kinds)
    return Needs({named.name: types for named in given.images})


def evidence_view(given: Given, written: str, who: Who | None = None) -> dict[str, Any]:
    """Raises UnansweredError where it is still to be gathered, MalformedError for what is no name of an image."""
    named = image(written)
    gathered = given.evidence_of(named)
    if gathered is None:
        for other in given.images:  # so that all are asked for in one round
            given.evidence_of(other)
        question = ImageEvidence(named.name, Authority(), ())
        given.answers.missed += 1
        given.answers.last = question
        raise UnansweredError(question)
    known = view(named, gathered, given.context.now, who)
    given.memo.setdefault(evidence_view, []).append(known)
    return known


def relied_on(given: Given, since: int) -> tuple[str, ...]:
    """Digests of the evidence that was shown of a request; `since`: beside the first so many views."""
    views = given.memo.get(evidence_view, ())[since:]
    return tuple(dict.fromkeys(statement["evidence"] for known in views for kind in KINDS
                               for statement in known.get(kind, ())))


def viewed(given: Given) -> int:
    """How many views were shown by now."""
    return len(given.memo.get(evidence_view, ()))


def explained(given: Given, message: str) -> str:
    """An expression's error, with the reason why the kind of evidence that it reads is not there."""
    for known in given.memo.get(evidence_view, ()):
        for kind in KINDS:
            if f"no such key: {kind}" in message:
                for words in unverified(known, [kind]):
                    return f"{message} ({words})"
    return message


def unverified(known: Mapping[str, Any], kinds: Collection[str]) -> Iterator[str]:
    """Of these kinds, those that do not count of an image, each in words with its reason."""
    for kind in KINDS:
        state = known["states"].get(kind)
        if kind in kinds and state is not None and state not in COUNTED:
            yield f"{kind} of {known['image']}: {state}: {known['reasons'][kind]}"


# ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────────

def view(named: Image, gathered: EvidenceSet, now: datetime, who: Who | None = None) -> dict[str, Any]:
    """Of one image. With `who`, of those kinds and by those signers alone."""
    known: dict[str, Any] = {"image": named.name, "digest": gathered.subject, "states": {}, "reasons": {}}
    if gathered.stale_since is not None:
        known["stale_since"] = format_rfc3339(gathered.stale_since)
    for kind in KINDS if who is None else who:
        state, reason, statements = _of_kind(named, gathered, now, kind, None if who is None else who[kind])
        known["states"][kind] = str(state)  # a plain text: the languages know no other
        if statements:
            known[kind] = statements
        else:
            known["reasons"][kind] = reason
    return known


def _of_kind(named: Image, gathered: EvidenceSet, now: datetime, kind: str,
             signers: Sequence[Accepted] | None) -> tuple[str, str, list[dict[str, Any]]]:
    """(state, why it does not count, what does)."""
    if gathered.tag_since is not None and not named.digest:
        return State.UNVERIFIABLE, "what its tag means cannot be looked up now", []
    if not gathered.subject:
        absent = gathered.rejected[0] if gathered.rejected else None
        return ((State.MISSING, "there is none", []) if absent is None
                else (absent.state, absent.reason, []))
    types = TYPES[kind]
    speaking = [statement for statement in gathered.verified
                if statement.predicate_type in types and statement.kind == (
                    "signature" if kind == "signatures" else "attestation")]
    counted = [statement for statement in speaking
               if signers is None or any(signer.takes(statement.signer) for signer in signers)]
    if kind != "signatures" and len(counted) > 1:
        counted = newest(counted).speaking
    if counted:
        try:
            statements = [{**_statement(statement), **_read(kind, statement, now)} for statement in counted]
        except CustodyError as error:
            return State.FAILED, f"it is signed, and cannot be read: {error.message}", []
        return ("stale" if gathered.stale_since is not None else "verified"), "", statements
    rejected = [entry for entry in gathered.rejected if entry.predicate_type is None or entry.predicate_type in types]
    for state in (State.UNVERIFIABLE, State.FAILED):
        for entry in rejected:
            if entry.state is state:
                return state, f"{entry.source}: {entry.reason}", []
    if speaking:
        others = ", ".join(dict.fromkeys(str(statement.signer) for statement in speaking[:5]))
        return State.FAILED, f"it is by {others}, who does not count", []
    return State.MISSING, next((entry.reason for entry in rejected), "there is none"), []


def _statement(statement: Verified) -> dict[str, Any]:
    """What every kind says: who vouches for it, when, and where that is logged."""
    signer = statement.signer
    if isinstance(signer, KeylessSigner):
        who: dict[str, Any] = {"issuer": signer.issuer, "subject": signer.subject, "claims": dict(signer.claims)}
    elif isinstance(signer, KeySigner):
        who = {"key": signer.fingerprint}
    else:
        who = {"certificate": signer.fingerprint, "subject": signer.subject}
    known: dict[str, Any] = {"signer": who, "type": statement.predicate_type, "evidence": statement.evidence,
                             "annotations": dict(statement.annotations)}
    if statement.signed_at is not None:
        known["signed_at"] = format_rfc3339(statement.signed_at)
    if statement.log is not None:
        known["log"] = {"url": statement.log.base_url, "index": statement.log.index, "id": statement.log.log_id}
    return known


# ── kinds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_CONTENTS: OrderedDict[int, tuple[Verified, Any]] = OrderedDict()
_LOCK = threading.Lock()


def _content(statement: Verified, read: Callable[[Verified], Any]) -> Any:
    """What was read of a statement, once for all who look at the same one: evidence outlives a burst of reviews."""
    with _LOCK:
        kept = _CONTENTS.get(id(statement))
        if kept is not None and kept[0] is statement:
            _CONTENTS.move_to_end(id(statement))
            return kept[1]
    content = read(statement)
    with _LOCK:
        _CONTENTS[id(statement)] = statement, content
        while len(_CONTENTS) > _KEPT:
            _CONTENTS.popitem(last=False)
    return content


def _read(kind: str, statement: Verified, now: datetime) -> dict[str, Any]:
    """Raises MalformedError, UnsupportedError."""
    if kind == "signatures":
        return {}
    read: dict[str, Any] = _content(statement, _READERS[kind])
    if kind == "findings":
        finished = parse_rfc3339(read["finished"], "metadata.scanFinishedOn")
        return {**read, "age": int((now - finished).total_seconds())}
    return read


def _provenance(statement: Verified) -> dict[str, Any]:
    """Builder, type of build, parameters from outside, and what went in."""
    predicate = _map(statement.predicate, "predicate")
    if statement.predicate_type == PROVENANCE_V1:
        definition = _map(predicate.get("buildDefinition"), "buildDefinition")
        details = _map(predicate.get("runDetails"), "runDetails")
        builder, materials = _map(details.get("builder"), "runDetails.builder"), definition.get("resolvedDependencies")
        kind, parameters = definition.get("buildType"), definition.get("externalParameters")
    else:
        builder, materials = _map(predicate.get("builder"), "builder"), predicate.get("materials")
        kind, parameters = predicate.get("buildType"), predicate.get("invocation")
    return {"builder": _text(builder.get("id"), "builder.id"), "build_type": _text(kind, "buildType"),
            "parameters": {} if parameters is None else _map(parameters, "parameters"),
            "materials": [{"uri": str(entry.get("uri") or ""), "digest": entry.get("digest") or {}}
                          for entry in _maps(materials, "materials")]}


def _sbom(statement: Verified) -> dict[str, Any]:
    catalog = sbom.of_predicate(statement.predicate_type, statement.predicate, "SBOM")
    return {"format": catalog.document.format if catalog.document is not None else "",
            "packages": [{"name": package.name, "version": package.version, "type": package.type, "purl": package.purl,
                          "licenses": [*package.licenses]} for package in catalog.packages]}


def _findings(statement: Verified) -> dict[str, Any]:
    """What a scanner found, and whether it says that it looked at everything."""
    predicate = _map(statement.predicate, "predicate")
    metadata, scanner = _map(predicate.get("metadata"), "metadata"), _map(predicate.get("scanner"), "scanner")
    finished = _text(metadata.get("scanFinishedOn"), "metadata.scanFinishedOn")
    parse_rfc3339(finished, "metadata.scanFinishedOn")
    gaps: list[str] | None = None
    ignored = 0
    if statement.predicate_type == intotovulns.PREDICATE_TYPE:
        vulnerabilities = [_of_intoto(entry) for entry in _maps(scanner.get("result"), "scanner.result")]
    else:
        result = _map(scanner.get("result"), "scanner.result")
        if "Results" not in result and "SchemaVersion" not in result:
            raise MalformedError("scanner.result", got="another scanner's form", expected="Results, as Trivy has them")
        vulnerabilities = [_of_trivy(entry) for part in _maps(result.get("Results"), "Results")
                           for entry in _maps(part.get("Vulnerabilities"), "Vulnerabilities")]
        if result.get("coverage") is not None:
            coverage = _map(result["coverage"], "coverage")
            listed, passed = coverage.get("gaps"), coverage.get("ignored") or []
            if not isinstance(listed, list) or not isinstance(passed, list):
                raise MalformedError("coverage.gaps", got=Shape(listed), expected="a list")
            gaps, ignored = [str(gap)[:_SHOWN] for gap in listed], len(passed)
    counts = dict.fromkeys(SEVERITIES, 0)
    for vulnerability in vulnerabilities:
        counts[vulnerability["severity"]] += 1
    return {"scanner": str(scanner.get("uri") or ""), "finished": finished, "counts": counts,
            "vulnerabilities": vulnerabilities, "covered": gaps == [] and not ignored,
            "gaps": [] if gaps is None else gaps, "ignored": ignored}


def _of_trivy(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": _text(entry.get("VulnerabilityID"), "VulnerabilityID"), "severity": _severity(entry.get("Severity")),
            "package": str(entry.get("PkgName") or ""), "version": str(entry.get("InstalledVersion") or ""),
            "fixed": str(entry.get("FixedVersion") or "")}


def _of_intoto(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Its scores have methods of the scanner's own: a word is a severity, a number one of CVSS."""
    worst = "unknown"
    for score in _maps(entry.get("severity"), "severity"):
        stated = str(score.get("score") or "")
        rated = _severity(stated)
        if re.fullmatch(r"\d{1,2}(\.\d+)?", stated):
            rated = next(word for floor, word in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"),
                                                  (0.0, "none")) if float(stated) >= floor)
        if rated != "unknown" and (worst == "unknown" or SEVERITIES.index(rated) < SEVERITIES.index(worst)):
            worst = rated
    purl = next((str(note["purl"]) for note in _maps(entry.get("annotations"), "annotations") if note.get("purl")), "")
    return {"id": _text(entry.get("id"), "id"), "severity": worst, "package": purl, "version": "", "fixed": ""}


_READERS: Mapping[str, Callable[[Verified], dict[str, Any]]] = {
    "provenance": _provenance, "sbom": _sbom, "findings": _findings}


def _severity(stated: Any) -> str:
    word = str(stated or "").lower()
    return {"negligible": "low", "moderate": "medium", "important": "high"}.get(
        word, word if word in SEVERITIES else "unknown")


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="a map")
    return value


def _maps(value: Any, where: str) -> list[dict[str, Any]]:
    """[] where it is absent."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise MalformedError(where, got=Shape(value), expected="a list of maps")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise MalformedError(where, got=Shape(value), expected="a text")
    return value
