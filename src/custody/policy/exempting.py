"""Documents of kind PolicyException as an engine. `counting` says which of them count."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.cel.environment import Condition, Expressions
from custody.policy.cel.variables import activation
from custody.policy.counting import GROUPS, OWN, SIGNATURE
from custody.policy.engine import Finding, Unit
from custody.policy.exceptions import PolicyException
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.kyverno.match import WHO, compile_block
from custody.policy.kyverno.podsecurity import Exclusion
from custody.policy.kyverno.variables import ROOTS, variables
from custody.policy.model import Outcome
from custody.policy.rule import Policy, Rule
from custody.policy.worlds import WORLD, asking
from policylang.cel.kyverno import env
from policylang.cel.values.errors import CelError
from policylang.conditions import compile_conditions
from policylang.errors import LanguageError
from policylang.go.wildcards import glob

_WHY = {f"{OWN}exception-{name}": name for name in ("reason", "ticket", "approver")}
EXPIRES = f"{OWN}exception-expires"
"""Annotation: when a kyverno.io PolicyException ends, which has no field for it (RFC 3339)."""
_PRIORITY = "polex.kyverno.io/priority"


class Ref(NamedTuple):
    policy: str
    kind: str


class Exempting:
    """PolicyExceptions make no policies; `engines.compiled` attaches them to the rules that they name."""

    evaluates = "kyverno.io/v2 and policies.kyverno.io/v1 PolicyException"

    def compile(self, document: dict[str, Any]) -> PolicyException:
        return compile_exception(document)

    def again(self, compiled: PolicyException) -> PolicyException:
        return copy.copy(compiled)

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            unit.compiled.at = unit.at
        yield from ()

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from ()


def compile_exception(document: dict[str, Any]) -> PolicyException:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    group, _, name = version.partition("/")
    if name not in GROUPS[group]:
        raise UnsupportedError("apiVersion", f"{version} {kind} is not evaluated by custody yet",
                               hint=", ".join(f"{group}/{read}" for read in GROUPS[group]) + " are")
    metadata, spec = Fields(top.need("metadata", dict), "metadata"), Fields(top.need("spec", dict), "spec")
    top.any("status")
    top.done()
    exception = (_of_rules if group == "kyverno.io" else _of_policies)(spec)
    spec.done(hint=f"kyverno.io has no such field; the annotation {EXPIRES} is the same"
              if group == "kyverno.io" and spec.has("expiresAt") else None)
    _described(exception, metadata)
    return exception


def _described(exception: PolicyException, metadata: Fields) -> None:
    name, exception.namespace = metadata.need("name", str), metadata.take("namespace", str) or ""
    exception.name = f"{exception.namespace}/{name}" if exception.namespace else name
    annotations = metadata.text_map("annotations")
    if unknown := [key for key in annotations if key.startswith(OWN) and key not in (*_WHY, EXPIRES, SIGNATURE)]:
        raise UnsupportedError(f"metadata.annotations.{unknown[0]}", "custody has no such annotation",
                               hint=f"{', '.join(_WHY)}, {EXPIRES} and {SIGNATURE} are")
    exception.why = {**exception.why, **{name: annotations[key] for key, name in _WHY.items() if key in annotations}}
    if EXPIRES in annotations:
        ends = _moment(annotations[EXPIRES], f"metadata.annotations.{EXPIRES}")
        exception.expires = ends if exception.expires is None else min(ends, exception.expires)
    priority = metadata.text_map("labels").get(_PRIORITY, "")
    if priority.lstrip("-").isdecimal():
        exception.priority = max(int(priority), 0)


def _of_rules(spec: Fields) -> PolicyException:
    """kyverno.io: a policy's rules, by a match block and conditions."""
    match = spec.inner("match")
    if match is None:
        raise MalformedError("spec.match", got="nothing", expected="what is excepted")
    block = compile_block(match, exclude=True)
    written = spec.any("conditions")
    conditions = None if written is None else compile_conditions(written, "spec.conditions", ROOTS)
    background = spec.take("background", bool) is not False
    asker = next((f"{part.where.removesuffix('.resources')}.{name}" for part in block.filters for name in WHO
                  if name in part.chosen), None)
    if background and asker is not None:
        raise MalformedError(asker, got="who asks", expected="none, or background: false: what lies in a cluster was "
                             "asked for by nobody")
    named: list[tuple[str, list[str]]] = []
    for entry in spec.each("exceptions"):
        named.append((entry.need("policyName", str), entry.texts("ruleNames")))
        entry.done()
    controls = tuple(Exclusion.read(entry) for entry in spec.each("podSecurity"))

    def covers(rule: Rule) -> bool:
        return rule.policy.kind in ("ClusterPolicy", "Policy") and any(
            policy == rule.policy.name and any(glob(name, rule.name) for name in names) for policy, names in named)

    def holds(given: Given) -> bool:
        if not block.matches(given.request, given.answers):
            return False
        return conditions is None or conditions(variables(given), given.context.now)[0]

    return PolicyException("", covers, holds, background=background, controls=controls)


def _of_policies(spec: Fields) -> PolicyException:
    """policies.kyverno.io: policies by kind and name, where match conditions hold."""
    refs = []
    for entry in spec.each("policyRefs"):
        refs.append(Ref(entry.need("name", str), entry.need("kind", str)))
        entry.done()
    if not refs:
        raise MalformedError("spec.policyRefs", got="nothing", expected="at least one policy")
    expressions = Expressions(env("ValidatingPolicy", WORLD, composed={}))
    conditions = expressions.conditions(spec)
    reads = frozenset(expressions.reads)
    report = spec.take("reportResult", str) or "skip"
    if report not in ("skip", "pass"):
        raise MalformedError("spec.reportResult", got=report, expected="skip or pass")
    spec.only("evaluationMode", "", "Kubernetes", "JSON")
    expires = spec.take("expiresAt", str)
    images, values, why = spec.texts("images"), spec.texts("allowedValues"), spec.text_map("properties")

    def covers(rule: Rule) -> bool:
        name = rule.policy.name.rpartition("/")[2]
        return any(ref.policy == name and ref.kind == rule.policy.kind for ref in refs)

    def holding(given: Given) -> bool:
        return not conditions or _hold(conditions, given, reads)

    return PolicyException("", covers, holding, strict=True, outcome=Outcome(report), images=tuple(images),
                           values=tuple(values), why=why,
                           expires=None if expires is None else _moment(expires, "spec.expiresAt"))


def _hold(conditions: Sequence[Condition], given: Given, reads: frozenset[str]) -> bool:
    """As a policy's own: one that does not hold outweighs errors."""
    values = activation(given, reads, absent={})
    errors = []
    with asking(given):
        for condition in conditions:
            try:
                if condition.program(values) is not True:
                    return False
            except LanguageError as error:
                errors.append(error.message)
    if errors:
        raise CelError("; ".join(errors))
    return True


def _moment(text: str, where: str) -> datetime:
    """Of RFC 3339, with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise MalformedError(where, got=text, expected="a time such as 2026-05-01T00:00:00Z")
    return moment
