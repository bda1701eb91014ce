"""`custody decisions`: what the webhook decided, searched."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import click

from custody.cli import decision_search
from custody.cli.run import settings
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible
from custody.ports.decisions import KeptDecision
from custody.wiring.local import decisions


@click.command("decisions")
@decision_search.options
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, newest first.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets; json is one object a line.")
def command(limit: int, output: str, **chosen: Any) -> None:
    """What the webhook of this data directory decided, newest first.

    One request is two decisions where both webhooks are asked: mutating, which pins images, and validating.
    `custody explain UID` says why.
    """
    with closing(decisions(settings())) as store:
        for kept in store.search(decision_search.search(**chosen), limit=limit):
            click.echo(json.dumps(to_json(kept)) if output == "json" else visible(line(kept)))


def line(kept: KeptDecision) -> str:
    """One decision for people."""
    row = (f"{format_rfc3339(kept.at)}  {kept.verdict:<10}  {kept.course:<10}  {kept.operation:<7} "
           f"{kept.kind}/{kept.namespace}/{kept.name}  {kept.uid}")
    return f"{row}  {kept.reason}" if kept.reason else row


def to_json(kept: KeptDecision) -> dict[str, Any]:
    """One decision as data, without its inputs."""
    return {"uid": kept.uid, "time": format_rfc3339(kept.at), "course": kept.course, "operation": kept.operation,
            "kind": kept.kind, "namespace": kept.namespace, "name": kept.name, "user": kept.username,
            "verdict": kept.verdict, "reason": kept.reason, "inputs": kept.inputs_digest,
            "policies": kept.policies_digest}
