"""`custody runtime drift`: is what runs what was admitted?"""

from __future__ import annotations

import click

from custody.cli.defaultgroup import DefaultGroup


class _Drift(DefaultGroup):
    default = "show"

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return ["[OPTIONS] | COMMAND …"]


@click.group("drift", cls=_Drift, places={"show": "custody.cli.runtime_drift_show",
                                          "baseline": "custody.cli.runtime_drift_baseline"})
def command() -> None:
    """Is what runs what was admitted? Containers of a cluster beside the records of admission; with --restart: which of
    them would be denied if they were started again now.
    """
