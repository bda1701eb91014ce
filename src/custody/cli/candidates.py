"""What a word of a command line may become: commands, options, choices, files.

The scripts of `custody completion` call `custody` with `_CUSTODY_COMPLETE` set and the words so far. Answers are lines
`value<TAB>help`, and `file` or `dir` alone in a line for the shell's own completion of paths. Names of commands come
from the table, which imports nothing; only for the options of a command is its module imported.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from custody.cli.table import COMMANDS

if TYPE_CHECKING:
    import click

VARIABLE = "_CUSTODY_COMPLETE"
_GLOBAL = {"--offline": "Open no socket.", "--config": "Settings (custody.toml).", "--help": "Say what there is.",
           "--quiet": "Of what standard error gets, only warnings and errors.",
           "--timeout": "End when it is not done by then.", "--version": "Say which version this is."}
_TARGETS = {"oci:DIR": ("oci:",), "TARGET": ("oci:", "archive:", "sbom:")}
_WITH_VALUE = {"--config": "file", "--timeout": ""}


class Candidate(NamedTuple):
    """`value` is all of the word that stands there then; or `file`, `dir`."""

    value: str
    help: str = ""


def answer(shell: str, arguments: Sequence[str]) -> str:
    """The lines for one TAB. Nothing where there is nothing to say: a shell's prompt is no place for errors."""
    if shell == "bash":  # the line up to the cursor, and the word as bash splits it, also at = and :
        line, current = arguments
        words = _split(line)[1:]
    else:
        words, current = list(arguments), ""
    incomplete = words[-1] if words else ""
    candidates = [candidate for candidate in _candidates(words[:-1], incomplete)
                  if candidate.value in ("file", "dir") or candidate.value.startswith(incomplete)]
    before = incomplete.removesuffix(current) if shell == "bash" else ""
    return "".join(f"{value.removeprefix(before)}\t{help_text}\n" if help_text or value not in ("file", "dir")
                   else f"{value}\n" for value, help_text in candidates)


def _split(line: str) -> list[str]:
    """The words of a line that is being written: its last quotation may be open, its last word empty."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        return [*words, ""] if line[-1:].isspace() and not closing else words
    return line.split(" ")


def _candidates(words: list[str], incomplete: str) -> list[Candidate]:
    at = 0
    while at < len(words):
        if not words[at].startswith("-"):
            return _below(words[at], words[at + 1:], incomplete)
        if words[at] in _WITH_VALUE and at + 1 == len(words):
            return [Candidate(_WITH_VALUE[words[at]])] if _WITH_VALUE[words[at]] else []
        at += 2 if words[at] in _WITH_VALUE else 1
    if incomplete.startswith("-"):
        return [Candidate(name, text) for name, text in _GLOBAL.items()]
    return [Candidate(name, text) for name, (_, _, text) in COMMANDS.items()]


def _below(name: str, words: list[str], incomplete: str) -> list[Candidate]:
    """What a command takes, after `words` of its own."""
    if name not in COMMANDS:
        return []
    import click

    from custody.cli.defaultgroup import DefaultGroup
    from custody.cli.run import loaded

    command = loaded(name)
    context = click.Context(command, resilient_parsing=True)
    while isinstance(command, click.Group) and words:
        member = command.get_command(context, words[0])
        if member is not None:
            words = words[1:]
        elif isinstance(command, DefaultGroup):
            member = command.commands[command.default]
        else:
            return []
        command, context = member, click.Context(member, context, resilient_parsing=True)
    if not isinstance(command, click.Group):
        return _of_command(command, context, words, incomplete)
    candidates = []
    if not incomplete.startswith("-"):
        members = [(below, command.get_command(context, below)) for below in command.list_commands(context)]
        candidates = [Candidate(below, member.get_short_help_str(120)) for below, member in members
                      if member is not None and below.startswith(incomplete)]
    if isinstance(command, DefaultGroup):
        member = command.commands[command.default]
        candidates += _of_command(member, click.Context(member, context, resilient_parsing=True), words, incomplete)
    elif incomplete.startswith("-"):
        return _of_command(command, context, words, incomplete)
    return candidates


def _of_command(command: click.Command, context: click.Context, words: list[str], incomplete: str) -> list[Candidate]:
    import click

    options = {name: param for param in command.params if isinstance(param, click.Option) and not param.hidden
               for name in (*param.opts, *param.secondary_opts)}
    argument_count, waiting = 0, None
    ended = False  # by --
    for word in words:
        if waiting is not None:
            waiting = None
        elif ended or not word.startswith("-") or word == "-":
            argument_count += 1
        elif word == "--":
            ended = True
        elif word in options and _takes_value(options[word]):
            waiting = options[word]
    if waiting is not None:
        return _values(waiting, context, incomplete)
    name, equals, value = incomplete.partition("=")
    if equals and not ended and name in options:
        return [Candidate(chosen if chosen in ("file", "dir") else f"{name}={chosen}", help_text)
                for chosen, help_text in _values(options[name], context, value)]
    if incomplete.startswith("-") and not ended:
        shown = [Candidate(option, (param.help or "").splitlines()[0] if param.help else "")
                 for option, param in options.items() if option.startswith("--")]
        return [*shown, Candidate("--help", "Show this message and exit.")]
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    for param in arguments:
        if param.nargs < 0 or argument_count < param.nargs:
            return _values(param, context, incomplete)
        argument_count -= param.nargs
    return []


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _values(param: click.Parameter, context: click.Context, incomplete: str) -> list[Candidate]:
    metavar = str(param.make_metavar(context))
    if completions := param.shell_complete(context, incomplete):
        return [Candidate(completion.type) if completion.type in ("file", "dir")
                else Candidate(str(completion.value), completion.help or "") for completion in completions]
    if metavar in ("oci:DIR", "TARGET") and ":" not in incomplete:
        return [Candidate(prefix) for prefix in _TARGETS[metavar]] + [Candidate("file")] * (metavar == "TARGET")
    if metavar == "BOOL":
        return [Candidate("true"), Candidate("false")]
    if metavar.rstrip(".…") in ("DIR", "oci:DIR", "FOLDER"):
        return [Candidate("dir")]
    return [Candidate("file")] if any(word in metavar for word in ("FILE", "DIR", "PATH", "TARGET", "PREFIX")) else []
