"""`custody policy vap`: ValidatingPolicies as policies of the API server itself."""

from __future__ import annotations

from pathlib import Path

import click

from custody.admission.configuration import to_yaml
from custody.errors import UsageError
from custody.policy.counting import is_exception
from custody.policy.engines import standing
from custody.policy.kubernetes.emission import admission_policy
from custody.policy.load import PolicySet, gathered, unwrapped


@click.command("vap")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--all", "every", is_flag=True, help="Also those whose autogen.validatingAdmissionPolicy is not enabled.")
def command(files: tuple[Path, ...], every: bool) -> None:
    """Write the ValidatingAdmissionPolicy and binding of each ValidatingPolicy in files, with its exceptions, as YAML.

    The API server then judges without any webhook. What it cannot evaluate is refused with the reason.
    """
    documents, _ = unwrapped(*gathered(files))
    PolicySet([document for _, document in documents], [where for where, _ in documents])
    exceptions = [document for _, document in documents if is_exception(document)]
    made = []
    for where, document in documents:
        if document["kind"] == "ValidatingPolicy" and (every or _enabled(document)):
            with standing(where):
                made += admission_policy(document, exceptions)
    if not made:
        raise UsageError("no ValidatingPolicy has autogen.validatingAdmissionPolicy enabled", hint="--all for all")
    click.echo(to_yaml(made), nl=False)


def _enabled(document: dict[str, object]) -> bool:
    spec = document["spec"]
    autogen = spec.get("autogen") if isinstance(spec, dict) else None
    emitted = (autogen or {}).get("validatingAdmissionPolicy") or {}
    return bool(emitted.get("enabled"))
