"""Sigstore's ClusterImagePolicy as an engine (sigstore/policy-controller, policy.sigstore.dev v1beta1 and v1alpha1).

Every policy that is about an image must hold, and a policy holds where one of its authorities does. Images that no
policy is about are not judged here; policy-controller denies those, and looks only into namespaces that ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats.reference import Reference
from custody.policy.cel.constraints import compile_selector, resource_asked
from custody.policy.engine import Documents, Finding, Unit
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.imports.authority import Compliance, ImageAuthority, Matched
from custody.policy.kinds import Kinds
from custody.policy.kyverno.imagefields import ImageFields
from custody.policy.lookup import Answers, LookupFailedError, Together
from custody.policy.model import Outcome, Request, RuleResult, Vouched
from custody.policy.phases import Phase
from custody.policy.podfields import TEMPLATES
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Block, Condition, Filter, LabelSelector, Named, Scope
from custody.policy.summaries import SUMMARY, summary_of, vouched

_VERSIONS = ("policy.sigstore.dev/v1beta1", "policy.sigstore.dev/v1alpha1")
_GLOB = re.compile(r"[a-zA-Z0-9_:/*.@-]+")
_PARTS = re.compile(r"\*\*|\*")
_KINDS = tuple(kind for kind in TEMPLATES if kind not in ("PodTemplate", "ReplicationController"))
_FIELDS = ImageFields({})
_KNOWN = 4096


class _Judged(NamedTuple):
    problem: str | None
    relied: tuple[str, ...]
    summary: str = ""
    """Words for the summary that it rests on."""


class ClusterImageRule(Rule):
    phase = Phase.VERIFY
    reads_templates = True

    def __init__(self, policy: Policy, scope: Scope, globs: Sequence[re.Pattern[str]],
                 authorities: Sequence[ImageAuthority], compliance: Compliance | None, *, enforce: bool) -> None:
        self.policy, self.scope, self.enforce = policy, scope, enforce
        self.name = policy.name
        self._globs = globs
        self._authorities = authorities
        self._compliance = compliance
        self._by_evidence = all(authority.by_evidence for authority in authorities) and (
            compliance is None or compliance.by_evidence)
        self._known: dict[str, bool] = {}

    def _means(self, image: Image) -> bool:
        known = self._known.get(image.written)
        if known is None:
            names = {name for spelling in image.spellings for name in (
                spelling, re.sub(r"^docker\.io/", "index.docker.io/", spelling))}
            known = any(glob.fullmatch(name) for glob in self._globs for name in names)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[image.written] = known
        return known

    def needs(self, given: Given) -> Needs:
        meant = [image for image in _FIELDS.of(given)[0] if self._means(image)]
        return Needs({image.name: frozenset() for image in meant if not image.digest},
                     [question for image in meant if image.digest for authority in self._authorities
                      for question in authority.questions(given, f"{image.ref.name}@{image.digest}")])

    def evaluate(self, given: Given) -> Spoken:
        images, unreadable = _FIELDS.of(given)
        results = [self._result(given, Outcome.FAIL, f"failed policy: {self.name}: {error.message}")
                   for error in unreadable]
        pins: list[dict[str, Any]] = []
        together = Together()
        for image in images:
            if self._means(image):
                with together:
                    results.append(self._of_image(given, image, pins))
        together.done()
        return Spoken(results, pins if all(result.outcome is Outcome.PASS for result in results) else ())

    def _of_image(self, given: Given, image: Image, pins: list[dict[str, Any]]) -> RuleResult:
        """Raises UnansweredError. What is to be pinned goes into `pins`."""
        evidence = None if image.digest else given.evidence_of(image)
        digest = image.digest or (evidence.subject if evidence is not None else "")
        place = f"failed policy: {self.name}: {image.pointer}: {image.name}"
        if not digest:
            return self._result(given, Outcome.FAIL, f"{place} must be an image digest", image)
        problem, relied, said = self._judged(given, image.ref, digest)
        if problem is not None:
            return self._result(given, Outcome.FAIL, f"{place}: {problem}", image)
        if not image.digest and given.changes:
            pins.append({"op": "replace", "path": image.pointer, "value": f"{image.name}@{digest}"})
        if said:
            return self._result(given, Outcome.PASS, f"{image.name} is signed, by a summary: {said}", image, relied,
                                {SUMMARY: said})
        return self._result(given, Outcome.PASS, f"{image.name} is signed", image, relied)

    def _judged(self, given: Given, ref: Reference, digest: str) -> _Judged:
        """Once for a request, however often it is named."""
        key = (self, ref.name, digest)
        known: _Judged | None = given.memo.get(key)
        if known is None:
            reached: dict[str, bool] = {}
            known = _Judged(*self._judge(given, f"{ref.name}@{digest}", reached))
            if known.problem is not None and reached and not any(reached.values()) and self._by_evidence:
                summary = summary_of(self, given, ref, digest)
                if isinstance(summary, tuple):
                    known = _Judged(None, (summary[0].evidence,), summary[1])
                elif summary:
                    known = known._replace(problem=f"{known.problem}; by no summary either: {summary}")
            given.memo[key] = known
        return known

    def vouched(self, given: Given, results: Sequence[RuleResult]) -> Iterator[Vouched]:
        return vouched(self, given, results, lambda _: self._by_evidence)

    def _judge(self, given: Given, name: str, reached: dict[str, bool]) -> tuple[str | None, tuple[str, ...]]:
        """Why an image is not as the policy wants it, and the digests of what that relies on."""
        problems: list[str] = []
        matches: dict[str, Any] = {}
        relied: list[str] = []
        together = Together()
        for authority in self._authorities:
            with together:
                try:
                    matched = authority.match(given, name, reached)
                except LookupFailedError as error:
                    matched = Matched(error.message)
                if matched.problem is None:
                    matches[authority.name] = matched.document
                    relied += [statement.evidence for statement in matched.statements]
                else:
                    problems.append(f"{authority.name}: {matched.problem}")
        together.done()
        if not matches:
            return "; ".join(problems), ()
        if self._compliance is not None:
            problem = self._compliance.problem(given, self._document(given, matches))
            if problem is not None:
                return problem, ()
        return None, tuple(dict.fromkeys(relied))

    def _document(self, given: Given, matches: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = {"authorityMatches": matches}
        resource, wanted = given.object or {}, self._compliance
        assert wanted is not None
        if wanted.include_spec:
            document["spec"] = resource.get("spec")
        if wanted.include_metadata:
            document["metadata"] = resource.get("metadata")
        if wanted.include_type:
            document["typemeta"] = {"apiVersion": resource.get("apiVersion"), "kind": resource.get("kind")}
        return document

    def _result(self, given: Given, outcome: Outcome, message: str, image: Image | None = None,
                relied: tuple[str, ...] = (), properties: Mapping[str, str] = MappingProxyType({})) -> RuleResult:
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                          message=message, resource=given.resource, image=image.written if image else None,
                          evidence=relied, enforce=self.enforce, properties=dict(properties))

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - every image of a pod
        return template in TEMPLATES.values()


class ClusterImage(Documents):
    """One document is one policy."""

    evaluates = "policy.sigstore.dev/v1beta1 ClusterImagePolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        return compile_policy(document)

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from ()


def compile_policy(document: dict[str, Any]) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if version not in _VERSIONS:
        raise UnsupportedError("apiVersion", f"{version} is not evaluated by custody yet", hint=" and ".join(_VERSIONS))
    name = Fields(top.need("metadata", dict), "metadata").need("name", str)
    spec = Fields(top.need("spec", dict), "spec")
    top.any("status")
    top.done()
    mode = spec.take("mode", str) or "enforce"
    if mode not in ("enforce", "warn"):
        raise MalformedError("spec.mode", got=mode, expected="enforce or warn")
    globs = [_glob(entry) for entry in spec.each("images")]
    if not globs:
        raise MalformedError("spec.images", got="nothing", expected="at least one glob")
    authorities = [ImageAuthority(entry, at) for at, entry in enumerate(spec.each("authorities"))]
    if not authorities:
        raise MalformedError("spec.authorities", got="nothing", expected="at least one authority")
    compliance = spec.inner("policy")
    scope = _scope(spec.each("match"))
    policy = Policy(name, "sigstore", kind=kind)
    policy.rules = [ClusterImageRule(policy, scope, globs, authorities,
                                     None if compliance is None else Compliance(compliance), enforce=mode == "enforce")]
    spec.done()
    return policy


def _glob(fields: Fields) -> re.Pattern[str]:
    text = fields.need("glob", str)
    fields.done()
    if not _GLOB.fullmatch(text):
        raise MalformedError(fields.path("glob"), got=text, expected="letters, digits and -_:/*.@")
    return re.compile(glob_regexp(text))


def glob_regexp(glob: str) -> str:
    """The regular expression, of Python and of Go, that the whole name of an image must match; it is anchored."""
    text = {"*": "index.docker.io/library/*", "*/*": "index.docker.io/*/*"}.get(glob, glob)
    parts = _PARTS.split(text)
    stars = [".*" if star == "**" else "[^/]*" for star in _PARTS.findall(text)]
    inner = "".join(part.replace(".", "[.]") + star for part, star in zip(parts, [*stars, ""], strict=True))
    return f"^{inner}$"


def _scope(fields: Sequence[Fields]) -> Scope:
    kinds = Block([Filter(where="spec.match", kinds=[Named("spec.match", kind) for kind in _KINDS])])
    if not fields:
        return Scope(kinds)
    tests = [_match(entry) for entry in fields]

    def matched(request: Request, answers: Answers) -> bool:
        return any(test(request, answers) for test in tests)

    return Scope(kinds, conditions=[matched])


def _match(fields: Fields) -> Condition:
    group, version, resource = (fields.take(name, str) or "" for name in ("group", "version", "resource"))
    selector: LabelSelector | None = compile_selector(fields.inner("selector"))
    fields.done()

    def matched(request: Request, _: Answers) -> bool:
        asked = resource_asked(request)
        metadata = (request.object or {}).get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        return (not resource or (group, resource) == (asked.group, asked.resource)) and version in (
            "", asked.version) and (selector is None or selector(labels if isinstance(labels, dict) else {}))

    return matched
