"""`custody runtime sensors`: what this machine's kernel would tell, and which rules that is enough for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli.contents import columns
from custody.cli.rulefiles import ruleset
from custody.cli.run import settings
from custody.errors import VerificationError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.ports.sensing import Probe, Sensor
from custody.runtime.containers import FIELDS
from custody.runtime.coverage import Covered, coverage, unread


@click.command("sensors")
@click.option("--rules", "paths", multiple=True, metavar="FILE|FOLDER", type=click.Path(exists=True, path_type=Path),
              help="Falco rules, of which is said whether a sensor can make them true; repeatable. Default: `rules` of "
              "[runtime] in custody.toml.")
@click.option("--containers", multiple=True, metavar="FILE", type=click.Path(exists=True), help="Which images and pods "
              "containers are of, as `crictl ps -o json` prints it; as `watch` would have it.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(paths: tuple[Path, ...], containers: tuple[str, ...], output: str) -> int:
    """Which sensors work on this machine, and what they see.

    Each is tried, and nothing is left behind. With rules, those that no sensor here can make true are named with the
    reason: a type of event, or a field, that nobody tells. Exit code 4: no sensor works for this user.
    """
    from custody.wiring.census import Census
    from custody.wiring.sensing import SENSORS, quiet_reads, sensors, sights

    stated = settings()
    known = Census(stated, (*containers, *(stated.runtime.containers if stated.runtime else ()))).sources()
    made = sensors(tuple(SENSORS), frozenset(), stated.sensing)
    probes = [(sensor, sensor.probe()) for sensor in made]
    seen = sights(made, FIELDS if known else frozenset())
    files = paths or tuple(Path(path) for path in (stated.runtime.rules if stated.runtime else ()))
    rules = ruleset(files).rules if files else ()
    covered = coverage(rules, seen) if files else None
    quiet = quiet_reads(stated.sensing)
    missed = {rule.name: reads for rule in rules if (reads := unread(rule, quiet))}
    if output == "json":
        click.echo(json.dumps(_told(probes, known, covered, missed), indent=2, ensure_ascii=False))
    else:
        click.echo(_table(probes, known, covered, missed), nl=False)
    if not seen:
        raise VerificationError("no sensor works here: nothing of this machine is seen", hint="run it as root, on the "
                                "machine itself or in a container with its capabilities and namespaces")
    return 0


def _table(probes: list[tuple[Sensor, Probe]], known: list[str], covered: list[Covered] | None,
           missed: Mapping[str, Sequence[str]]) -> str:
    rows = [("SENSOR", "WORKS", "BLOCKS", "EVENTS", "")]
    rows += [(sensor.name, "yes" if probe.works else "no", "yes" if probe.blocks else "no", str(len(probe.covers)),
              probe.reason) for sensor, probe in probes]
    text = columns(rows)
    for sensor, probe in probes:
        if probe.works:
            text += f"\n{sensor.name}: {', '.join(sorted(probe.covers))}\n"
    if both := _twice(probes):
        text += f"\n{', '.join(both)} each tell of programs that start: named together, each program is told by each.\n"
    text += visible(f"\ncontainers: images and pods are told by {', '.join(known)}" if known else
                    "\ncontainers: nobody here tells their images and pods: no cluster, no runtime's files, and no "
                    "--containers") + "\n"
    if covered is None:
        return text
    unseen = [rule for rule in covered if not rule.by]
    partly = [rule for rule in covered if rule.by and rule.unseen]
    text += f"\n{len(covered) - len(unseen)} of {amount(len(covered), 'rule')} about system calls can be seen.\n"
    for rule in partly:
        text += visible(f"partly: {rule.rule}: not by {', '.join(rule.unseen)}") + "\n"
    for name, reads in missed.items():
        text += visible(f"partly: {name}: reads of {', '.join(reads)} are not told (sensing.all_reads does)") + "\n"
    for rule in unseen:
        text += visible(f"not seen: {rule.rule}: {rule.reason}") + "\n"
    return text


def _twice(probes: list[tuple[Sensor, Probe]]) -> list[str]:
    """Sensors that work here and tell of the same executions, where there are several."""
    telling = [sensor.name for sensor, probe in probes if probe.works and "execve" in probe.covers]
    return telling if len(telling) > 1 else []


def _told(probes: list[tuple[Sensor, Probe]], known: list[str], covered: list[Covered] | None,
          missed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    told: dict[str, Any] = {"sensors": [
        {"name": sensor.name, "works": probe.works, "reason": probe.reason, "blocks": probe.blocks,
         "events": sorted(probe.covers)} for sensor, probe in probes], "containersBy": known}
    if both := _twice(probes):
        told["toldTwice"] = both
    if covered is not None:
        told["rules"] = [{"name": rule.rule, "seenBy": list(rule.by), "reason": rule.reason,
                          "unseenEvents": list(rule.unseen),
                          "unreadPaths": list(missed.get(rule.rule, ()))} for rule in covered]
    return told
