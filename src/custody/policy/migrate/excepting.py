"""PolicyExceptions of kyverno.io as those of policies.kyverno.io, for the policies that rules became."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError
from custody.policy.exempting import compile_exception
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.kyverno import autogen
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.migrate import conditions
from custody.policy.migrate.equivalence import Difference, requests
from custody.policy.migrate.expressions import TRUE, literal, negation
from custody.policy.migrate.matching import matched
from custody.policy.migrate.outcome import Migrated, behind, shown
from custody.policy.migrate.queries import Names
from custody.policy.model import Context, Request
from custody.policy.resources import OPERATIONS
from custody.ports.lookup import Answered, NamespaceLabels
from policylang.errors import LanguageError
from policylang.go.wildcards import glob

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT = ("labels", "annotations")
_LAST = "kubectl.kubernetes.io/last-applied-configuration"
Document = dict[str, Any]
Done = Sequence[tuple[Document, Sequence[Migrated]]]
"""Policies of kyverno.io with what became of their rules."""


class _Part(NamedTuple):
    """Policies that are excepted for some kinds."""

    refs: list[Document]
    kinds: tuple[str, ...]
    """Empty for all of them."""


def exception(document: Document, done: Done, kinds: Kinds, count: int) -> Migrated:
    """The exceptions that hold for the same requests, or why there are none. Raises MalformedError, UnsupportedError
    for what is none that loads."""
    compile_exception(document)
    name = document["metadata"]["name"]
    try:
        made = translated(document, done, kinds)
        comparison = _Comparison(document, made, done, kinds)
        difference = comparison.difference(count)
    except CustodyError as error:
        return behind(name, name, error)
    refused: CustodyError | None = None
    if difference is not None:
        refused = UnsupportedError("spec", f"the exception says {difference.said}, its translation {difference.says}, "
                                   f"of {shown(difference.request)}")
    elif not 0 < comparison.excepted < comparison.asked:
        refused = UnsupportedError("spec", f"of {comparison.asked} requests it excepts {comparison.excepted}, so "
                                   "nothing is known of its translation")
    return Migrated(name, name, made, refused, difference, comparison.asked, comparison.asked, comparison.excepted,
                    "excepted")


def translated(document: Document, done: Done, kinds: Kinds) -> list[Document]:
    """One for each set of kinds that the old one names rules for. Raises UnsupportedError."""
    spec = document["spec"]
    if spec.get("podSecurity"):
        raise UnsupportedError("spec.podSecurity", "an exception of policies.kyverno.io leaves out all of a policy")
    filters = (spec["match"].get("any") or spec["match"].get("all") or [spec["match"]])
    if spec.get("background") is False and not all(part.get("subjects") for part in filters):
        raise UnsupportedError("spec.background", "an exception of policies.kyverno.io is one of what lies there, too")
    named = [kind for part in filters for kind in (part.get("resources") or {}).get("kinds") or []]
    every = {"match": {"any": [{"resources": {"kinds": [*dict.fromkeys(named)]}}]}, "exclude": spec["match"]}
    match = matched(every, "spec", kinds, OPERATIONS, "object")
    tests = [("match", negation(match.conditions[-1]))] if match.conditions else []
    spoken = sorted({resource.kind for resource in match.resources})
    if spec.get("conditions"):
        tests.append(("conditions", conditions.compiled(spec["conditions"], "spec.conditions", Names("object"))))
    made = []
    parts = [*_parts(spec, done)]
    for at, part in enumerate(parts):
        meant = [kind for kind in spoken if not part.kinds or kind in part.kinds]
        if not meant:
            continue
        whole = [("kinds", TRUE if "" in meant else f"request.kind.kind in {literal(meant)}"), *tests]
        metadata = {field: kept for field in _KEPT if (kept := {
            key: value for key, value in (document["metadata"].get(field) or {}).items() if key != _LAST})}
        name = document["metadata"]["name"] + (f"-{at + 1}" if at else "")
        place = {"namespace": document["metadata"]["namespace"]} if document["metadata"].get("namespace") else {}
        made.append({"apiVersion": "policies.kyverno.io/v1", "kind": "PolicyException",
                     "metadata": {"name": name, **place, **metadata},
                     "spec": {"policyRefs": part.refs, "matchConditions": [
                         {"name": label, "expression": text} for label, text in whole if text != TRUE]}})
    if not made:
        raise UnsupportedError("spec.exceptions", "none of the rules that it names became a policy for its kinds")
    return made


def _parts(spec: Document, done: Done) -> Iterator[_Part]:
    """The policies that rules became which an exception names, by the kinds that it names them for."""
    parts: dict[tuple[str, ...], list[Document]] = {}
    for at, entry in enumerate(spec.get("exceptions") or []):
        path = f"spec.exceptions[{at}]"
        policies = [pair for pair in done if _called(pair[0]) == entry["policyName"]]
        if not policies:
            raise UnsupportedError(f"{path}.policyName", f"{entry['policyName']} is none of the policies that are "
                                   "migrated with it", hint="name its file, too")
        for policy, rules in policies:
            made = autogen.generated(policy)
            for place, rule in enumerate(rules):
                own = {generated.rule["name"]: generated.kinds for generated in made if generated.at == place}
                meant = [name for name in (rule.rule, *own) if any(glob(text, name) for text in entry["ruleNames"])]
                if not meant:
                    continue
                if rule.refused is not None:
                    raise UnsupportedError(f"{path}.ruleNames", f"the rule {rule.rule} stays behind")
                kinds = tuple(sorted({kind for name in meant for kind in own.get(name, ("Pod",))}))
                limited = () if len(meant) == 1 + len(own) else kinds
                refs = parts.setdefault(limited, [])
                refs += [ref for made_of in rule.documents if (ref := {
                    "name": made_of["metadata"]["name"], "kind": made_of["kind"]}) not in refs]
    return (_Part(refs, kinds) for kinds, refs in parts.items())


def _called(policy: Mapping[str, Any]) -> str:
    name = str(policy["metadata"]["name"])
    return f"{policy['metadata'].get('namespace') or 'default'}/{name}" if policy["kind"] == "Policy" else name


class _Comparison:
    def __init__(self, before: Document, after: Sequence[Document], done: Done, kinds: Kinds) -> None:
        self._kinds = kinds
        self._match = before["spec"]["match"]
        named = {entry["policyName"] for entry in before["spec"]["exceptions"]}
        self._done = [pair for pair in done if _called(pair[0]) in named]
        self._before = PolicySet([policy for policy, _ in self._done], kinds=kinds)
        self._after = PolicySet([made for _, rules in self._done for rule in rules if rule.refused is None
                                 for made in rule.documents], kinds=kinds)
        self._old, self._new = [compile_exception(before)], [compile_exception(made) for made in after]
        self.asked = self.excepted = 0

    def difference(self, count: int) -> Difference | None:
        """The first request that only one of them is an exception for."""
        for request in self._requests(count):
            said = self._said(request, self._before, self._old)
            says = self._said(request, self._after, self._new)
            if said is None or says is None:
                continue  # nobody asks about it
            self.asked += 1
            self.excepted += said == "excepted"
            if said != says:
                return Difference(request, said, says, ("", ""))
        return None

    @staticmethod
    def _said(request: Request, policies: PolicySet, exceptions: Sequence[Any]) -> str | None:
        given = Given(request, Context(now=_NOW), {}, Answers({NamespaceLabels(request.namespace): Answered({})}))
        spoken = [rule for policy in policies.policies for rule in policy.rules
                  if rule.silence(request, given.answers) is None]
        if not spoken:
            return None
        for rule in spoken:
            for excepting in exceptions:
                try:
                    if excepting.covers(rule) and excepting.holds(given):
                        return "excepted"
                except (CustodyError, LanguageError):
                    if excepting.strict:
                        return "an error"
        return "not excepted"

    def _requests(self, count: int) -> Iterator[Request]:
        for policy, rules in self._done:
            for at, rule in enumerate(rules):
                if rule.refused is not None:
                    continue
                written = policy["spec"]["rules"][at]
                match = matched(written, f"spec.rules[{at}]", self._kinds, OPERATIONS, "object")
                asked = {**written, "exclude": {"any": [written.get("exclude") or {}, self._match]}}
                yield from requests(asked, match.resources, OPERATIONS, self._kinds, count)
