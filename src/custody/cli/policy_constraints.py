"""`custody policy apply --filename`: constraints and objects from one heap of files, as `gator test` takes them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import click

from custody.cli.run import settings
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import yaml
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.kinds import builtin
from custody.policy.load import unwrapped
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
    if not trial.objects:
        print("warning: no objects to judge among the documents", file=sys.stderr)
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
    """The documents of files and folders, and of standard input where there are none; Lists are taken apart.

    Raises UsageError; MalformedError for what is no object of Kubernetes.
    """
    located: list[tuple[str, Any]] = []
    if not filenames:
        located += _placed("standard input", documents.parsed(sys.stdin.buffer.read(), "standard input"))
    for name in filenames:
        if "://" in name:
            raise UnsupportedError(name, "nothing is fetched from the web")
        files = sorted(file for file in Path(name).rglob("*") if file.suffix in (".yaml", ".yml", ".json")
                       and file.is_file()) if Path(name).is_dir() else [Path(name)]
        located += [entry for file in files for entry in _placed(str(file), documents.read(file))]
    for where, document in located:
        _check(document, where)
    if not located:
        raise UsageError("no input data identified", hint="--filename FILE, or documents on standard input")
    return located


def _placed(where: str, read: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for at, document in enumerate(read):
        if document:
            for part in unwrapped([document], [where if len(read) == 1 else f"{where}[{at}]"]):
                yield from part


def _check(document: Any, where: str) -> None:
    """Raises MalformedError for what a server could not read as the metadata of an object."""
    if not isinstance(document, dict):
        raise MalformedError(where, got=Shape(document), expected="an object of Kubernetes")
    metadata = document.get("metadata")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise MalformedError(f"{where}: metadata", got=Shape(metadata), expected="a mapping")
    for fields, kind, expected in ((("name", "generateName", "namespace"), str, "text"),
                                   (("labels", "annotations"), dict, "a mapping")):
        for field in fields:
            if not isinstance(metadata.get(field), (kind, NoneType)):
                raise MalformedError(f"{where}: metadata.{field}", got=Shape(metadata[field]), expected=expected)


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
