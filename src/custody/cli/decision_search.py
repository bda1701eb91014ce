"""The options that select kept decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from custody.cli.moments import Moment
from custody.policy.model import Verdict
from custody.ports.decisions import DecisionSearch

_WHEN = "7d, 90m, a day or an RFC 3339 time"


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--since, --until, --verdict, --kind, --namespace, --name, --user."""
    for option in (
            click.option("--user", "username", default="", metavar="NAME", help="Asked by this user."),
            click.option("--name", default="", help="About an object of this name."),
            click.option("--namespace", default="", help="About an object in this namespace."),
            click.option("--kind", default="", help="About an object of this kind."),
            click.option("--verdict", type=click.Choice([str(verdict) for verdict in Verdict]),
                         help="With this verdict."),
            click.option("--until", type=Moment(), metavar="WHEN", help="Before then."),
            click.option("--since", type=Moment(), metavar="WHEN", help=f"From then on: {_WHEN}.")):
        command = option(command)
    return command


def search(since: datetime | None, until: datetime | None, verdict: str | None, kind: str, namespace: str, name: str,
           username: str) -> DecisionSearch:
    """What the options say."""
    return DecisionSearch(since=since, until=until, verdict=verdict or "", kind=kind, namespace=namespace, name=name,
                          username=username)
