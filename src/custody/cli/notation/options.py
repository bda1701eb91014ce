"""Options that several commands of notation have, and what they amount to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from custody.cli.goflags import Command as Command
from custody.errors import MalformedError, UsageError
from custody.kit.visible import visible
from custody.sign.notary.directory import Directory
from custody.sign.notary.directory import directory as _directory

if TYPE_CHECKING:
    from custody.registry.client import RegistryClient
    from custody.registry.credentials import Ask, Credential

_F = TypeVar("_F", bound=Callable[..., Any])


def directory() -> Directory:
    """Where notation's files are, for this environment."""
    return _directory(os.environ)


def logging_options(command: _F) -> _F:
    """`debug` and `verbose`, which `Narrator` takes."""
    for option in (click.option("-v", "--verbose", is_flag=True, help="Say what is done, on stderr."),
                   click.option("-d", "--debug", is_flag=True, help="Say that in detail.")):
        command = option(command)
    return command


def registry_options(command: _F) -> _F:
    """`username`, `password` and `insecure_registry`, which `known` takes."""
    for option in (
            click.option("-p", "--password", metavar="TEXT", help="Password at the registry. Default: "
                         "$NOTATION_PASSWORD, then the logins that are kept."),
            click.option("-u", "--username", metavar="TEXT", help="User at the registry. Default: "
                         "$NOTATION_USERNAME."),
            click.option("--insecure-registry", is_flag=True, help="Ask the registry by plain HTTP. For tests alone.")):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Narrator:
    """Tells on stderr what is being done: `info` with --verbose or --debug, `debug` with --debug alone."""

    debugging: bool = False
    verbose: bool = False

    def info(self, text: str) -> None:
        if self.verbose or self.debugging:
            print(f"info: {visible(text)}", file=sys.stderr)

    def debug(self, text: str) -> None:
        if self.debugging:
            print(f"debug: {visible(text)}", file=sys.stderr)


def warn(text: str) -> None:
    """As notation begins its warnings."""
    print(f"Warning: {visible(text)}", file=sys.stderr)


def pairs(given: Sequence[str], flag: str) -> dict[str, str]:
    """`{key}={value}` of an option that is repeated; the last one of a key counts. Raises UsageError."""
    read: dict[str, str] = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key or not value:
            raise UsageError(f"{flag}: got {text!r}, expected {{key}}={{value}}")
        read[key] = value
    return read


def duration(text: str, flag: str) -> timedelta:
    """As Go's flags have it, whole seconds. Raises MalformedError, UsageError."""
    from policylang.go import durations

    nanoseconds = durations.parse(text)
    if nanoseconds is None:
        raise MalformedError(flag, got=text, expected="a duration such as 12h, 30m or 3h20m")
    if nanoseconds < 0 or nanoseconds % 10**9:
        raise UsageError(f"{flag}: got {text}, expected whole seconds")
    return timedelta(seconds=nanoseconds // 10**9)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table as Go's tabwriter makes it of cells that each end with a tab: three spaces behind the widest."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + 3 for column in zip(*shown, strict=True)]
    return "".join("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "\n"
                   for row in shown)


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the answer is yes; says that nothing was done where it is not."""
    if yes:
        return True
    print(f"{question} [y/N] ", end="", flush=True)
    answer = sys.stdin.readline().strip().lower() if sys.stdin is not None else ""
    if answer in ("y", "yes"):
        return True
    print("Operation cancelled.")
    return False


def split_layout(text: str) -> tuple[str, str]:
    """DIR and TAG, or DIR and DIGEST. Raises UsageError."""
    folder, at, identifier = text.rpartition("@")
    if not at:
        folder, _, identifier = text.rpartition(":")
    if not folder or not identifier or "/" in identifier:
        raise UsageError(f"{text}: got no folder with a tag or digest, expected DIR:TAG or DIR@DIGEST")
    return folder, identifier


def known(client: RegistryClient, host: str, options: Mapping[str, Any]) -> RegistryClient:
    """The client with the login and the plain HTTP that the registry options, or config.json, ask for.

    A login is that of the options, of $NOTATION_USERNAME and $NOTATION_PASSWORD, of notation's config.json, or the one
    that containers' own files hold.
    """
    from custody.registry.credentials import Credential
    from custody.sign.notary.logins import find_login
    from custody.sign.notary.signingkeys import load_configuration

    username = options["username"] or os.environ.get("NOTATION_USERNAME", "")
    password = options["password"] or os.environ.get("NOTATION_PASSWORD", "")
    place = directory()

    def find(registry: str, repository: str, ask: Ask) -> Credential | None:
        if registry != host:
            return find_login(place, registry, repository, ask)
        if password:  # without a name it is a token that is exchanged for others, as for oras
            return Credential(username, password) if username else Credential(identity_token=password)
        return find_login(place, registry, repository, ask)

    plain = options["insecure_registry"] or host in load_configuration(place).insecure_registries
    return client.knowing(find, plain_http=[host] if plain else [])
