"""`custody runtime rules list`: which rules there are, and which inputs can make them true."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from custody.cli.contents import columns
from custody.cli.rulefiles import rule_files, ruleset
from custody.errors import UsageError
from custody.runtime.rulelint import impossible
from custody.runtime.sight import INPUTS
from policylang.falco import Rule
from policylang.falco.analysis import event_types, field_names

_SHOWN = 4


@click.command("list")
@rule_files
@click.option("--source", help="Rules for events of this source alone.")
@click.option("--tag", "tags", multiple=True, help="Rules with this tag alone.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(paths: tuple[Path, ...], source: str | None, tags: tuple[str, ...], output: str) -> None:
    """The rules of files, as they are after all appends and overrides.

    SEEN BY names the inputs that tell events which may make the rule true; none is said of a rule that nothing can.
    """
    listed = ruleset(paths).rules
    _known("--source", () if source is None else (source,), {rule.source for rule in listed})
    _known("--tag", tags, {tag for rule in listed for tag in rule.tags})
    rules = [rule for rule in listed if source in (None, rule.source) and {*tags} <= {*rule.tags}]
    if output == "json":
        click.echo(json.dumps([_told(rule) for rule in rules], indent=2, ensure_ascii=False))
        return
    rows = [("RULE", "PRIORITY", "SOURCE", "ENABLED", "EVENTS", "SEEN BY")]
    for rule in rules:
        types = sorted(event_types(rule)) if impossible(rule) is None else []
        more = f", … {len(types)}" if len(types) > _SHOWN else ""
        rows.append((rule.name, rule.level, rule.source, "yes" if rule.enabled else "no",
                     ", ".join(types[:_SHOWN]) + more if types else "none: it never matches",
                     ", ".join(_seen(rule)) or "none"))
    click.echo(columns(rows), nl=False)


def _known(flag: str, names: Sequence[str], there: Set[str]) -> None:
    """Raises UsageError: an empty list would not tell a misspelled name from one without rules."""
    for name in names:
        if name not in there:
            near = get_close_matches(name, there, 1)
            raise UsageError(f"{flag}: no rule has {name!r}", hint=f"did you mean {near[0]}?" if near else
                             f"there are: {', '.join(sorted(there)) or 'none'}")


def _seen(rule: Rule) -> list[str]:
    if impossible(rule) is not None:
        return []
    return [name for name, sight in INPUTS.items() if name != "fields" and sight.blind(rule) is None]


def _told(rule: Rule) -> dict[str, Any]:
    never = impossible(rule)
    return {"name": rule.name, "description": rule.description, "source": rule.source, "priority": rule.level,
            "tags": list(rule.tags), "enabled": rule.enabled, "eventTypes": [] if never else sorted(event_types(rule)),
            "fields": sorted(field_names(rule.condition)), "neverMatches": never, "seenBy": _seen(rule),
            "condition": rule.text.strip()}
