"""`validate.manifests`: an object is what somebody signed (Kyverno pkg/engine/handlers/validation).

The manifest that was signed lies in the object's annotations, or in an image of a registry. A signature alone passes
nothing: what it is over must be this object, but for the fields that may differ.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from custody.errors import Check, CustodyError, MalformedError, UnsupportedError
from custody.evidence.model import EvidenceSet, KeylessSigner, Rejected, Verified
from custody.formats import intoto, reference, signedmanifest
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.attestors import FORMS, Attestors, Believed, Objection
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.kyverno.manifestdiff import Difference, IgnoredFields, Ignores, described, differences, size
from custody.policy.kyverno.manifestrun import DryRun
from custody.policy.kyverno.sought import evidence_for, evidence_of
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Outcome
from custody.ports.lookup import Authority, BlobEvidence, ImageLayers
from custody.sign.blob import blob_evidence
from policylang.go.printing import json_text

_CANDIDATES = 3
"""Manifests of another name that an object is compared with."""
_COMPARED = 100_000
"""Values that are compared to find them: what an object's author signs may be small, and unpack to many."""
_NESTED = 8
_WHO = {"keys": "publickey 1/1", "keyless": "signer 1/1"}
"""How Kyverno counts who may have signed, by the form of an entry."""
_ERROR = "error occurred during manifest verification"


class _Manifest(NamedTuple):
    """What was signed, and where: in annotations where `image` is empty."""

    data: str
    documents: list[dict[str, Any]]
    image: str = ""
    """`repository@digest`."""


class _Entry(NamedTuple):
    """One whose signature counts."""

    path: str
    believed: Believed
    objections: list[Objection]
    annotations: Mapping[str, str]
    """That the object must have."""
    repository: str


class _Set(NamedTuple):
    members: list[_Entry | _Set]
    required: int
    path: str


class _AbsentError(CustodyError):
    """No manifest of this object, or no signature, is there: it fails, where anything wrong with them is an error."""


def compile_manifests(fields: Fields) -> Judge:
    """Raises MalformedError, UnsupportedError."""
    domain = fields.take("annotationDomain", str) or signedmanifest.DOMAIN
    ignored = IgnoredFields(fields.each("ignoreFields"), domain)
    repository = fields.take("repository", str) or ""
    dry_run = DryRun(fields.inner("dryRun"))
    sets = [_compiled(attestors, f".attestors[{at}]", repository, 0)
            for at, attestors in enumerate(fields.each("attestors"))]
    if not sets:
        raise MalformedError(fields.path("attestors"), got="nothing", expected="at least one set of attestors")
    fields.done()

    def judge(subject: Subject) -> Judgement | None:
        given = subject.given
        judged = given.request.object
        if given.request.operation == "DELETE" or judged is None:
            return None
        if given.request.dry_run:
            return Judgement(Outcome.PASS, "allowed because of DryRun request")
        check = _Check(given, judged, domain, ignored.of(judged), dry_run)
        said: list[str] = []
        for attestors in sets:
            good, message = check.attested(attestors)
            if not good:
                return Judgement(Outcome.FAIL if good is False else Outcome.ERROR, message,
                                 "sign the manifest that is applied: kubectl sigstore sign -f FILE")
            said.append(message)
        return Judgement(Outcome.PASS, f"verified manifest signatures; {','.join(said)}")

    return judge


def _compiled(fields: Fields, path: str, repository: str, depth: int) -> _Set:
    count = fields.take("count", int)
    members: list[_Entry | _Set] = []
    for entry in fields.each("entries"):
        members += _entry(entry, f"{path}.entries", len(members), repository, depth)
    fields.done()
    if not members or (count is not None and not 0 <= count <= len(members)):
        raise MalformedError(fields.where, got=f"count {count} of {len(members)} entries",
                             expected="entries, and a count of 1 up to their number")
    return _Set(members, count or len(members), path)


