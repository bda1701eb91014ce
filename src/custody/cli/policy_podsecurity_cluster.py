"""`custody policy podsecurity --cluster`: which level namespaces meet today, and what stops the next one."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli.bars import progress
from custody.cli.contents import columns
from custody.cli.run import settings
from custody.errors import DeniedError, MalformedError, NotJudgedError
from custody.kit.visible import visible
from custody.policy.podsecurity import standard
from custody.policy.podsecurity.configuration import MODES, PREFIX, Configuration
from custody.policy.podsecurity.survey import Obstacle, Standing
from custody.services.podsurvey import survey
from custody.wiring import cluster_client

_SHOWN = 5
"""Workloads and pods of an obstacle that a line names."""


def run(configuration: Configuration, level: str | None, version: str, kubeconfig: Path | None,
        namespaces: Sequence[str], *, label: bool, output: str) -> int:
    """Raises DeniedError where a namespace does not meet `level`, NotJudgedError where one was not read whole."""
    standings, evaluated = asyncio.run(_survey(configuration, version, kubeconfig, namespaces))
    if label:
        for standing in standings:
            if standing.tightens:
                click.echo(_command(standing, version))
    elif output == "json":
        click.echo(json.dumps({"version": version, "evaluated": evaluated, "namespaces": [
            _plain(standing) for standing in standings]}, indent=2, ensure_ascii=False))
    else:
        click.echo(_table(standings), nl=False)
    if version == "latest":
        print(f"latest is {evaluated} here, the API server's", file=sys.stderr)
    for standing in standings:
        for problem in standing.problems:
            print(f"warning: namespace {standing.namespace}: {visible(problem)}", file=sys.stderr)
    if level is not None and (below := [standing for standing in standings if _below(standing, level)]):
        raise DeniedError(f"{len(below)} of {len(standings)} namespaces do not meet {level}, such as "
                          f"{below[0].namespace}")
    if unread := [standing for standing in standings if standing.unread]:
        raise NotJudgedError(f"{len(unread)} of {len(standings)} namespaces not judged, such as "
                             f"{unread[0].namespace}: {visible(unread[0].unread[0])}",
                             hint="who reads them needs the right to list pods and what makes pods")
    if not standings:
        raise NotJudgedError("the cluster has no namespace")
    return 0


async def _survey(configuration: Configuration, version: str, kubeconfig: Path | None,
                  namespaces: Sequence[str]) -> tuple[list[Standing], str]:
    """And the version that was evaluated: `v1.34`."""
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    client = cluster_client(configured)
    try:
        evaluated = f"v1.{standard.parse_version(version)}"
        if version == "latest":
            evaluated = f"v1.{min(standard.LATEST, _minor(await client.ask('GET', '/version')))}"
        with progress("reading pods and what makes them") as told:
            return await survey(client, configuration, evaluated, namespaces, told), evaluated
    finally:
        await client.cluster.close()


def _minor(served: Any) -> int:
    """Of the version that an API server says it emulates, or is: some write `34+`."""
    held = served if isinstance(served, dict) else {}
    text = str(held.get("emulationMinor") or held.get("minor") or "").rstrip("+")
    if not text.isdecimal() or len(text) > 4:
        raise MalformedError("version of the API server", got=text, expected="a minor version, such as 34",
                             hint="--version v1.34")
    return int(text)


def _below(standing: Standing, level: str) -> bool:
    """Whether something of it is known not to meet a level."""
    return not standing.exempt and any(standing.stopping(level))


def _command(standing: Standing, version: str) -> str:
    return shlex.join(["kubectl", "label", "--overwrite", "namespace", standing.namespace,
                       f"{PREFIX}enforce={standing.meets}", f"{PREFIX}enforce-version={version}"])


def _table(standings: Sequence[Standing]) -> str:
    """A line a namespace, below it what stops the next level."""
    heads = ("NAMESPACE", "ENFORCE", "AUDIT", "WARN", "PODS", "MEETS")
    rows = columns([heads, *((standing.namespace, *(str(standing.demands[mode]) for mode in MODES),
                              str(standing.pods), _meets(standing)) for standing in standings)]).splitlines()
    lines = [rows[0]]
    for row, standing in zip(rows[1:], standings, strict=True):
        lines += [row, *map(visible, _below_it(standing))]
    return "".join(f"{line}\n" for line in lines)


def _meets(standing: Standing) -> str:
    said = standing.meets or "not judged"
    return f"{said} (exempt)" if standing.exempt else said


def _below_it(standing: Standing) -> Iterator[str]:
    for reason in standing.unread:
        yield f"  not read: {reason}"
    for level in (standing.next,) if standing.meets else standard.LEVELS:
        for obstacle in standing.stopping(level):
            yield f"  {level}: {_who(obstacle)}: {obstacle.reasons}"


def _who(obstacle: Obstacle) -> str:
    """`deployment web (pods web-1, web-2), daemonset agent`; of pods by themselves their names alone."""
    workloads = _some(obstacle.workloads)
    owned = [pod for pod in obstacle.pods if f"pod {pod}" not in obstacle.workloads]
    return f"{workloads} (pod{'s' if len(owned) > 1 else ''} {_some(owned)})" if owned else workloads


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _plain(standing: Standing) -> dict[str, Any]:
    return {"namespace": standing.namespace, "meets": standing.meets or None, "judged": not standing.unread,
            "exempt": standing.exempt, **{mode: str(standing.demands[mode]) for mode in MODES},
            "problems": [*standing.problems], "pods": standing.pods, "workloads": standing.workloads,
            "unread": [*standing.unread], "obstacles": [obstacle._asdict() for obstacle in standing.obstacles]}
