"""How what runs for long writes its log: the options, over the settings."""

from __future__ import annotations

from collections.abc import Callable

import click

from custody.settings import Settings


def log_options(command: Callable[..., None]) -> Callable[..., None]:
    """--log-format and --log-level."""
    for flag, choices, text in (
            ("--log-level", ("debug", "info", "warning", "error"), "The least that is written; default: info."),
            ("--log-format", ("text", "json"), "How lines are written to standard error; default: text.")):
        command = click.option(flag, type=click.Choice(choices), help=text)(command)
    return command


def logged(settings: Settings, log_format: str | None, log_level: str | None) -> Settings:
    """The settings with what the flags say over them."""
    given = {"log_format": log_format, "log_level": log_level}
    return settings.replace(**{name: value for name, value in given.items() if value is not None})
