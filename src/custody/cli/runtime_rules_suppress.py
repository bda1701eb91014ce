"""`custody runtime rules suppress`: an exception proposed for an event, with what else it would leave out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.cli.rulefiles import read, rule_files
from custody.cli.runtime_rules_explain import named
from custody.errors import CustodyError, UsageError
from custody.kit.visible import visible
from custody.runtime.exceptions import propose
from custody.runtime.ruletrial import Comparison, Trial
from custody.services import falcorules
from custody.services.recordings import Recordings

_SHOWN = 10


@click.command("suppress")
@rule_files
@click.option("--rule", "rule", required=True, metavar="NAME", help="Which rule alerts.")
@click.option("--event", "file", required=True, metavar="RECORDING", type=click.Path(exists=True, path_type=Path),
              help="Events: the first of which the rule is true is what the exception is for.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="By which fields it is known; by default those "
              "that say who did what where.")
@click.option("--events", "recordings", multiple=True, metavar="RECORDING",
              type=click.Path(exists=True, path_type=Path), help="What else would be left out of these.")
def command(paths: tuple[Path, ...], rule: str, file: Path, fields: tuple[str, ...],
            recordings: tuple[Path, ...]) -> None:
    """Propose an exception in the language of rules: stdout gets a rule file to load after the others.

    It is loaded and asked before it is printed. Standard error gets what it is for, and what else it leaves out.
    """
    texts = falcorules.files(paths)
    rules = falcorules.compiled(texts)
    known = rules[named(rules, rule)]
    today = Trial(rules, "all")
    event = next((event for event in Recordings([file]) if event.source == known.source
                  and today.steps(rule, event)[0]), None)
    if event is None:
        raise UsageError(f"{file}: {rule} is true of none of its events", hint="custody runtime rules explain")
    proposal = propose(known, event.fields, fields, rules.lists)
    changed = falcorules.compiled(texts | {"exception.yaml": proposal.text.encode()})
    if Trial(changed, "all").steps(rule, event)[0]:
        raise CustodyError(f"{rule}: still true of the event with the exception {proposal.name}",
                           hint="its values cannot be told in a condition; name others by --field")
    pairs = " and ".join(f"{name} = {value}" for name, value in zip(proposal.fields, proposal.values, strict=True))
    _say(f"{rule}: no alert where {pairs}")
    if recordings:
        comparison = Comparison(Trial(rules, "all"), Trial(changed, "all"))
        for recorded in read(Recordings(recordings)):
            comparison(recorded)
        vanished = next((row.vanished for row in comparison.differences() if row.rule == rule), [])
        before = comparison.old.counts[rule].alerts if rule in comparison.old.counts else 0
        _say(f"of {before} recorded alerts of the rule, {len(vanished) or 'none'} would be left out")
        for number, alert, _ in comparison.old.kept if vanished else ():
            if alert.rule == rule and number in vanished[:_SHOWN]:
                _say(f"  event {number}: {alert.output}")
        if len(vanished) > _SHOWN:
            _say(f"  … {len(vanished) - _SHOWN} more")
    click.echo(proposal.text, nl=False)


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr)
