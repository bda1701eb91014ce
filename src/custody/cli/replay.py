"""`custody replay`: why was it denied on Tuesday? And what would these policies have said all week?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from custody.cli import decision_search, kinds
from custody.cli.check import lines
from custody.cli.decisions import line
from custody.cli.run import settings
from custody.errors import DeniedError, MalformedError, NotJudgedError, UsageError
from custody.kit.visible import visible
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from custody.policy.record import replay
from custody.ports.decisions import DecisionSearch
from custody.ports.lookup import Answer, Question
from custody.services.decisions import Ask, Replayed, Tally, reason_of, replayed
from custody.services.replaying import replayed_together
from custody.wiring import cluster_lookup
from custody.wiring.local import decisions

_SHOWN = 20
_STEP = 1.0  # seconds between two lines of progress


@click.command("replay")
@click.argument("records", nargs=-1, metavar="RECORD…")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR",
              help="Decide by these instead: what would change?")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Ask this API server what --policy asks and nobody asked then; what rests on such an answer, of the "
                   "cluster as it is now, is marked.")
@decision_search.options
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Processes that make kept decisions again; "
              "default: as many as processors. With --kubeconfig one, so that each question is asked once.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets of kept decisions; json is one object for each that changes.")
def command(records: tuple[str, ...], policies: tuple[str, ...], kubeconfig: Path | None, jobs: int | None,
            output: str, **chosen: Any) -> None:
    """Decide requests again, without a network: recorded ones, or those that the webhook kept.

    RECORD is a file of `check --record` or `explain --record`, or the folder that they were given. Exit 3 where one is
    denied, 4 where one is not judged.

    Without RECORD, with --since or another of the options that select: all that the webhook decided then, by --policy.
    Exit 3 where a request that was not denied would be, 4 where a verdict would rest on what nobody asked then.
    """
    search = decision_search.search(**chosen)
    selects = search != DecisionSearch()
    if bool(records) == selects:
        got = "records and --since or the like" if records else "no RECORD and no --since"
        raise UsageError(f"replay: got {got}, expected one of them", hint="RECORD is a file of "
                         "`check --record` or `explain --record`; --since 7d takes what the webhook kept")
    if records and kubeconfig is not None:
        raise UsageError("--kubeconfig: got records, expected --since and the like",
                         hint="a record is judged by what it holds")
    instead = kinds.load(settings(), policies, (), None) if policies else None
    if records:
        _records(records, instead)
    else:
        with _asking(kubeconfig) as ask:
            _kept(search, instead, output, ask, jobs or os.cpu_count() or 1)


@contextlib.contextmanager
def _asking(kubeconfig: Path | None) -> Iterator[Ask | None]:
    """Whom to ask; each question once, whatever number of decisions asks it."""
    lookup = None if kubeconfig is None else cluster_lookup(settings().replace(kubeconfig=str(kubeconfig)))
    if lookup is None:
        yield None
        return
    known: dict[Question, Answer] = {}
    with asyncio.Runner() as runner:
        def ask(questions: Sequence[Question]) -> Mapping[Question, Answer]:
            for question in questions:
                if question not in known:
                    known[question] = runner.run(lookup.answer(question))
            return {question: known[question] for question in questions}

        try:
            yield ask
        finally:
            runner.run(lookup.close())


def _records(records: tuple[str, ...], instead: PolicySet | None) -> None:
    verdicts: list[Verdict] = []
    for name in (file for record in records for file in _files(record)):
        try:
            decision = replay(Path(name).read_bytes(), instead)
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}") from None
        except MalformedError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from None
        click.echo("\n".join(lines(decision, name)))
        verdicts.append(decision.verdict)
    if denied := verdicts.count(Verdict.DENIED):
        raise DeniedError(f"{denied} of {len(verdicts)} denied")
    if unjudged := verdicts.count(Verdict.NOT_JUDGED):
        raise NotJudgedError(f"{unjudged} of {len(verdicts)} not judged: no rule speaks of it")


def _files(record: str) -> list[str]:
    """A file, or those of a folder that `--record` wrote. Raises UsageError."""
    if not Path(record).is_dir():
        return [record]
    if not (files := sorted(str(file) for file in Path(record).glob("*.json"))):
        raise UsageError(f"{record}: got a folder without records, expected *.json")
    return files


def _kept(search: DecisionSearch, instead: PolicySet | None, output: str, ask: Ask | None, jobs: int) -> None:
    tally, total, told = Tally(), 0, time.monotonic()
    shows = sys.stderr.isatty()
    configured = settings()
    with closing(decisions(configured)) as store:
        made = replayed(store, search, instead, ask) if ask is not None else replayed_together(
            jobs, store, partial(decisions, configured), search, instead)
        for repeated in made:
            tally.add(repeated)
            total += 1
            if output == "json" and (repeated.changed or repeated.problem):
                click.echo(json.dumps(_data(repeated)))
            if shows and time.monotonic() - told > _STEP:
                told = time.monotonic()
                print(f"\r{total} decided again", end="", file=sys.stderr, flush=True)
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr)
    if not total:
        raise NotJudgedError("no decision is kept of that", hint="`custody decisions` lists what is")
    if output == "table":
        click.echo("\n".join(_words(tally, total)))
    if tally.denied_now:
        raise DeniedError(f"{tally.denied_now} of {total} requests that were not denied would be")
    if tally.unknown:
        raise NotJudgedError(f"{len(tally.unknown)} of {total} cannot be decided again, such as "
                             f"{visible(tally.unknown[0].kept.uid)}: {tally.unknown[0].problem}")


def _words(tally: Tally, total: int) -> list[str]:
    otherwise = sum(map(len, tally.changed.values()))
    result = [f"{total} decision{'s' * (total != 1)}: {tally.same} as before, {otherwise} otherwise, "
              f"{len(tally.unknown)} not known"]
    if tally.live:
        result.append(f"{tally.live} of them by what the cluster says now, which nobody asked then (*)")
    for (before, now), replays in sorted(tally.changed.items()):
        result.append(f"{before} → {now}: {len(replays)}")
        for repeated in replays[:_SHOWN]:
            assert repeated.decision is not None
            mark = "*" if repeated.now else " "
            result.append(visible(f"{mark} {line(repeated.kept)}"))
            if reason := reason_of(repeated.decision):
                result.append(visible(f"      now {reason}"))
        if len(replays) > _SHOWN:
            result.append(f"  and {len(replays) - _SHOWN} more")
    result += [visible(f"{count:>8} newly denied by {name}") for name, count in tally.rules.items()]
    result += [visible(f"  ? {repeated.kept.uid}: {repeated.problem}") for repeated in tally.unknown[:_SHOWN]]
    return result


def _data(repeated: Replayed) -> dict[str, Any]:
    kept = repeated.kept
    return {"uid": kept.uid, "kind": kept.kind, "namespace": kept.namespace, "name": kept.name, "before": kept.verdict,
            "now": str(repeated.decision.verdict) if repeated.decision is not None else None,
            "reason": reason_of(repeated.decision) if repeated.decision is not None else "",
            "problem": repeated.problem, **({"asked": list(repeated.now)} if repeated.now else {})}
