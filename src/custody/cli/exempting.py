"""Gatekeeper's options that say which namespaces its policies may leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(command: _Command) -> _Command:
    """--exempt-namespace, --exempt-namespace-prefix and --exempt-namespace-suffix, in this order."""
    for flag, parameter, text in (
            ("--exempt-namespace-suffix", "exempt_suffixes", "The same, of all namespaces whose names end so."),
            ("--exempt-namespace-prefix", "exempt_prefixes", "The same, of all namespaces whose names begin so."),
            ("--exempt-namespace", "exempt_namespaces", "A namespace that may carry the label "
             "admission.gatekeeper.sh/ignore: Gatekeeper's policies leave it alone then. May be repeated; beside those "
             "of the setting exempt_namespaces.")):
        command = click.option(flag, parameter, multiple=True, help=text)(command)
    return command
