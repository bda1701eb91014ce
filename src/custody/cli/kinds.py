"""The options that say which kinds there are, and the policies that are loaded by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from custody.kit.visible import visible
from custody.policy.load import PolicySet
from custody.settings import Settings
from custody.wiring import kinds
from custody.wiring.admission import exceptions

_SERVED = "Ask this API server which kinds it serves, instead of taking Kubernetes 1.34's"


def options(command: Callable[..., Any], help_text: str = f"{_SERVED}.") -> Callable[..., Any]:
    """--crd and --kubeconfig."""
    command = click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                           help=help_text)(command)
    return click.option("--crd", "crds", multiple=True, metavar="FILE|DIR", type=click.Path(exists=True),
                        help="CustomResourceDefinitions of kinds that policies name; default: custody.toml's.")(command)


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """--crd and --kubeconfig, of which the second also says whom to ask what policies ask of a cluster."""
    return options(command, f"{_SERVED}; and what policies ask of a cluster, such as labels of namespaces.")


def load(settings: Settings, policies: Sequence[str | Path], crds: Sequence[str], kubeconfig: Path | None, *,
         before: PolicySet | None = None) -> PolicySet:
    """The policies, checked against the kinds that the options name. What does not count of them is said on stderr.
    What is in `before` is not compiled again."""
    loaded = PolicySet.load(policies or settings.policies, kinds(settings, crds, kubeconfig),
                            exceptions=exceptions(settings), before=before)
    for where, reason in loaded.uncounted:
        click.echo(visible(f"note: {where}: {reason}"), err=True)
    return loaded
