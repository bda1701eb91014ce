"""`custody notation version`: which version this is, and which of notation's commands it has."""

from __future__ import annotations

import platform

import click

from custody import __version__

NOTATION = "1.3.2"
"""The version of notation whose commands, flags and files these are."""


@click.command("version")
def command() -> None:
    """Say which version this is."""
    print("Notation - a tool to sign and verify artifacts, as custody has it.\n")
    print(f"Version:     {NOTATION}+custody.{__version__}")
    print(f"Python:      {platform.python_version()}")
