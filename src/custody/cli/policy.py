"""`custody policy`: lint policies, a pod's Pod Security level, and `jp`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody.cli import policy_jp
from custody.errors import MalformedError
from custody.policy.kyverno.lint import lint
from custody.policy.load import PolicySet, read
from custody.policy.podsecurity import standard

_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
                       help="What stdout gets.")
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))


@click.group("policy")
def command() -> None:
    """Policies, before they are applied."""


command.add_command(policy_jp.command)


@command.command("lint")
@_FILES
@_OUTPUT
def _lint(files: tuple[Path, ...], output: str) -> int:
    """What policies will do that their authors may not mean. Exit code 2 where one would be refused."""
    policies = PolicySet.load(files)
    findings = [finding for document in policies.documents for finding in lint(document)]
    if output == "json":
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return 0
    for finding in findings:
        click.echo(f"{finding.level}: {finding.policy}: {finding.path}: {finding.message} [{finding.code}]")
        if finding.excerpt:
            click.echo("".join(f"    {line}\n" for line in finding.excerpt.splitlines()), nl=False)
    warnings = sum(finding.level == "warning" for finding in findings)
    click.echo(f"{len(policies.policies)} policies load, {warnings} warnings", err=True)
    return 0


@command.command("podsecurity")
@_FILES
@click.option("--level", type=click.Choice(standard.LEVELS), default="restricted", show_default=True,
              help="Level of the Pod Security Standards.")
@click.option("--version", default="latest", show_default=True, help="v1.<minor> of the standard.")
@_OUTPUT
def _podsecurity(files: tuple[Path, ...], level: str, version: str, output: str) -> int:
    """Whether pods meet a Pod Security level, in the API server's words. Exit code 3 where one does not."""
    rows: list[dict[str, Any]] = []
    for file in files:
        for at, document in enumerate(read(file)):
            kind = document.get("kind") if isinstance(document, dict) else "no map"
            if kind != "Pod":
                raise MalformedError(f"{file}[{at}]", got=kind, expected="a Pod")
            metadata = document.get("metadata")
            failures = standard.evaluate(document.get("spec"), metadata, level, version)
            name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
            rows.append({"pod": name, "allowed": not failures, "failures": [one._asdict() for one in failures],
                         "message": f'violates PodSecurity "{level}:{version}": {standard.aggregate(failures)}'
                         if failures else ""})
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    for row in rows if output == "table" else ():
        click.echo(f"pod {row['pod']}: {row['message'] or f'meets {level}:{version}'}")
    return 0 if all(row["allowed"] for row in rows) else 3