def _entry(fields: Fields, path: str, at: int, repository: str, depth: int) -> list[_Entry | _Set]:
    """`at`: how many entries stand before it, where each key is one."""
    forms = [form for form in FORMS if fields.has(form)]
    if len(forms) != 1:
        raise MalformedError(fields.where, got=" and ".join(forms) or "nothing", expected=f"one of {', '.join(FORMS)}")
    annotations = fields.text_map("annotations")
    own = fields.take("repository", str) or repository
    if forms[0] == "attestor":
        if depth >= _NESTED:
            raise UnsupportedError(fields.path("attestor"), f"more than {_NESTED} attestors within attestors")
        if annotations:
            raise UnsupportedError(fields.path("annotations"), "an attestor inside this one says it for itself")
        fields.any("signatureAlgorithm")  # the API server writes its default into each entry
        inner = Fields(fields.any("attestor"), fields.path("attestor"))
        fields.done()
        return [_compiled(inner, f"{path}[{at}].attestor", own, depth + 1)]
    subject = (fields.peek("keyless") or {}).get("subject") if isinstance(fields.peek("keyless"), dict) else None
    common = [_exactly(subject)] if isinstance(subject, str) and subject else []
    attestors = Attestors("Cosign", Authority(), {}, filled=True, unlogged=True)
    members = attestors.members(fields, forms[0], Authority(), common)
    return [_Entry(f"{path}[{at + number}].{forms[0]}", believed, objections, annotations, own)
            for number, (believed, objections) in enumerate(members)]


def _exactly(subject: str) -> Objection:
    """No wildcards are in a signer's name here."""
    def object_to(signed: Verified) -> str | None:
        name = signed.signer.subject if isinstance(signed.signer, KeylessSigner) else ""
        return None if name == subject else (f"signature has been verified, but signer name `{name}` does not match "
                                             f"`{subject}`")

    return object_to


