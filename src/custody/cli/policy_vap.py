"""`custody policy vap`: policies as policies of the API server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from custody.admission.configuration import to_yaml
from custody.errors import UnsupportedError, UsageError
from custody.policy.counting import is_exception
from custody.policy.engines import standing
from custody.policy.kinds import Kinds
from custody.policy.kubernetes import emission, ruleemission
from custody.policy.load import PolicySet, gathered, unwrapped


@click.command("vap")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--all", "every", is_flag=True, help="Also those that do not ask for it.")
def command(files: tuple[Path, ...], every: bool) -> None:
    """Write the admission policy and binding of each policy in files that asks for one, with its exceptions, as YAML.

    Of a ValidatingPolicy (autogen.validatingAdmissionPolicy), a MutatingPolicy (autogen.mutatingAdmissionPolicy) and a
    ClusterPolicy (validate.cel.generate). The API server then judges without any webhook. What it cannot evaluate is
    refused with the reason.
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
    if not made:
        raise UsageError("no policy asks to be one of the API server's", hint="--all for all")
    click.echo(to_yaml(made), nl=False)


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
