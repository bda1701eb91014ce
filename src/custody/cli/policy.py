"""`custody policy`: lint policies, a pod's Pod Security level, and `jp`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody import __version__, wiring
from custody.cli import (
    kinds,
    policy_apply,
    policy_exceptions,
    policy_import,
    policy_jp,
    policy_migrate,
    policy_sign,
    policy_test,
    policy_vap,
)
from custody.cli.run import settings
from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats import sarif
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.coverage import Coverage, covered
from custody.policy.lint import Finding, lint_all, refused
from custody.policy.load import PolicySet, located, manifest_files, read, unwrapped
from custody.policy.podsecurity import standard

_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
                       help="What stdout gets.")
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))


@click.group("policy")
def command() -> None:
    """Policies, before they are applied."""


command.add_command(policy_apply.command)
command.add_command(policy_exceptions.command)
command.add_command(policy_sign.command)
command.add_command(policy_import.command)
command.add_command(policy_jp.command)
command.add_command(policy_migrate.command)
command.add_command(policy_test.command)
command.add_command(policy_vap.command)


@command.command("lint")
@_FILES
@click.option("-o", "--output", type=click.Choice(["table", "json", "sarif"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--coverage", is_flag=True, help="Which fields that bring images into pods no rule sees, instead.")
@kinds.options
def _lint(files: tuple[Path, ...], output: str, coverage: bool, crds: tuple[str, ...], kubeconfig: Path | None) -> int:
    """What policies will do that their authors may not mean, in all files at once.

    Exit code 2 where one would be refused.
    """
    documents, findings = _read(files)
    if not documents and not findings:
        raise UsageError(f"{', '.join(map(str, files))}: no policies", hint="a *.yaml, *.yml or *.json file has none")
    policies, definitions = unwrapped([document for _, document in documents], [where for where, _ in documents])
    known = wiring.kinds(settings(), crds, kubeconfig)
    try:
        known = known.with_crds([crd for _, crd in definitions], [where for where, _ in definitions])
    except CustodyError as error:
        findings.append(refused(error, "CustomResourceDefinition"))
    more, loaded = lint_all(policies, known, system_clock())
    findings += more
    errors = [finding for finding in findings if finding.level == "error"]
    if coverage:
        refused_at = {finding.policy for finding in errors}
        kept = [document for where, document in policies if where not in refused_at]
        _print_coverage(covered(PolicySet(kept, kinds=known)), output)
    elif output == "json":
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    elif output == "sarif":
        click.echo(json.dumps(sarif.findings([_place(finding) for finding in findings], "custody", __version__),
                              indent=2, ensure_ascii=False))
    for finding in () if coverage or output != "table" else findings:
        place = finding.policy if finding.level == "error" else f"{finding.policy}: {finding.path}"
        click.echo(visible(f"{finding.level}: {place}: {finding.message} [{finding.code}]"))
        if finding.excerpt:
            click.echo("".join(f"    {visible(line)}\n" for line in finding.excerpt.splitlines()), nl=False)
    warnings = sum(finding.level == "warning" for finding in findings)
    click.echo(f"{loaded} {'policy loads' if loaded == 1 else 'policies load'}, "
               f"{warnings} warning{'s' * (warnings != 1)}", err=True)
    if errors:
        does = "document does" if len(errors) == 1 else "documents do"
        raise UsageError(f"{len(errors)} {does} not load, first {errors[0].policy}: {errors[0].message}")
    return 0


def _place(finding: Finding) -> sarif.Place:
    return sarif.Place(finding.code, finding.level, finding.message, finding.policy, finding.path)


def _read(files: tuple[Path, ...]) -> tuple[list[tuple[str, Any]], list[Finding]]:
    """(documents with where they stand, files that cannot be read)"""
    documents: list[tuple[str, Any]] = []
    unreadable: list[Finding] = []
    for file in (file for path in files for file in manifest_files(path)):
        try:
            documents += located(file)
        except CustodyError as error:
            unreadable.append(refused(error, str(file)))
    return documents, unreadable


def _print_coverage(rows: list[Coverage], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        by = ", ".join(row.rules) or "no rule"
        click.echo(f"{'✓' if row.rules else '✗'} {visible(f'{row.kind:24} {row.field:60} {by}')}")


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
        pods = read(file)
        if not pods:
            raise MalformedError(str(file), got="no resource", expected="at least one Pod")
        for at, document in enumerate(pods):
            kind = document.get("kind") if isinstance(document, dict) else "no map"
            if kind != "Pod":
                raise MalformedError(f"{file}[{at}]", got=kind, expected="a Pod")
            metadata = document.get("metadata")
            failures = standard.evaluate(document.get("spec"), metadata, level, version)
            name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
            rows.append({"pod": name, "allowed": not failures, "failures": [failure._asdict() for failure in failures],
                         "message": f'violates PodSecurity "{level}:{version}": {standard.aggregate(failures)}'
                         if failures else ""})
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    for row in rows if output == "table" else ():
        click.echo(visible(f"pod {row['pod']}: {row['message'] or f'meets {level}:{version}'}"))
    return 0 if all(row["allowed"] for row in rows) else 3
