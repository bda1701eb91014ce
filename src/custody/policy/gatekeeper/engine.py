"""Templates and constraints are documents of their own, linked by the kind that a template makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.policy.engine import Finding, Unit
from custody.policy.engines import standing
from custody.policy.fields import Fields
from custody.policy.gatekeeper import constraint, template
from custody.policy.gatekeeper.constraint import Constraint
from custody.policy.gatekeeper.template import Template
from custody.policy.kinds import Kinds
from custody.policy.rule import Policy

TEMPLATE = "ConstraintTemplate"


class Gatekeeper:
    evaluates = f"templates.gatekeeper.sh/v1 {TEMPLATE} and its constraints"

    def compile(self, document: dict[str, Any]) -> Template | Constraint:
        """Raises MalformedError, UnsupportedError."""
        fields = Fields(document, "")
        kind, api_version = fields.need("kind", str), fields.need("apiVersion", str)
        group, _, version = api_version.partition("/")
        versions = template.VERSIONS if group == "templates.gatekeeper.sh" else constraint.VERSIONS
        if version not in versions:
            raise UnsupportedError("apiVersion", f"{api_version} {kind} is not evaluated by custody yet",
                                   hint=", ".join(versions) + " are")
        return Template(fields, version) if group == "templates.gatekeeper.sh" else Constraint(document, kind)

    def again(self, compiled: Template | Constraint) -> Template | Constraint:
        return compiled  # linking writes into neither

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        """A policy each constraint. Raises MalformedError for one whose template is not there."""
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
                policy = unit.compiled.of(made).policy
            policy.parts = unit.at, made_by.at
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from ()
