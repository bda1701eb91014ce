"""`custody runtime watch`: events of many sources by Falco's rules, and their alerts."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from custody.cli.run import settings
from custody.errors import NotJudgedError, UsageError
from custody.formats.telemetry.inputs import FORMATS
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.services.watchspec import PRIORITIES, SOURCES, Watched
from custody.settings.tables import Runtime

if TYPE_CHECKING:
    from custody.server.watchrun import WatchRun


class _Form(click.Choice[str]):
    """Of alerts. Elsewhere -o has files too, and Falco's has settings."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name, equals, setting = str(value).partition("=")
        if equals and name == "json_output":
            raise UsageError(f"-o: got {value!r}, expected json or text",
                             hint=f"-o {'json' if setting.lower() in ('true', '1') else 'text'}")
        if equals:
            raise UsageError(f"-o: got {value!r}, expected json or text", hint="settings are those of [runtime] in "
                             "custody.toml; --output says where alerts go")
        if value not in self.choices:
            raise UsageError(f"-o: got {value!r}, expected json or text", hint=f"--output {value} writes to a file")
        return super().convert(value, param, ctx)


class _Priority(click.Choice[str]):
    """In rules it is INFORMATIONAL as well as INFO."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("info" if str(value).lower() == "informational" else value, param, ctx)


@click.command("watch")
@click.option("--rules", multiple=True, metavar="FILE|FOLDER", help="Falco rules; repeatable, later ones over earlier "
              "ones. Read again when they change. Default for all options: [runtime] in custody.toml.")
@click.option("--input", "inputs", multiple=True, metavar="FORMAT:PLACE",
              help=f"What is read; FORMAT is one of {', '.join(FORMATS)}. PLACE is a file, which is followed, a folder "
                   "of CloudTrail's files, unix:PATH for a socket to listen on, or - for standard input. Repeatable.")
@click.option("--sensor", "sensors", multiple=True, metavar="NAME",
              help="What this machine's kernel tells; repeatable.")
@click.option("--containers", multiple=True, metavar="FILE", help="Which images and pods containers are of, as `crictl "
              "ps -o json` prints it; read again when it changes. Beside the cluster, and what runtimes keep on disk.")
@click.option("--output", "outputs", multiple=True, metavar="OUTPUT",
              help="Where alerts go: stdout (default), a FILE, https://… (one POST each, as falcosidekick takes it), "
                   "syslog, syslog:udp://HOST:PORT or syslog:tcp://HOST:PORT. Repeatable.")
@click.option("-o", "output_format", type=_Form(("json", "text")), help="Falco's JSON (default), or its text.")
@click.option("--priority", type=_Priority(PRIORITIES, case_sensitive=False),
              help="The lowest priority that is told; default: debug.")
@click.option("--match", type=click.Choice(("first", "all")),
              help="Of the rules that are true of an event, the first (default, as Falco) or all.")
@click.option("--source", "sources", multiple=True, type=click.Choice(SOURCES), help="Whose rules are asked; "
              "default: all.")
@click.option("--fold-after", type=click.IntRange(0), metavar="NUMBER", help="Alerts that are alike and told within "
              "a window; the others are told as a number. Default: 10; 0: all are told.")
@click.option("--fold-window", type=click.FloatRange(0, 86400, min_open=True), metavar="SECONDS",
              help="Default: 60.")
@click.option("--rule-key", "rule_keys", multiple=True, metavar="FILE", help="Public key of whoever may sign rules of "
              "a registry (--rules oci://…).")
@click.option("--suppressions", multiple=True, metavar="FILE", help="Alerts that somebody has explained, until when.")
@click.option("--show-suppressed", is_flag=True, default=None, help="Tell alerts that are suppressed too.")
@click.option("--responses", multiple=True, metavar="FILE", help="What is done about alerts, in Falco Talon's form. "
              "The API server judges it and keeps none, without --respond.")
@click.option("--respond", is_flag=True, default=None, help="Do what --responses say, within limits.")
@click.option("--stalled-after", type=click.FloatRange(0), metavar="SECONDS",
              help="Say that an input is stalled when nothing came for so long; default: never.")
@click.option("--drift", is_flag=True, default=None, help="Hold what containers execute against their images, tell of "
              "package managers and of connections outside of baselines, and with each alert whose image it is.")
@click.option("--opened", is_flag=True, default=None, help="With --drift: note which files are opened, for `custody "
              "runtime attest`.")
@click.option("--volumes", is_flag=True, default=None, help="With --drift: tell also of what is executed on volumes.")
@click.option("--learn", type=click.FloatRange(0, 31536000), metavar="SECONDS", help="With --drift: for how long the "
              "connections of a new digest are learned; default: a day.")
@click.option("--once", is_flag=True, help="Read what is there, from where the last run ended, and end.")
@click.option("--again", is_flag=True, help="Read files from their beginning, whatever was read before.")
def command(once: bool, again: bool, **given: Any) -> None:
    """Judge events by Falco's rules, and tell alerts.

    Files are read on from where the last run ended: an alert is neither lost nor doubled in an output file, also
    where the process was killed. Standard output, syslog and HTTP may have the alerts of the last moment twice, with
    the same uuid.
    """
    stated = settings().runtime or Runtime()
    changes: dict[str, Any] = {name: [*value] if isinstance(value, tuple) else value for name, value in given.items()
                               if value is not None and value != ()}
    if "priority" in changes:
        changes["priority"] = changes["priority"].lower()
    stated = msgspec.structs.replace(stated, **changes)
    watched = Watched.of(stated, changes)
    for flag in ("opened", "volumes", "learn"):
        if given[flag] is not None and not stated.drift:
            raise UsageError(f"--{flag}: is of --drift")
    if not watched.rules and not stated.drift:
        raise UsageError("--rules: got none", hint="a Falco rule file, or `rules` of [runtime] in custody.toml")
    if not watched.inputs and not watched.sensors:
        raise UsageError("--input: got none", hint="--input tetragon:FILE, audit:FILE, …, or --sensor NAME")
    if once and watched.sensors:
        raise UsageError("--once: a sensor tells what happens now, and has no end")
    import uvloop

    uvloop.run(_watch(watched, once=once, again=again))


async def _watch(watched: Watched, *, once: bool, again: bool) -> None:
    from custody.server.watchrun import watch_run

    async with watch_run(settings(), watched, _say, once=once, again=again) as run:
        if warnings := run.runtime.engine.rules.ruleset.warnings:
            _say(f"{warnings[0].place}: {warnings[0].message}" + (
                f"; and {len(warnings) - 1} more" if warnings[1:] else ""))
        try:
            await _until_done(run)
        except BrokenPipeError:
            return
    for count in run.suppressions.counts if run.suppressions is not None else ():
        print(visible(f"suppression {count.suppression.name}: {amount(count.suppressed, 'alert')} suppressed"
                      f"{f', {count.expired} told as it is over' if count.expired else ''}"), file=sys.stderr)
    counted = run.runtime.counted
    _summary(sum(counted.events.values()), sum(counted.alerts.values()), sum(counted.malformed.values()),
             sum(counted.unjudged.values()), sum(counted.lost.values()))
    if once and not sum(counted.events.values()) and any(counted.malformed.values()):
        origins = ", ".join(origin for origin, number in counted.malformed.items() if number)
        raise NotJudgedError(visible(f"{origins}: nothing in it could be read"), hint="FORMAT in --input FORMAT:PLACE "
                             "says whose events they are")


def _say(text: str) -> None:
    print(visible(f"warning: {text}"), file=sys.stderr)


def _summary(events: int, alerts: int, malformed: int, unjudged: int, lost: int) -> None:
    parts = [amount(events, "event"), amount(alerts, "alert")]
    for number, words in ((malformed, "unreadable"), (unjudged, "not judged"), (lost, "lost")):
        if number:
            parts.append(f"{number} {words}")
    print(", ".join(parts), file=sys.stderr)


async def _until_done(run: WatchRun) -> None:
    """All inputs are at their ends, something failed, or a signal came."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    pending: set[asyncio.Task[Any]] = {*run.reading, *run.beside, waiting}
    try:
        while not stopped.is_set():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            if not run.listening and not pending & {*run.reading}:
                return
    finally:
        waiting.cancel()
