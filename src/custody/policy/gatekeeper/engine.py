"""Templates and constraints are documents of their own, linked by the kind that a template makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.policy.engine import Finding, Unit
from custody.policy.engines import standing
from custody.policy.fields import Fields
from custody.policy.gatekeeper import config, constraint, expansion, mutators, provider, template
from custody.policy.gatekeeper.config import Config, SyncSet
from custody.policy.gatekeeper.constraint import Constraint, ConstraintRule
from custody.policy.gatekeeper.expansion import Expansion, ExpansionTemplate, ImpliedRule, check_ends
from custody.policy.gatekeeper.mutation import POLICY, Mutation, MutationRule
from custody.policy.gatekeeper.mutators import Mutator, compile_mutator
from custody.policy.gatekeeper.provider import Provider, Providers
from custody.policy.gatekeeper.regosource import RegoSource
from custody.policy.gatekeeper.template import Template
from custody.policy.kinds import Kinds
from custody.policy.rule import Policy

TEMPLATE = "ConstraintTemplate"
Compiled = Template | Constraint | Mutator | ExpansionTemplate | Provider | Config | SyncSet
_VERSIONS = {"templates.gatekeeper.sh": template.VERSIONS, "constraints.gatekeeper.sh": constraint.VERSIONS,
             "mutations.gatekeeper.sh": mutators.VERSIONS, "expansion.gatekeeper.sh": expansion.VERSIONS,
             "externaldata.gatekeeper.sh": provider.VERSIONS, "config.gatekeeper.sh": config.VERSIONS,
             "syncset.gatekeeper.sh": config.VERSIONS}


class Gatekeeper:
    evaluates = f"templates.gatekeeper.sh/v1 {TEMPLATE} and its constraints"

    def compile(self, document: dict[str, Any]) -> Compiled:
        """Raises MalformedError, UnsupportedError."""
        fields = Fields(document, "")
        kind, api_version = fields.need("kind", str), fields.need("apiVersion", str)
        group, _, version = api_version.partition("/")
        versions = _VERSIONS[group]
        if version not in versions:
            raise UnsupportedError("apiVersion", f"{api_version} {kind} is not evaluated by custody yet",
                                   hint=", ".join(versions) + " are")
        if group == "templates.gatekeeper.sh":
            return Template(fields, version)
        if group == "expansion.gatekeeper.sh":
            return ExpansionTemplate(fields)
        if group == "externaldata.gatekeeper.sh":
            return Provider(fields)
        if group in ("config.gatekeeper.sh", "syncset.gatekeeper.sh"):
            return (Config if group == "config.gatekeeper.sh" else SyncSet)(fields)
        return compile_mutator(fields, kind) if group == "mutations.gatekeeper.sh" else Constraint(document, kind)

    def again(self, compiled: Compiled) -> Compiled:
        return compiled  # linking writes into none

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        """A policy each constraint, and one of all mutators. Raises MalformedError for a constraint whose template is
        not there."""
        providers = self.providers(units)
        asked = [unit.at for unit in units if isinstance(unit.compiled, Provider)]
        excluding, settings = _configured(units)
        mutating = [unit for unit in units if isinstance(unit.compiled, Mutator)]
        mutation = Mutation([unit.compiled for unit in mutating], providers)
        if mutating:
            policy = Policy(POLICY, "gatekeeper", kind="Mutators", background=False,
                            parts=(*(unit.at for unit in mutating[:-1]), *asked, mutating[-1].at, *excluding))
            policy.rules = [MutationRule(policy, mutation, settings)]
            yield policy
        expanding = [unit for unit in units if isinstance(unit.compiled, ExpansionTemplate)]
        expanded = None
        if expanding:
            expansions = [unit.compiled for unit in expanding]
            for at, unit in enumerate(expanding):  # the first that closes a cycle is the one that is wrong
                with standing(unit.where):
                    check_ends(unit.compiled, expansions[:at])
            expanded = Expansion(expansions, mutation)
        for policy in self._constraints(units, providers):
            constraint_rule = policy.rules[0]
            assert isinstance(constraint_rule, ConstraintRule)
            constraint_rule.settings = settings
            policy.parts = (policy.parts[0], *asked, *policy.parts[1:], *excluding)
            if expanded is not None:
                policy.rules = [constraint_rule, ImpliedRule(constraint_rule, expanded)]
                policy.parts += tuple(unit.at for unit in expanding)
            yield policy

    def providers(self, units: Sequence[Unit]) -> Providers:
        """Whom all of them may ask. Raises MalformedError for two of one name."""
        by_name: dict[str, Provider] = {}
        for unit in units:
            if not isinstance(unit.compiled, Provider):
                continue
            if unit.compiled.name in by_name:
                with standing(unit.where):
                    raise MalformedError("metadata.name", got=f"{unit.compiled.name} twice",
                                         expected="each provider once")
            by_name[unit.compiled.name] = unit.compiled
        return Providers(by_name)

    def _constraints(self, units: Sequence[Unit], providers: Providers) -> Iterator[Policy]:
        templates: dict[str, tuple[Unit, Template]] = {}
        for unit in units:
            if isinstance(unit.compiled, Template):
                if unit.compiled.kind in templates:
                    with standing(unit.where):
                        raise MalformedError("metadata.name", got=f"{unit.compiled.name} twice",
                                             expected="each template once")
                templates[unit.compiled.kind] = unit, unit.compiled
        for unit in units:
            if not isinstance(unit.compiled, Constraint):
                continue
            with standing(unit.where):
                if unit.compiled.kind not in templates:
                    raise MalformedError("kind", got=unit.compiled.kind,
                                         expected=f"a kind of which there is a {TEMPLATE}")
                made_by, made = templates[unit.compiled.kind]
                policy = unit.compiled.of(made, providers).policy
            policy.parts = unit.at, made_by.at
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        for rule in policy.rules:
            if isinstance(rule, ConstraintRule) and rule.template.source.kinds:
                called = "custody.evidence" if isinstance(rule.template.source, RegoSource) else "evidence()"
                yield ("kind", "only-in-custody", "warning", f"template {rule.template.name} calls {called}, a "
                       "function of custody's: Gatekeeper refuses the template", "")
            if isinstance(rule, MutationRule):
                for rank in sorted(rule.mutation.conflicts):
                    mutator = rule.mutation.mutators[rank]
                    yield ("spec.location", "conflicting-mutator", "warning", f"{mutator.kind} {mutator.name} is not "
                           "applied: another mutator implies another shape of what it writes to", "")


def _configured(units: Sequence[Unit]) -> tuple[tuple[int, ...], Config | None]:
    """(the Config's position, the Config); nothing where it leaves nothing out."""
    config_unit: Unit | None = None
    for unit in units:
        if isinstance(unit.compiled, Config):
            if config_unit is not None:
                with standing(unit.where):
                    raise MalformedError("metadata.name", got=f"{unit.compiled.name} twice", expected="one Config")
            config_unit = unit
    if config_unit is None or not config_unit.compiled.exclusions:
        return (), None
    return (config_unit.at,), config_unit.compiled
