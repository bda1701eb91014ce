"""A command whose argument may stand where others have the name of a subcommand: `custody sbom TARGET`."""

from __future__ import annotations

import click

from custody.cli.groups import Group


class DefaultGroup(Group):
    """Words that begin with no subcommand are those of `default`; a folder named as one is `dir:NAME`."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.list_commands(ctx) and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
