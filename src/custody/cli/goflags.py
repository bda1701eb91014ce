"""Flags as programs written in Go take them: `--flag`, `--flag=true`, `--flag=false`, and the last one counts."""

from __future__ import annotations

import click


class Command(click.Command):
    """Boolean options are flags; one whose default is true is an option of type bool that may stand without a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [option for option in self.params if isinstance(option, click.Option)]
        flags = {name: option.opts for option in options if option.is_flag for name in option.opts}
        valued = {name for option in options if not option.is_flag and option.type is click.BOOL and option.default
                  for name in option.opts}
        kept: list[str] = []
        for at, argument in enumerate(args):
            if argument == "--":
                kept += args[at:]
                break
            name, equals, value = argument.partition("=")
            if argument in valued:
                kept.append(f"{argument}=true")
            elif name not in flags or not equals:
                kept.append(argument)
            elif value == "true":
                kept.append(name)
            elif value == "false":
                kept = [given for given in kept if given not in flags[name]]
            else:
                raise click.BadOptionUsage(name, f"{argument}: expected true or false", ctx)
        return super().parse_args(ctx, kept)
