"""`custody runtime responses try`: what would be done about recorded alerts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import click

from custody.cli.bars import progress
from custody.cli.contents import columns
from custody.cli.responsefiles import loaded, told
from custody.cli.run import settings
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.runtime.event import Place
from custody.runtime.responses import Responses
from custody.services.recordings import Recordings
from custody.services.responding import Limits, Responding
from custody.wiring import cluster_client
from policylang.falco import Alert

Row = tuple[str, str, str, str, str]
_TITLES: Row = ("ALERT", "POD", "RESPONSE", "OUTCOME", "WHY")


@click.command("try")
@click.argument("paths", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True, path_type=Path))
@click.option("--alerts", "recordings", multiple=True, required=True, metavar="RECORDING",
              type=click.Path(exists=True, path_type=Path), help="Alerts in Falco's JSON, one a line: its own, or "
              "those of custody runtime watch.")
@click.option("--kubeconfig", metavar="FILE", help="Ask this cluster, whose API server judges what would be done and "
              "keeps none of it: rights, pods that are gone, pods that are others by now. Without it nobody is asked.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(paths: tuple[Path, ...], recordings: tuple[Path, ...], kubeconfig: str | None, output: str) -> None:
    """Say what would be done about alerts. Nothing is done."""
    responses = loaded(paths)
    alerts = []
    with progress("alerts") as advance:
        recorded = Recordings(recordings)
        for alert in recorded.alerts():
            if advance is not None:
                advance(1)
            alerts.append(alert)
    for where, reason in recorded.unread[:5]:
        click.echo(visible(f"warning: {reason if reason.startswith(where) else f'{where}: {reason}'}"), err=True)
    rows = asyncio.run(_asked(responses, alerts, kubeconfig)) if kubeconfig else _planned(responses, alerts)
    if output == "json":
        click.echo(json.dumps([dict(zip(map(str.lower, _TITLES), row, strict=True)) for row in rows], indent=2,
                              ensure_ascii=False))
    elif rows:
        click.echo(columns([_TITLES, *rows]), nl=False)
    answered = sum(bool(responses.of(alert)) for alert in alerts)
    unknown = "" if kubeconfig else "; no cluster was asked, so whether these pods are there is not known"
    click.echo(f"{len(alerts)} alerts, {answered} with a response{unknown}", err=True)


def _planned(responses: Responses, alerts: Sequence[Alert]) -> list[Row]:
    rows = []
    for alert in alerts:
        place = Place.of(alert.output_fields)
        for intents in responses.of(alert):
            for intent in intents:
                where = f"{place.namespace}/{place.pod}" if place.namespace and place.pod else ""
                if not where:
                    outcome, why = "not done", "the alert tells no pod"
                elif place.namespace in Limits().protected:
                    outcome, why = "not done", f"namespace {place.namespace} is protected"
                else:
                    outcome, why = "would be tried", told(intent.deed)
                rows.append((alert.rule, where or "none", f"{intent.rule}/{intent.action}", outcome, why))
                if not intent.proceed:
                    break
    return rows


async def _asked(responses: Responses, alerts: Sequence[Alert], kubeconfig: str) -> list[Row]:
    client = cluster_client(settings().replace(kubeconfig=kubeconfig))
    responding = Responding(client, responses, system_clock, dry_run=True)
    rows = []
    try:
        for alert in alerts:
            for answer in await responding(alert, Place.of(alert.output_fields)):
                fields = answer.output_fields
                pod = f"{fields['k8s.ns.name']}/{fields['k8s.pod.name']}" if fields["k8s.pod.name"] else "none"
                rows.append((alert.rule, pod, f"{fields['custody.response.rule']}/{fields['custody.response.action']}",
                             answer.rule.removeprefix("Response "), str(fields["custody.response.reason"])))
    finally:
        await client.cluster.close()
    return rows
