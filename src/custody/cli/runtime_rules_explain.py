"""`custody runtime rules explain`: why a rule is true of an event, or not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from custody.cli.rulefiles import rule_files, ruleset
from custody.errors import UsageError
from custody.kit.near import near
from custody.kit.visible import visible
from custody.runtime.ruletrial import Trial
from custody.services.recordings import Recordings
from policylang.falco import RuleSet


def named(rules: RuleSet, name: str) -> str:
    """The name of a rule that there is. Raises UsageError."""
    names = [rule.name for rule in rules.rules]
    if name not in names:
        raise UsageError(f"--rule: no rule is named {name!r}", hint=near(name, names))
    return name


@click.command("explain")
@rule_files
@click.option("--rule", "rule", required=True, metavar="NAME", help="Which rule.")
@click.option("--event", "file", required=True, metavar="RECORDING", type=click.Path(exists=True, path_type=Path),
              help="Events: the first is explained, or the one of --number.")
@click.option("--number", type=click.IntRange(min=1), default=1, show_default=True, help="Which event of the file.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(paths: tuple[Path, ...], rule: str, file: Path, number: int, output: str) -> None:
    """Say of each comparison of a rule's condition what it gave of an event.

    Comparisons that were not made, since those before them had decided, are not told.
    """
    rules = ruleset(paths)
    known = rules[named(rules, rule)]
    for at, event in enumerate(Recordings([file]), 1):
        if at < number:
            continue
        if event.source != known.source:
            raise UsageError(f"event {number} is of {event.source}, and {rule} is for {known.source}")
        held, steps = Trial(rules, "all").steps(rule, event)
        if output == "json":
            click.echo(json.dumps({"rule": rule, "holds": held, "event": number, "comparisons": [
                {"comparison": step.text, "held": step.held} for step in steps]}, indent=2, ensure_ascii=False))
            return
        click.echo(visible(f"{rule}: {'true' if held else 'not true'} of event {number}, {event.type}"))
        for step in steps:
            click.echo(visible(f"  {'✓' if step.held else '✗'} {step.text}"))
        return
    raise UsageError(f"--number: got {number}, and {file} has fewer events")
