"""Every command and flag of the real `notation` is here under the same name, or stands among those that are not."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import click
import pytest

from custody.cli.notation import command as ours
from tests.conftest import ROOT, peer

ELSEWHERE = {"completion": "`custody completion`", "help": "`--help`"}
"""Commands that cobra gives to every program."""
ADDED = {"blob", "certificate cleanup-test", "certificate doctor", "policy init", "staple"}
"""Of later versions of notation, or custody's own."""
_COMMAND = re.compile(r"^  ([a-z][a-z-]*) +\S", re.MULTILINE)
_FLAG = re.compile(r"^ {2,}(?:-(\w), )? *--([a-z0-9-]+)(?: (string|stringArray|int|duration))? {2,}", re.MULTILINE)


class Flag(NamedTuple):
    long: str
    short: str
    takes_value: bool


def said(*path: str) -> str:
    return subprocess.run([peer("notation"), *path, "--help"], capture_output=True, text=True, check=True, timeout=30,
                          env={**os.environ, "NOTATION_EXPERIMENTAL": "1"}).stdout


def commands(path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All that notation has, those of groups below them."""
    text = said(*path)
    below = text.partition("Available Commands:\n")[2].partition("\n\n")[0]
    for name in _COMMAND.findall(below):
        if name not in ELSEWHERE:
            yield (*path, name)
            yield from commands((*path, name))


def command(path: tuple[str, ...]) -> click.Command | None:
    reached: click.Command | None = ours
    for name in path:
        assert isinstance(reached, click.Group), path
        reached = reached.get_command(click.Context(reached), name)
        if reached is None:
            return None
    return reached


def flags(text: str) -> set[Flag]:
    part = text.partition("\nFlags:\n")[2].partition("\n\n")[0]
    return {Flag(long, short, bool(kind)) for short, long, kind in _FLAG.findall(part) if long != "help"}


@pytest.mark.peer
def test_every_command_and_flag_of_notation() -> None:
    compared = 0
    for path in commands():
        here = command(path)
        assert here is not None, f"notation {' '.join(path)}"
        options = {name: option for option in here.params if isinstance(option, click.Option)
                   for name in (*option.opts, *option.secondary_opts)}
        for flag in flags(said(*path)):
            option = options.get(f"--{flag.long}")
            assert option is not None, f"notation {' '.join(path)} --{flag.long}"
            assert not flag.short or options.get(f"-{flag.short}") is option, f"{path} -{flag.short}"
            # One whose default is true is an option with a value that may be left out.
            assert option.is_flag != flag.takes_value or option.type is click.BOOL, f"{path} --{flag.long}"
            assert option.multiple == ("stringArray" in re.findall(rf"--{flag.long} (\w+)", said(*path))), flag.long
            compared += 1
    assert compared > 80


@pytest.mark.peer
def test_aliases_of_notation() -> None:
    counted = 0
    for path in commands():
        if match := re.search(r"^Aliases:\n  (.+)$", said(*path), re.MULTILINE):
            for alias in match[1].split(", "):
                assert command((*path[:-1], alias)) is command(path), f"{path}: {alias}"
                counted += 1
    assert counted >= 14


@pytest.mark.peer
def test_what_notation_has_not() -> None:
    """Else the table says too little of notation."""
    theirs = {" ".join(path) for path in commands()}

    def all_of(group: click.Group, above: str) -> Iterator[str]:
        for name in group.list_commands(click.Context(group)):
            here = group.get_command(click.Context(group), name)
            yield f"{above} {name}".strip()
            if isinstance(here, click.Group) and f"{above} {name}".strip() not in ADDED:
                yield from all_of(here, f"{above} {name}".strip())

    assert set(all_of(ours, "")) - theirs == ADDED


def test_the_table_has_every_command() -> None:
    """docs/compatibility-commands.md, a row for each command with what of it is refused."""
    text = (ROOT / "docs" / "compatibility-commands.md").read_text()

    def rows(group: click.Group, above: str) -> Iterator[str]:
        for name in group.list_commands(click.Context(group)):
            here = group.get_command(click.Context(group), name)
            if isinstance(here, click.Group):
                yield from rows(here, f"{above} {name}")
            else:
                yield f"| `{above} {name}` |"

    assert [row for row in rows(ours, "notation") if row not in text] == []
