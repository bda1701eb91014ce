"""`custody netpol`: who can reach whom, by network policies of every kind, and what a change would do."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("netpol", cls=Group, places={name: f"custody.cli.netpol_{name}" for name in (
    "generate", "quarantine", "simulate")})
def command() -> None:
    """Network policies of Kubernetes, of its cluster-wide API, of Calico and of Cilium. Nothing is asked of the
    network that they are about: pods, namespaces and policies are read, and judged."""
