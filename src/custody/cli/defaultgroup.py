"""A command whose argument may stand where others have the name of a subcommand: `custody sbom TARGET`."""

from __future__ import annotations

import click

from custody.cli.groups import Group


class DefaultGroup(Group):
    """Words that begin with no subcommand are those of `default`; a folder named as one is `dir:NAME`."""

    default = "list"

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return ["[OPTIONS] TARGET | COMMAND …"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those of the argument's own command, so that nobody need know its name; then the commands."""
        own = self.get_command(ctx, self.default)
        rows = [record for param in (own.get_params(ctx) if own else ())
                if isinstance(param, click.Option) and (record := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(rows)
        self.format_commands(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.list_commands(ctx) and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)