class _Check:
    """One object, on its way through the attestors of a rule."""

    def __init__(self, given: Given, judged: dict[str, Any], domain: str, ignores: Ignores, dry_run: DryRun) -> None:
        self._given = given
        self._judged = judged
        self._domain = domain
        self._ignores = ignores
        self._dry_run = dry_run
        metadata = judged.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        self._annotations: dict[str, str] = annotations if isinstance(annotations, dict) and all(
            isinstance(value, str) for value in annotations.values()) else {}
        self._matched: dict[str, list[Difference]] = {}

    def attested(self, attestors: _Set) -> tuple[bool | None, str]:
        """Whether enough of them signed this object, and what is said of it; None where that could not be found out."""
        passed: list[str] = []
        failed: list[str] = []
        errors: list[str] = []
        for member in attestors.members:
            good, message = self.attested(member) if isinstance(member, _Set) else self._signed_by(member)
            if good is None and isinstance(member, _Set):
                message = f"failed to verify signature; {member.path}: {message.removeprefix(f'{_ERROR}: ')}"
            (passed if good else errors if good is None else failed).append(message)
            if len(passed) >= attestors.required:
                break
        good = len(passed) >= attestors.required
        if errors and not good:
            return None, f"{_ERROR}: {'; '.join(errors)}"
        return good, (f"manifest verification {'succeeded' if good else 'failed'}; verifiedCount {len(passed)}; "
                      f"requiredCount {attestors.required}; message {','.join(passed if good else failed)}")

    def _signed_by(self, entry: _Entry) -> tuple[bool | None, str]:
        for key, value in entry.annotations.items():
            if self._annotations.get(key, "") != value:
                return None, (f"annotations mismatch: {self._annotations.get(key, '')} does not match expected value "
                              f"{value} for key {key}")
        try:
            manifest = self._manifest(entry.repository)
            signed = self._signature(manifest, entry)
            listed = self._differences(manifest)  # of what somebody signed: the API server is asked to try it out
        except _AbsentError as error:
            return False, f"{entry.path}: {error.message}"
        except (MalformedError, _UnsignedError, LookupFailedError) as error:
            return None, f"{entry.path}: {error.message}"
        if listed:
            return False, f"{entry.path}: failed to verify signature. diff found; {described(listed)}"
        signer = signed.signer.subject if isinstance(signed.signer, KeylessSigner) else ""
        return True, f"singed by a valid signer: {signer}"

    # ── what was signed ─────────────────────────────────────────────────────────────────────────────────────────────

    def _manifest(self, repository: str) -> _Manifest:
        """Raises _AbsentError, MalformedError, UnansweredError, LookupFailedError."""
        place = self._annotations.get(f"{self._domain}/{signedmanifest.PLACE}") or repository
        known: _Manifest | CustodyError | None = self._given.memo.get((_Manifest, self._domain, place))
        if known is None:
            try:
                known = self._of_images(place) if place else self._of_annotations()
            except (_AbsentError, MalformedError) as error:
                known = error
            self._given.memo[_Manifest, self._domain, place] = known
        if isinstance(known, CustodyError):
            raise known
        return known

    def _of_annotations(self) -> _Manifest:
        text = self._annotations.get(f"{self._domain}/{signedmanifest.MESSAGE}")
        if text is None:
            raise _AbsentError("YAML manifest not found for this resource: message not found")
        try:
            data = signedmanifest.message(text)
            documents = signedmanifest.manifests(data)
        except MalformedError as error:
            error.message = f"YAML manifest not found for this resource: {error.message}"
            raise
        return _Manifest(base64.b64encode(data).decode(), self._candidates(documents, "gzipped message"))

    def _of_images(self, places: str) -> _Manifest:
        """The first of the images that has one."""
        failure = _AbsentError("")
        for place in map(str.strip, places.split(",")):
            name = str(reference.parse(place))
            answer = self._given.answers.value(ImageLayers(name, Authority()))
            if answer is None:
                raise MalformedError("resourceBundleRef", got=name, expected="an image that is there")
            documents: list[dict[str, Any]] = []
            for layer in answer["layers"]:
                documents += signedmanifest.manifests(base64.b64decode(layer), f"image {name}")
            try:
                return _Manifest("", self._candidates(documents, "image"),
                                 f"{reference.parse(name).name}@{answer['digest']}")
            except _AbsentError as error:
                failure = error
        raise failure

    def _candidates(self, documents: Sequence[dict[str, Any]], where: str) -> list[dict[str, Any]]:
        """The manifest of the object's name; or those of its kind that are most like it."""
        kind = self._judged.get("kind")
        alike = [document for document in documents if document.get("kind") == kind]
        if not alike:
            raise _AbsentError("YAML manifest not found for this resource: failed to find a YAML manifest in the "
                               f"{where}")
        same = [document for document in alike if _named(document) == _named(self._judged)]
        if same:
            namespace = _meta(self._judged).get("namespace")
            return [next((document for document in same if _meta(document).get("namespace") == namespace), same[0])]
        if len(alike) > 1 and len(alike) * size(self._judged) + sum(map(size, alike)) > _COMPARED:
            raise MalformedError(f"the {where}", got=f"{len(alike)} manifests of other names",
                                 expected="the manifest of this object, or few and small ones")
        return sorted(alike, key=lambda document: len(differences(document, self._judged)))[:_CANDIDATES]

    def _differences(self, manifest: _Manifest) -> list[Difference]:
        """Of the manifest that is most like the object; none where one of them is it."""
        key = manifest.image or manifest.data
        known = self._matched.get(key)
        if known is None:
            listed = [self._compared(document) for document in manifest.documents]
            known = self._matched[key] = [] if [] in listed else listed[0]
        return known

    def _compared(self, document: dict[str, Any]) -> list[Difference]:
        counting = self._counting(document, self._judged)
        # The path that is asked is the manifest's own group and version, and its name is not compared afterwards.
        tried = all(difference.key not in ("apiVersion", "kind", "metadata.name") for difference in counting)
        if counting and tried and (made := self._dry_run.created(self._given, document, self._judged)) is not None:
            return self._counting(*made)
        return counting

    def _counting(self, signed: dict[str, Any], judged: dict[str, Any]) -> list[Difference]:
        return [difference for difference in differences(signed, judged) if not self._ignores(difference.key)]

    # ── who signed it ───────────────────────────────────────────────────────────────────────────────────────────────

    def _signature(self, manifest: _Manifest, entry: _Entry) -> Verified:
        """Raises _AbsentError, _UnsignedError, UnansweredError, LookupFailedError."""
        authority = entry.believed(self._given) or Authority()
        if manifest.image:
            evidence = evidence_for(self._given, manifest.image, authority, (intoto.COSIGN_SIGN,))
            reasons = [self._objection(entry, signed) or signed for signed in evidence.signatures]
            reasons += [f"{rejected.source}: {rejected.reason}" for rejected in evidence.rejected]
            return _first(reasons, lambda said: f"failed to verify signature: signature verification failed: error "
                          f"occured while verifying image `{manifest.image}`; "
                          f"{'; '.join(said[:5]) or 'no signatures found'}")
        try:
            sets = signedmanifest.signature_sets(self._annotations, self._domain)
        except MalformedError as error:
            error.message = f"failed to verify signature: {error.message}"
            raise
        if not sets:
            raise _AbsentError("failed to verify signature: signature not found")
        results: list[Verified | str] = []
        for number, signature in enumerate(sets, 1):
            evidence = self._evidence(manifest, signature, authority)
            reason = self._objection(entry, evidence.verified[0]) if evidence.verified else _told(evidence.rejected[0])
            if reason is None:
                return evidence.verified[0]
            who = _WHO.get(entry.path.rpartition(".")[2], "")
            results.append(f"[{who}] [signature {number}/{len(sets)}] error: {reason}")
        return _first(results, lambda said: f"failed to verify signature: verification failed for {len(said)} "
                      f"signature. all trials: [{','.join(map(json_text, said))}]")

    def _evidence(self, manifest: _Manifest, signature: signedmanifest.SignatureSet, authority: Authority
                  ) -> EvidenceSet:
        named = bool(authority.keys or authority.certificate)
        if named and not signature.bundle:
            # Nobody asks a log for what a key signed, as Kyverno does not either.
            authority = msgspec.structs.replace(authority, ignore_log=True)
        question = BlobEvidence(manifest.data, signature.signature, signature.certificate, signature.bundle,
                                msgspec.structs.replace(authority, ignore_sct=True))
        if named and not signature.bundle:
            memo = self._given.memo
            if question not in memo:
                memo[question] = blob_evidence(question, None, self._given.context.now)
            kept: EvidenceSet = memo[question]
            return kept
        return evidence_of(self._given, question)

    @staticmethod
    def _objection(entry: _Entry, signed: Verified) -> str | None:
        return next((reason for object_to in entry.objections if (reason := object_to(signed)) is not None), None)


class _UnsignedError(CustodyError):
    """No signature is by whom it must be."""


def _told(rejected: Rejected) -> str:
    """In Kyverno's words where it has some of its own."""
    if rejected.check is not Check.SIGNATURE:
        return rejected.reason
    return "cosign.VerifyBlobCmd.Exec() returned an error: invalid signature when validating ASN.1 encoded signature"


def _first(results: Sequence[Verified | str], told: Callable[[list[str]], str]) -> Verified:
    for result in results:
        if isinstance(result, Verified):
            return result
    raise _UnsignedError(told([str(result) for result in results]))


def _meta(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _named(document: Mapping[str, Any]) -> tuple[str, Any, Any]:
    group, _, _ = str(document.get("apiVersion", "")).rpartition("/")
    return group, document.get("kind"), _meta(document).get("name") or ""
