"""`custody policy vap`: policies as policies of the API server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from custody.admission.configuration import to_yaml
from custody.cli.policy_equivalent import shown, standing_of
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.kit.visible import visible
from custody.policy.counting import is_exception
from custody.policy.engines import standing
from custody.policy.gatekeeper import emission as gatekeeperemission
from custody.policy.gatekeeper.constraint import ADMISSION_POLICY, ConstraintRule
from custody.policy.gatekeeper.engine import TEMPLATE, Gatekeeper
from custody.policy.gatekeeper.template import Template
from custody.policy.kinds import Kinds
from custody.policy.kubernetes import emission, ruleemission
from custody.policy.load import Located, PolicySet, gathered, unwrapped
from custody.policy.migrate.gatekeeper import Constraints, unproven


@click.command("vap")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--all", "every", is_flag=True, help="Also those that do not ask for it.")
@click.option("--check", is_flag=True, help="Of Gatekeeper's: search for a request on which constraint and policy "
              "differ, and refuse those that do.")
@click.option("--samples", type=click.IntRange(1, 1_000_000), default=1500, show_default=True,
              help="Of --check: requests that are tried for each constraint.")
def command(files: tuple[Path, ...], every: bool, check: bool, samples: int) -> int:
    """Write the admission policy and binding of each policy in files that asks for one, with its exceptions, as YAML.

    Of a ValidatingPolicy (autogen.validatingAdmissionPolicy), a MutatingPolicy (autogen.mutatingAdmissionPolicy), a
    ClusterPolicy (validate.cel.generate), and of Gatekeeper's templates in CEL with their constraints, unless they say
    generateVAP: false. The API server then judges without any webhook. What it cannot evaluate is refused by name;
    templates in Rego are passed over with exit code 1.
    """
    documents, _ = unwrapped(*gathered(files))
    policies = PolicySet([document for _, document in documents], [where for where, _ in documents])
    exceptions = [document for _, document in documents if is_exception(document)]
    made: list[dict[str, Any]] = []
    for where, document in documents:
        with standing(where):
            if document["kind"] in _SWITCHES and (every or _enabled(document)):
                made += emission.admission_policy(document, exceptions)
            elif document["kind"] == "ClusterPolicy":
                made += _of_rule(document, exceptions, policies.kinds, every=every)
    constraints = _Constraints(policies, documents, every=every, samples=samples if check else 0)
    made += constraints.made
    if made:
        click.echo(to_yaml(made), nl=False)
    if constraints.behind:
        raise CustodyError(f"{constraints.behind} of Gatekeeper's documents stay behind")
    if not made:
        raise UsageError("no policy asks to be one of the API server's", hint="--all for all")
    return 0


class _Constraints:
    """What becomes of templates and constraints; stderr gets what stays behind, and why."""

    def __init__(self, policies: PolicySet, documents: Located, *, every: bool, samples: int) -> None:
        """`samples`: requests of each constraint that both are asked about; 0 for none."""
        self.made: list[dict[str, Any]] = []
        self.behind = 0
        self._searches = Constraints(documents, policies.kinds, standing_of(policies.kinds))
        engine = Gatekeeper()
        native: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        for where, document in documents:
            if document["kind"] != TEMPLATE or not document["apiVersion"].startswith("templates.gatekeeper.sh/"):
                continue
            template = engine.compile(document)
            assert isinstance(template, Template)
            if not every and not gatekeeperemission.wanted(template):
                continue
            try:
                native[template.kind] = document, gatekeeperemission.policy(template, document)
            except UnsupportedError as error:
                self._stays(where, error.message)
        self.made += [made for _, made in native.values()]
        for rule in policies.rules:
            if not isinstance(rule, ConstraintRule) or rule.policy.kind not in native:
                continue
            name = f"{rule.policy.kind} {rule.policy.name}"
            try:
                bound = gatekeeperemission.binding(rule)
            except UnsupportedError as error:
                self._stays(name, error.message)
                continue
            if bound is None:
                click.echo(visible(f"{name}: it does not speak at vap.k8s.io: no binding"), err=True)
            elif not samples or self._same(name, rule, [native[rule.policy.kind][1], bound],
                                           native[rule.policy.kind][0], samples):
                self.made.append(bound)

    def _stays(self, name: str, reason: str) -> None:
        self.behind += 1
        click.echo(visible(f"✗ {name}: {reason}"), err=True)

    def _same(self, name: str, rule: ConstraintRule, made: list[dict[str, Any]], template: dict[str, Any],
              samples: int) -> bool:
        searched = self._searches.searched(rule, template, made, ADMISSION_POLICY, samples, strict=False)
        if searched.difference is not None:
            self._stays(name, "its policy says another thing")
            click.echo(shown(searched.difference, ("the constraint", "the policy")), err=True)
            return False
        if refused := unproven(searched):
            self._stays(name, f"nothing is known of it: {refused.message.removeprefix('the search: ')}")
            return False
        click.echo(visible(f"✓ {name}: both say the same of {searched.asked} requests, "
                           f"{searched.against[0]} of them against"), err=True)
        return True


_SWITCHES = {"ValidatingPolicy": "validatingAdmissionPolicy", "MutatingPolicy": "mutatingAdmissionPolicy"}


def _enabled(document: dict[str, Any]) -> bool:
    switch = (document["spec"].get("autogen") or {}).get(_SWITCHES[document["kind"]]) or {}
    return bool(switch.get("enabled"))


def _of_rule(document: dict[str, Any], exceptions: list[dict[str, Any]], kinds: Kinds, *,
             every: bool) -> list[dict[str, Any]]:
    rules = document["spec"]["rules"]
    generates = [(rule.get("validate", {}).get("cel") or {}).get("generate") is True for rule in rules]
    if not (any(generates) or (every and any("cel" in rule.get("validate", {}) for rule in rules))):
        return []
    asking = {**document, "spec": {**document["spec"], "rules": [_generating(rule) for rule in rules]}}
    naming = [exception for exception in exceptions if ruleemission.names(exception, document)]
    if reason := ruleemission.skipped(asking, naming):
        raise UnsupportedError("spec.rules", reason)
    try:
        return emission.documents(document, *ruleemission.spec_of(document, naming, kinds))
    except ValueError as error:
        raise UnsupportedError("spec.rules[0]", str(error)) from None


def _generating(rule: dict[str, Any]) -> dict[str, Any]:
    validate = rule.get("validate") or {}
    if "cel" not in validate:
        return rule
    return {**rule, "validate": {**validate, "cel": {**validate["cel"], "generate": True}}}
