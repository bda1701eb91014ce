"""`custody policy lint`: what policies will do that their authors may not mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody import __version__, wiring
from custody.cli import kinds
from custody.cli.bars import progress
from custody.cli.run import settings
from custody.errors import CustodyError, UsageError
from custody.formats import sarif
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.coverage import Coverage, covered
from custody.policy.kinds import Kinds
from custody.policy.lint import Finding, lint_all, refused
from custody.policy.load import Located, PolicySet, located, manifest_files, unwrapped


@click.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json", "sarif"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--coverage", is_flag=True, help="Which fields that bring images into pods no rule sees, instead.")
@kinds.options
def command(files: tuple[Path, ...], output: str, coverage: bool, crds: tuple[str, ...],
            kubeconfig: Path | None) -> int:
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
    if not coverage:
        findings += _together(policies, {finding.policy for finding in findings if finding.level == "error"}, known)
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


def _together(located_policies: Located, refused_at: set[str], known: Kinds) -> list[Finding]:
    """Of policies of several engines: what they do to each other. Of none, where some do not load."""
    kept = [document for where, document in located_policies if where not in refused_at]
    if len(kept) < 2 or refused_at:
        return []
    policies = PolicySet(kept, kinds=known)
    if len({policy.engine for policy in policies.policies}) < 2:
        return []
    from custody.policy.equivalent.together import together
    from custody.services.simulation.standing import Standing

    with progress("Comparing policies of several engines") as advance:
        made = together(policies, known, lambda words: Standing(
            kept, known, dict([*words.labels.items()][:40]), words.texts[:40]), advance)
    findings = [Finding(pair.first.name, "metadata.name", pair.code, "warning", pair.message) for pair in made.pairs]
    if made.left_out:
        first, second = made.left_out[0]
        amount = len(made.left_out)
        findings.append(Finding(first.name, "metadata.name", "not-compared", "note", (
            f"{amount} of {amount + made.compared + len(made.unknown)} pairs of policies of several engines were not "
            f"compared, the first is this one with {second.kind} {second.name}: fewer files at a time have all of "
            "theirs compared")))
    if made.unknown:
        first, second, reason = made.unknown[0]
        amount = len(made.unknown)
        findings.append(Finding(first.name, "metadata.name", "not-compared", "note", (
            f"nothing is known of {amount} of {amount + made.compared + len(made.left_out)} pairs of policies of "
            f"several engines, the first is this one with {second.kind} {second.name}: {reason}")))
    return findings


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
