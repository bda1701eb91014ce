"""Runs one command: global flags, lazy loading, and errors turned into messages and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from custody.cli import deadline, peers, translation
from custody.cli.groups import Group
from custody.cli.streams import Words
from custody.cli.table import COMMANDS, NETWORK, SERVICES, help_text
from custody.errors import CustodyError, UsageError, of_language
from custody.kit.visible import visible
from custody.settings import Settings, load_settings
from policylang.errors import LanguageError


def loaded(name: str) -> click.Command:
    """A command of the table, with the options that all have."""
    command = importlib.import_module(COMMANDS[name][0]).command
    if not isinstance(command, click.Command):
        raise TypeError(f"{COMMANDS[name][0]}.command is not a click command")
    _share(command, network=name in NETWORK)
    return command


class _Unread(Exception):  # noqa: N818 - it is no fault
    """Nobody reads on. click would end with 1 for an OSError that says so."""


class _Commands(click.Group):
    """Imports a command's module when it is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise click.exceptions.NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)
        return loaded(cmd_name)

    def resolve_command(self, ctx: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            _refuse_empty(name, rest)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (_Unread, BrokenPipeError):
            raise _Unread from None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        formatter.write(help_text() + "\n")


@click.group(cls=_Commands, invoke_without_command=False, add_help_option=True,
             context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--offline", is_flag=True, default=None, help="Open no socket.")
@click.option("--config", "config", type=click.Path(path_type=Path, dir_okay=False), help="Settings (custody.toml).")
@click.option("-q", "--quiet", is_flag=True, help="Of what standard error gets, only warnings and errors.")
@click.option("-t", "--timeout", type=deadline.Duration(), metavar="DURATION", help="End when it is not done by then.")
@click.pass_context
def _custody(ctx: click.Context, offline: bool | None, config: Path | None, quiet: bool, timeout: float | None) -> None:
    if timeout is not None:
        if ctx.invoked_subcommand in SERVICES:
            raise UsageError(f"--timeout: {ctx.invoked_subcommand} runs until it is stopped")
        deadline.start(timeout)
    _hush(quiet)
    settings = load_settings(config)
    ctx.obj = settings if offline is None else settings.replace(offline=offline)


def _share(command: click.Command, *, network: bool) -> None:
    """Give a command, and those below it, the options that all have; -q only where that means nothing else."""
    if isinstance(command, click.Group):
        if isinstance(command, Group):
            command.share = lambda below: _share_below(below, network=network)
        for below in command.commands.values():
            _share_below(below, network=network)
        return
    taken = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    if "--quiet" not in taken:
        names = [name for name in ("-q", "--quiet") if name not in taken]
        command.params.append(click.Option(names, is_flag=True, expose_value=False, is_eager=True,
                                           callback=lambda _ctx, _param, value: _hush(value),
                                           help="Of what standard error gets, only warnings and errors."))
    if network and "--timeout" not in taken:
        command.params.append(deadline.option(taken))


def _share_below(command: click.Command, *, network: bool) -> None:
    command.short_help = command.short_help or _sentence(command.help or "")  # click would cut it at the line's end
    _share(command, network=network)


def _sentence(text: str) -> str:
    """The first one, as a list of commands has it."""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def _hush(quiet: bool) -> None:
    if quiet and isinstance(sys.stderr, Words):
        sys.stderr.quiet = True


def _refuse_empty(name: str, arguments: list[str]) -> None:
    """Raises UsageError for a value that is empty: a path would be the working directory, an option its default.

    Expressions may be empty, and say so themselves.
    """
    if name in ("cel", "rego") or (name == "policy" and arguments[:1] == ["jp"]):
        return
    before = name
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            raise UsageError(f"{name}: got '' {f'for {option}' if argument else f'after {before}'}, expected a value",
                             hint="is a variable of the shell not set?")
        before = argument


def settings() -> Settings:
    """The settings of the running command."""
    current = click.get_current_context().obj
    if not isinstance(current, Settings):
        raise TypeError("no settings: the command was not started through custody.cli.run")
    return current


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as an error does: half a backup, keys in a temporary file and build steps are
    cleared away. Services have a handler of their own."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                before[number] = signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(arguments: list[str], **extra: Any) -> int:
    """Exit code of one command line; prints `error:` and `hint:` lines to stderr."""
    try:
        with _ended_by_signals():
            result = _custody.main(arguments, prog_name="custody", standalone_mode=False, **extra)
        sys.stdout.flush()
    except deadline.Late as late:
        _complain(late.error.message, late.error.hint)
        return late.error.exit_code
    except (CustodyError, LanguageError) as error:
        raised = of_language(error) if isinstance(error, LanguageError) else error
        _complain(raised.message, raised.hint)
        return raised.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        _complain("interrupted", None)
        return 130
    except KeyboardInterrupt:
        _complain("interrupted", None)
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.UsageError as error:
        _complain(*_refusal(error, arguments))
        return 2
    except click.ClickException as error:
        _complain(error.format_message(), None)
        return error.exit_code
    except (_Unread, BrokenPipeError):
        _give_up_output()
        sys.stderr.close()
        return 141
    except OSError as error:  # no permission, no space
        _complain(": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))), None)
        _give_up_output()
        return 1
    except Exception as error:  # the last net: what is nobody's word for it
        if os.environ.get("CUSTODY_TRACEBACK"):
            raise
        import traceback
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _complain(f"internal error: {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})",
                  "this is a fault of custody: CUSTODY_TRACEBACK=1 shows where; please report it (SECURITY.md, "
                  "CONTRIBUTING.md)")
        return 1
    finally:
        deadline.stop()
    return result if isinstance(result, int) else 0


def _refusal(error: click.UsageError, arguments: list[str]) -> tuple[str, str]:
    """Message and hint: what does the same here, where another program has what was typed."""
    path = error.ctx.command_path if error.ctx else _command(arguments)
    elsewhere: str | None = None
    if isinstance(error, click.NoSuchOption):
        name = path.removeprefix("custody").strip()
        elsewhere = peers.flag(name, error.option_name)
        if elsewhere and name in ("scan", "sbom list") and (typed := translation.line(arguments)):
            elsewhere += f"; here: {typed}"
    elif isinstance(error, click.exceptions.NoSuchCommand) or "extra argument" in error.message:
        elsewhere = peers.command([word for word in arguments if not word.startswith("-")]) or translation.line(
            arguments)
    return (error.message, elsewhere) if elsewhere else (error.format_message(), f"{path} --help")


def _command(arguments: list[str]) -> str:
    """The command that was called, where click's parser does not say: `custody policy migrate`."""
    names = ["custody"]
    command: click.Command | None = _custody
    for word in arguments:
        if isinstance(command, _Commands):
            command = loaded(word) if word in COMMANDS else command
        elif isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
        else:
            break
        if command is None:
            break
        if command is not _custody:
            names.append(word)
    return " ".join(names)


def _give_up_output() -> None:
    """What standard output could not take is not tried once more at the end, where Python would complain by itself."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, hint: str | None) -> None:
    print(f"error: {_indented(message)}", file=sys.stderr)
    if hint:
        print(f"\nhint: {_indented(hint)}", file=sys.stderr)


def _indented(text: str) -> str:
    """Some list several reasons, a line each; none of them begins as another error or hint would."""
    first, *rest = visible(text, "\n\t", starts_line=False).split("\n")
    return "\n".join([first, *(line if not line or line[0] in " \t" else f"  {line}" for line in rest)])
