"""`custody policy apply --filename`: constraints and objects from one heap of files, as `gator test` takes them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import yaml
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.kinds import builtin
from custody.ports.lookup import Answer, Question
from custody.services.simulation import documents
from custody.services.simulation.trying import Located, Trial, Violation
from custody.wiring import provider_lookup, service_http
from policylang.errors import Shape

_TARGET = "admission.k8s.gatekeeper.sh"


def run(filenames: Sequence[str], output: str | None, *, deny_only: bool) -> int:
    """stdout gets what `gator test` prints. Raises CustodyError where a constraint denies."""
    if output not in (None, "json", "yaml"):
        raise UnsupportedError(f"--output {output}", "with --filename it is a format", hint="json or yaml")
    trial = Trial(read(filenames), builtin(), system_clock(), _asked)
    violations = [violation for violation in trial.violations() if violation.denies or not deny_only]
    if output == "json":
        click.echo(json.dumps([_row(violation) for violation in violations] or None, indent=4, ensure_ascii=False))
    elif output == "yaml":
        click.echo(yaml.dumped([_yaml_row(violation) for violation in violations]), nl=False)
    else:
        for violation in violations:
            click.echo(visible(_line(violation)))
    if not trial.constraints:
        raise UsageError("no constraints among the documents", hint="a ConstraintTemplate alone judges nothing")
    denied = sum(violation.denies for violation in violations)
    if denied:
        raise CustodyError(f"{denied} violations that deny")
    return 0


def _asked(questions: Sequence[Question]) -> Mapping[Question, Answer]:
    """What providers say, as the settings have them asked."""
    async def ask() -> list[Answer]:
        http = service_http(settings())
        lookup = provider_lookup(settings(), http)
        try:
            return await asyncio.gather(*map(lookup.answer, questions))
        finally:
            await http.close()

    return dict(zip(questions, asyncio.run(ask()), strict=True))


def read(filenames: Sequence[str]) -> Located:
    """The documents of files and folders, and of standard input where there are none. Raises UsageError,
    MalformedError."""
    located: list[tuple[str, Any]] = []
    if not filenames:
        located += [("standard input", document)
                    for document in documents.parsed(sys.stdin.buffer.read(), "standard input")]
    for name in filenames:
        if "://" in name:
            raise UnsupportedError(name, "nothing is fetched from the web")
        files = sorted(file for file in Path(name).rglob("*") if file.suffix in (".yaml", ".yml", ".json")
                       and file.is_file()) if Path(name).is_dir() else [Path(name)]
        located += [(str(file), document) for file in files for document in documents.read(file)]
    located = [(where, document) for where, document in located if document]
    for where, document in located:
        if not isinstance(document, dict):
            raise MalformedError(where, got=Shape(document), expected="an object of Kubernetes")
    if not located:
        raise UsageError("no input data identified", hint="--filename FILE, or documents on standard input")
    return located


def _line(violation: Violation) -> str:
    document = violation.object
    metadata = document.get("metadata") or {}
    place = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
    name = json.dumps(violation.constraint["metadata"]["name"])
    return (f"{document.get('apiVersion')}/{document.get('kind')} {place}: [{name}] "
            f"Message: {json.dumps(violation.message, ensure_ascii=False)}")


def _row(violation: Violation) -> dict[str, Any]:
    action = violation.constraint["spec"].get("enforcementAction", "deny")
    return {"target": _TARGET, "msg": violation.message, "metadata": {"details": violation.details},
            "constraint": violation.constraint, "enforcementAction": action,
            **({"scopedActions": [*violation.actions]} if violation.scoped else {}),
            "violatingObject": violation.object, "trace": None}


def _yaml_row(violation: Violation) -> dict[str, Any]:
    """As gator's YAML has it: Go's own names of fields in small letters."""
    row = _row(violation)
    return {"result": {"target": row["target"], "msg": row["msg"], "metadata": row["metadata"],
                       "constraint": {"object": row["constraint"]}, "enforcementaction": row["enforcementAction"],
                       "scopedenforcementactions": row.get("scopedActions", [])},
            "violatingObject": row["violatingObject"], "trace": None}
