"""`custody runtime responses check`: are files of responses what will be done?"""

from __future__ import annotations

from pathlib import Path

import click

from custody.cli.contents import columns
from custody.cli.responsefiles import loaded, told
from custody.formats.talon import Match
from policylang.falco.output import PRIORITIES


@click.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True, path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Read rules in Falco Talon's form, and say what each does for which alerts.

    Exit code 2 where something in them is not done: an actionner, a parameter or a notifier is never left out silently.
    """
    responses = loaded(paths)
    rows = [("RULE", "FOR", "ACTION", "DOES", "DRY RUN")]
    rows += [(rule.name, _for(rule.match), intent.action, told(intent.deed),
              "always" if intent.dry_run else "as the watch is told")
             for rule in responses.rules for intent in responses.intents(rule.name)]
    click.echo(columns(rows), nl=False)


def _for(match: Match) -> str:
    said = []
    if match.rules:
        said.append(f"rule {' or '.join(match.rules)}")
    if match.priority is not None:
        said.append(f"priority {match.priority.comparator} {PRIORITIES[match.priority.level]}")
    if match.source:
        said.append(f"source {match.source}")
    if match.tags:
        said.append("tags " + " or ".join(" and ".join(line) for line in match.tags))
    if match.output_fields:
        said.append(" or ".join(" and ".join(f"{test.name}{test.comparator}{test.value}" for test in line)
                                for line in match.output_fields))
    return "; ".join(said)
