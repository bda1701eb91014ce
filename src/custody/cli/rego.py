"""`custody rego`: evaluate, check, test and format Rego, with the flags and output of `opa`."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {"eval": "custody.cli.rego_eval", "check": "custody.cli.rego_check", "test": "custody.cli.rego_test",
             "fmt": "custody.cli.rego_fmt"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.group("rego", cls=_Commands)
def command() -> None:
    """Rego, the language of OPA and Gatekeeper.

    Exit codes: 0 ok, 1 an evaluation ended in an error, 2 a module or flag is not accepted, 3 what --fail,
    --fail-defined, a failing test or --threshold asks to be told of.
    """
