"""MutatingAdmissionPolicy and its bindings (admissionregistration.k8s.io v1, v1beta1, v1alpha1; KEP-3962).

Each binding makes a rule, which mutates once for each parameter object. As k8s.io/apiserver 0.34
pkg/admission/plugin/policy/mutating; the API server sets defaults afterwards, and drops fields that it does not know.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.kubernetes.apply import MergeError
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.evaluated import hold
from custody.policy.cel.mutations import compile_mutations, difference
from custody.policy.cel.variables import Variables, activation
from custody.policy.engine import Finding, Unit
from custody.policy.evidencecontents import types_of
from custody.policy.evidenceview import explained, needs_of, relied_on, viewed
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.kubernetes.authorizer import authorizers
from custody.policy.kubernetes.params import compile_kind, compile_ref, params_of
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Scope
from custody.policy.worlds import WORLD, asking
from policylang.cel.kubernetes.environment import admission
from policylang.errors import LanguageError

POLICY = "MutatingAdmissionPolicy"
BINDING = f"{POLICY}Binding"
VERSIONS = ("v1", "v1beta1", "v1alpha1")
MAX_PARAMETERS = 100
"""Objects that one binding may select: each is one more mutation."""
_NONE: dict[str, Any] = {}


class Definition:
    """A policy without its bindings."""

    def __init__(self, fields: Fields, name: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.policy = Policy(name, "kubernetes", kind=POLICY)
        self.policy.failure_policy = fields.take("failurePolicy", str) or "Fail"
        if self.policy.failure_policy not in ("Fail", "Ignore"):
            raise MalformedError("spec.failurePolicy", got=self.policy.failure_policy, expected="Fail or Ignore")
        reinvoked = fields.need("reinvocationPolicy", str) if fields.has("reinvocationPolicy") else "Never"
        if reinvoked not in ("Never", "IfNeeded"):
            raise MalformedError("spec.reinvocationPolicy", got=reinvoked, expected="Never or IfNeeded")
        self.parameters = compile_kind(fields.inner("paramKind"))
        expressions = Expressions(admission(params=self.parameters is not None, authorized=True, patch=True,
                                            composed={}, known=WORLD.evidence))
        expressions.declare(fields)
        self.variables = expressions.variables
        self.conditions = expressions.conditions(fields)
        self.mutations = compile_mutations(fields.each("mutations"), expressions, strict=True)
        if not self.mutations:
            raise MalformedError("spec.mutations", got="nothing", expected="at least one mutation")
        self.scope, _ = compile_constraints(fields.inner("matchConstraints"), prefixes=False)
        fields.done()
        self.reads = frozenset(expressions.reads)
        self.kinds = expressions.kinds
        """Of evidence, that expressions may ask for."""
        self.authorized = any(name.startswith("authorizer") for name in self.reads)


class Binding:
    """What makes a policy speak, and of what."""

    def __init__(self, fields: Fields, name: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name, self.policy = name, fields.need("policyName", str)
        reference = fields.take("paramRef", dict)
        self.parameters = None if reference is None else compile_ref(
            Fields({"parameterNotFoundAction": "Deny", **reference}, "spec.paramRef"))
        resources = fields.inner("matchResources")
        self.scope: Scope | None = None
        if resources is not None:
            self.scope, _ = compile_constraints(resources, where="spec.matchResources", needed=False, prefixes=False)
        fields.done()


class BoundRule(Rule):
    """A policy by one of its bindings; without any it does not speak."""

    phase = Phase.MUTATE
    enforce = True

    def __init__(self, definition: Definition, binding: Binding | None) -> None:
        self.policy, self.scope = definition.policy, definition.scope
        self._definition, self.binding = definition, binding
        self.name = definition.policy.name
        self.predicate_types = types_of(definition.kinds)

    def silence(self, request: Request, answers: Answers) -> str | None:
        if self.binding is None:
            return "no MutatingAdmissionPolicyBinding names its policy"
        reason = super().silence(request, answers)
        if reason is None and self.binding.scope is not None:
            return self.binding.scope.silence(request, answers)
        return reason

    def needs(self, given: Given) -> Needs:
        return needs_of(given, self._definition.kinds) if self._definition.kinds else Needs()

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None:
            return Spoken([self._result(given, Outcome.SKIP, "there is no object to mutate")])
        if not self._definition.kinds:
            return self._evaluated(given, document)
        before = viewed(given)
        with asking(given, self):
            spoken = self._evaluated(given, document)
        relied = relied_on(given, before)
        return Spoken([msgspec.structs.replace(
            result, evidence=relied, message=explained(given, result.message) if result.outcome is Outcome.ERROR
            else result.message) for result in spoken.results], spoken.patch)

    def _evaluated(self, given: Given, document: dict[str, Any]) -> Spoken:
        failed: list[str] = []
        try:
            mutated = self._mutated(given, document, failed)
            patch = [] if mutated is None else difference(document, mutated)
        except UnansweredError:
            raise
        except (CustodyError, LanguageError) as error:
            return Spoken([self._result(given, Outcome.ERROR, self._words(error.message))])
        if failed:
            return Spoken([self._result(given, Outcome.ERROR, self._words(failed[0]))], patch)
        if mutated is None:
            return Spoken([self._result(given, Outcome.SKIP, "match conditions aren't met")])
        return Spoken([self._result(given, Outcome.PASS, "mutation is successfully applied")], patch)

    def _words(self, fault: str) -> str:
        named = f" with binding '{self.binding.name}'" if self.binding is not None else ""
        return f"policy '{self.policy.name}'{named} denied request: {fault}"

    def _mutated(self, given: Given, document: dict[str, Any], failed: list[str]) -> dict[str, Any] | None:
        """The object after it; None where its conditions hold for no parameters.

        Where failures are ignored, a mutation that fails is left out, and why is put into `failed`.
        """
        spoke = False
        for parameters in self._parameters(given):
            values = activation(given, self._definition.reads, absent=_NONE)
            values |= {"object": document, "params": parameters}
            if self._definition.authorized:
                values |= authorizers(given)
            variables = self._definition.variables
            try:
                if not hold(self._definition.conditions, Variables(variables, values).environment):
                    continue
            except LanguageError:
                if self.policy.failure_policy == "Ignore":
                    continue
                raise
            spoke = True
            for mutation in self._definition.mutations:
                try:  # with variables of the object as it is now
                    document = values["object"] = mutation(Variables(variables, values).environment, document, given)
                except UnansweredError:
                    raise
                except (CustodyError, LanguageError) as error:
                    if self.policy.failure_policy != "Ignore":
                        raise
                    failed.append(error.message)
        return document if spoke else None

    def _parameters(self, given: Given) -> Sequence[Mapping[str, Any] | None]:
        kind, reference = self._definition.parameters, self.binding.parameters if self.binding is not None else None
        parameters = params_of(kind, reference, given.request, given.answers)
        if len(parameters) > MAX_PARAMETERS:
            raise MergeError(f"{len(parameters)} parameters, expected at most {MAX_PARAMETERS}")
        return parameters

    def _result(self, given: Given, outcome: Outcome, message: str) -> RuleResult:
        return RuleResult(policy=self.policy.name, kind=POLICY, rule=self.name, outcome=outcome, message=message,
                          resource=given.resource,
                          enforce=not (outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore"))


class MutatingAdmission:
    """The engine of policies and bindings."""

    evaluates = f"admissionregistration.k8s.io/v1 {POLICY} and {BINDING}"

    def compile(self, document: dict[str, Any]) -> Definition | Binding:
        fields = Fields(document, "")
        kind, version = fields.need("kind", str), fields.need("apiVersion", str)
        if version.partition("/")[2] not in VERSIONS:
            raise UnsupportedError("apiVersion", f"{version} {kind} is not evaluated by custody yet",
                                   hint=", ".join(VERSIONS) + " are")
        name = Fields(fields.need("metadata", dict), "metadata").need("name", str)
        spec = Fields(fields.need("spec", dict), "spec")
        fields.any("status")
        fields.done()
        return Binding(spec, name) if kind == BINDING else Definition(spec, name)

    def again(self, compiled: Definition | Binding) -> Definition | Binding:
        again = copy.copy(compiled)
        if isinstance(again, Definition):
            again.policy = copy.copy(again.policy)
        return again

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        """A binding of a policy that is not here binds nothing, as in the API server."""
        for unit in units:
            definition = unit.compiled
            if not isinstance(definition, Definition):
                continue
            bound = [binding for binding in units if isinstance(binding.compiled, Binding)
                     and binding.compiled.policy == definition.policy.name]
            policy = definition.policy
            policy.parts = (unit.at, *(binding.at for binding in bound))
            policy.rules = [BoundRule(definition, binding) for binding in [unit.compiled for unit in bound] or [None]]
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        if all(isinstance(unit.compiled, Definition) for unit in units):
            yield "metadata.name", "binds-nothing", "warning", f"no {BINDING} names it: the API server ignores it", ""
        definition = next((unit.compiled for unit in units if isinstance(unit.compiled, Definition)), None)
        if definition is not None and definition.kinds:
            yield ("spec.mutations", "only-in-custody", "warning", "evidence() is a function of custody's: an API "
                   "server refuses the policy, so that only custody's webhook mutates by it", "")
