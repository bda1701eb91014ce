"""A group of commands each of which stands in a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click


class Group(click.Group):
    """`places` are modules by the names of commands: beside those that are added to it as to any group.

    `aliases` are further names of commands, which lists leave out.
    """

    def __init__(self, *arguments: Any, places: Mapping[str, str], aliases: Mapping[str, str] | None = None,
                 **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._places = places
        self.aliases = aliases or {}
        self.share: Callable[[click.Command], None] = lambda _: None
        """Told of each command that was imported: what all commands have is given to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._places})

    def resolve_command(self, ctx: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises NoSuchCommand, which names what is near: click knows only of commands that were imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            near = [*self.list_commands(ctx), *self.aliases]
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=near, ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = self.aliases.get(cmd_name, cmd_name)
        if cmd_name in self._places and cmd_name not in self.commands:
            command = importlib.import_module(self._places[cmd_name]).command
            assert isinstance(command, click.Command)
            self.add_command(command, cmd_name)
            self.share(command)
        return super().get_command(ctx, cmd_name)
