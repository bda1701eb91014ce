"""`custody runtime rules lint`: what rules will do that their authors may not mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody.cli.rulefiles import match_option, rule_files, ruleset
from custody.cli.suppressing import suppressions_option
from custody.cli.suppressing import used as used_in
from custody.errors import DeniedError, UsageError
from custody.kit.visible import visible
from custody.runtime.rulelint import Finding, lint
from custody.runtime.sight import INPUTS, Sight, inputs
from custody.runtime.suppressions import Suppressions

_LEVELS = ("info", "warning", "error")


@click.command("lint")
@rule_files
@match_option
@click.option("--input", "names", multiple=True, metavar="INPUT", help="What will tell the events: "
              f"{', '.join(INPUTS)}, or sensor for those of this machine. A rule that none of these inputs can make "
              "true is an error.")
@suppressions_option
@click.option("--events", "recordings", multiple=True, metavar="RECORDING",
              type=click.Path(exists=True, path_type=Path), help="With --suppressions: one that suppresses nothing of "
              "these events is a warning.")
@click.option("--fail-on", type=click.Choice(["error", "warning"]), default="error", show_default=True,
              help="Exit 3 where a finding is at least this.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(paths: tuple[Path, ...], match: Any, names: tuple[str, ...], suppressions: Suppressions | None,
            recordings: tuple[Path, ...], fail_on: str, output: str) -> int:
    """What rules will do that their authors may not mean: Falco's own warnings, and what can be proved of conditions.

    A rule that can never match, one that no input can make true, an exception that leaves out everything, a rule in the
    shadow of an earlier one, lists and macros that nobody uses, suppressions that are over or never match.
    """
    if recordings and suppressions is None:
        raise UsageError("--events: it is for --suppressions")
    rules = ruleset(paths)
    own = sensor_sight() if "sensor" in names else None
    findings = list(lint(rules, match=match, seen=inputs(names, own)))
    if suppressions is not None:
        findings += [Finding("warning", code, "", f"{told.name}: {message}", told.place)
                     for told, code, message in suppressions.remarks(rules.rules)]
        findings += used_in(rules, match, suppressions, recordings) if recordings else []
    if output == "json":
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            where = ": ".join(part for part in (finding.place, finding.rule) if part)
            click.echo(visible(f"{finding.level}: {where}: {finding.message} [{finding.code}]"))
        enabled = sum(rule.enabled for rule in rules.rules)
        click.echo(f"{enabled} of {len(rules.rules)} rules are enabled; "
                   f"{len(findings) or 'no'} finding{'s' if len(findings) != 1 else ''}", err=True)
    worst = [finding for finding in findings if _LEVELS.index(finding.level) >= _LEVELS.index(fail_on)]
    if worst:
        raise DeniedError(f"{len(worst)} finding{'s' if len(worst) > 1 else ''} of level {fail_on} or above")
    return 0


def sensor_sight() -> Sight:
    """What this machine's sensors can tell, as they say themselves. Raises UsageError where there are none."""
    from custody.wiring.sensing import SENSORS

    types: set[str] = set()
    fields: set[str] = set()
    for make in SENSORS.values():
        sensor = make(frozenset())
        try:
            probe = sensor.probe()
            if probe.works:
                types |= probe.covers
                fields |= sensor.fields
        finally:
            sensor.close()
    if not types:
        raise UsageError("--input sensor: no sensor works on this machine", hint="custody runtime sensors")
    return Sight("sensor", "syscall", frozenset(types), frozenset(fields))
