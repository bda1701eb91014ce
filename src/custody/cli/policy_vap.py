"""`custody policy vap`: policies as policies of the API server itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from custody import wiring
from custody.admission.configuration import to_yaml
from custody.cli import kinds
from custody.cli.policy_equivalent import objects, shown, standing_of
from custody.cli.policy_tried import agreement
from custody.cli.run import settings
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats.kubernetes.schema import Schemas
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.policy.counting import is_exception
from custody.policy.engines import standing
from custody.policy.gatekeeper import emission as gatekeeperemission
from custody.policy.gatekeeper.constraint import ADMISSION_POLICY, ConstraintRule
from custody.policy.gatekeeper.engine import Gatekeeper
from custody.policy.gatekeeper.template import Template
from custody.policy.kinds import Kinds
from custody.policy.kubernetes import emission, ruleemission
from custody.policy.load import PolicySet, gathered, unwrapped
from custody.policy.migrate.gatekeeper import Constraints, unproven


@click.command("vap")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--all", "every", is_flag=True, help="Also those that do not ask for it.")
@click.option("--check", is_flag=True, help="Of Gatekeeper's: search for a request on which constraint and policy "
              "differ, and refuse those that do.")
@click.option("--samples", type=click.IntRange(1, 1_000_000), default=1500, show_default=True,
              help="Of --check: requests that are tried for each constraint.")
@click.option("-r", "--resource", "resources", multiple=True, type=click.Path(exists=True, path_type=Path),
              metavar="FILE|DIR", help="Of --check: objects that both are asked about, too.")
@kinds.options
def command(files: tuple[Path, ...], every: bool, check: bool, samples: int, resources: tuple[Path, ...],
            crds: tuple[str, ...], kubeconfig: Path | None) -> int:
    """Write the admission policy and binding of each policy in files that asks for one, with its exceptions, as YAML.

    Of a ValidatingPolicy (autogen.validatingAdmissionPolicy), a MutatingPolicy (autogen.mutatingAdmissionPolicy), a
    ClusterPolicy (validate.cel.generate), and of Gatekeeper's templates in CEL with their constraints, unless they say
    generateVAP: false. The API server then judges without any webhook. What it cannot evaluate is refused by name;
    templates in Rego, and constraints that do not load or differ, are passed over with exit code 1.
    """
    if resources and not check:
        raise UsageError("--resource: got objects to ask about without --check, expected both")
    given = objects(resources)
    documents, definitions = unwrapped(*gathered(files))
    known = wiring.kinds(settings(), crds, kubeconfig).with_crds(
        [crd for _, crd in definitions], [where for where, _ in definitions])
    searches = Constraints(documents, known, standing_of(known), given=given, schemas=[
        Schemas.of_crd(crd, where) for where, crd in definitions])
    apart = {where for where, _ in [*searches.templates, *searches.constraints]}  # each of which is compiled by itself
    rest = [(where, document) for where, document in documents if where not in apart]
    PolicySet([document for _, document in rest], [where for where, _ in rest], known)  # all that loads
    exceptions = [document for _, document in documents if is_exception(document)]
    made: list[dict[str, Any]] = []
    for where, document in rest:
        with standing(where):
            if document["kind"] in _SWITCHES and (every or _enabled(document)):
                made += emission.admission_policy(document, exceptions)
            elif document["kind"] == "ClusterPolicy":
                made += _of_rule(document, exceptions, known, every=every)
    constraints = _Constraints(searches, every=every, samples=samples if check else 0)
    made += constraints.made
    if made:
        click.echo(to_yaml(made), nl=False)
    if constraints.behind:
        raise CustodyError(f"{amount(constraints.behind, 'Gatekeeper document')} "
                           f"{'stays' if constraints.behind == 1 else 'stay'} behind")
    if not made:
        raise UsageError("no policy asks to be one of the API server's", hint="--all for all")
    return 0


class _Constraints:
    """What becomes of templates and constraints; stderr gets what stays behind, and why."""

    def __init__(self, searches: Constraints, *, every: bool, samples: int) -> None:
        """`samples`: requests of each constraint that both are asked about; 0 for none."""
        self.made: list[dict[str, Any]] = []
        self.behind = 0
        self._searches, self._every, self._samples = searches, every, samples
        self._taken: dict[tuple[str, str], str] = {}
        native: dict[str, dict[str, Any]] = {}
        for where, document in searches.templates:
            self._template(where, document, native)
        names = Counter((document.get("kind"), str(_name(document))) for _, document in searches.constraints)
        bindings: dict[str, list[dict[str, Any]]] = {}
        spoken: set[str] = set()
        for where, document in searches.constraints:
            kind, name = str(document.get("kind")), str(_name(document))
            if searches.template(document) is None:
                self._stays(f"{kind} {name}", f"{where}: its template is not among the files")
            elif kind in native:
                bindings.setdefault(kind, [])
                if names[kind, name] > 1:
                    self._stays(f"{kind} {name}", f"{where}: it is there twice, expected each once")
                elif (bound := self._constraint(where, document, native[kind])) is not None:
                    bindings[kind].append(bound)
                    spoken.add(kind)
        # A policy that nothing binds denies nothing: of a template whose constraints all stay behind it is left out.
        self.made += [policy for kind, policy in native.items() if kind not in bindings or kind in spoken]
        self.made += [bound for bounds in bindings.values() for bound in bounds if bound]

    def _template(self, where: str, document: dict[str, Any], native: dict[str, dict[str, Any]]) -> None:
        try:
            with standing(where):
                template = Gatekeeper().compile(document)
                assert isinstance(template, Template)
            if not self._every and not gatekeeperemission.wanted(template):
                return
            if template.kind in native:
                raise UnsupportedError(where, f"a second template of {template.kind}, expected each once")
            policy = gatekeeperemission.policy(template, document)
            self._take(policy, where)
            native[template.kind] = policy
        except CustodyError as error:
            self._stays(where, error.message.removeprefix(f"{where}: "))

    def _constraint(self, where: str, document: dict[str, Any], policy: dict[str, Any]) -> dict[str, Any] | None:
        """Its binding; None where it stays behind, and {} where it does not speak at vap.k8s.io."""
        name = f"{document['kind']} {_name(document)}"
        try:
            rule, template = self._searches.compiled(where, document)
            bound = gatekeeperemission.binding(rule)
            if bound is None:
                click.echo(visible(f"{name}: it does not speak at vap.k8s.io: no binding"), err=True)
                return {}
            if self._samples and not self._same(name, rule, [policy, bound], template):
                return None
            self._take(bound, name)
            return bound
        except CustodyError as error:
            self._stays(name, error.message)
            if error.hint:
                click.echo(visible(f"    {error.hint}"), err=True)
            return None

    def _take(self, document: dict[str, Any], whose: str) -> None:
        """Raises MalformedError where another one is called so: in a cluster it would replace that."""
        kind, name = document["kind"], document["metadata"]["name"]
        if (kind, name) in self._taken:
            raise MalformedError("metadata.name", got=name, expected=f"another name: {self._taken[kind, name]} becomes "
                                 f"this {kind}")
        self._taken[kind, name] = whose

    def _stays(self, name: str, reason: str) -> None:
        self.behind += 1
        click.echo(visible(f"✗ {name}: {reason}"), err=True)

    def _same(self, name: str, rule: ConstraintRule, made: list[dict[str, Any]], template: dict[str, Any]) -> bool:
        """Raises MalformedError, UnsupportedError where they cannot be compared."""
        searched = self._searches.searched(rule, template, made, ADMISSION_POLICY, self._samples, strict=False)
        if searched.difference is not None:
            self._stays(name, "its policy says another thing")
            click.echo(shown(searched.difference, ("the constraint", "the policy")), err=True)
            return False
        if refused := unproven(searched):
            raise UnsupportedError("nothing is known of it", refused.message.removeprefix("the search: "),
                                   hint=refused.hint)
        said = agreement(searched.asked, searched.judged[0], searched.against[0], "against", searched.untried)
        click.echo(visible(f"✓ {name}: {said}"), err=True)
        return True


def _name(document: dict[str, Any]) -> Any:
    metadata = document.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


_SWITCHES = {"ValidatingPolicy": "validatingAdmissionPolicy", "MutatingPolicy": "mutatingAdmissionPolicy"}


def _enabled(document: dict[str, Any]) -> bool:
    switch = (document["spec"].get("autogen") or {}).get(_SWITCHES[document["kind"]]) or {}
    return bool(switch.get("enabled"))


def _of_rule(document: dict[str, Any], exceptions: list[dict[str, Any]], known: Kinds, *,
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
        return emission.documents(document, *ruleemission.spec_of(document, naming, known))
    except ValueError as error:
        raise UnsupportedError("spec.rules[0]", str(error)) from None


def _generating(rule: dict[str, Any]) -> dict[str, Any]:
    validate = rule.get("validate") or {}
    if "cel" not in validate:
        return rule
    return {**rule, "validate": {**validate, "cel": {**validate["cel"], "generate": True}}}
