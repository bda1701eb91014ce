"""`custody netpol`: who can reach whom by network policies, why, and what a change of them does."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("netpol", cls=Group, places={name: f"custody.cli.netpol_{name}" for name in (
    "check", "connectivity", "diff", "explain", "generate", "quarantine", "simulate")})
def command() -> None:
    """Network policies of Kubernetes, Calico and Cilium: who can reach whom, why, and what a change does.

    TARGETs are files, folders and `-`, with pods or what makes pods, Namespaces and policies; --kubeconfig reads a
    cluster, over which TARGETs count as if they were applied.
    """
