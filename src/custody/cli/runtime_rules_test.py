"""`custody runtime rules test`: rules asked of recorded events before they run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from custody.cli.contents import columns
from custody.cli.rulefiles import match_option, read, ruleset
from custody.cli.suppressing import suppressions_option
from custody.errors import DeniedError, StorageError, UsageError
from custody.formats import falcotests, junit
from custody.kit.amount import amount
from custody.kit.visible import inert, visible
from custody.runtime.ruletrial import Comparison, Difference, Trial, unmet
from custody.runtime.suppressions import Suppressions
from custody.services.recordings import Recordings
from policylang.falco import Alert, RuleSet

Match = Literal["first", "all"]
_SHOWN = 5
_STEPS = 3


@click.command("test")
@click.argument("paths", nargs=-1, metavar="[FILE|DIR…]", type=click.Path(exists=True, path_type=Path))
@click.option("--events", "recordings", multiple=True, metavar="RECORDING",
              type=click.Path(exists=True, path_type=Path), help="Recorded events, as lines or documents of Tetragon, "
              "Tracee, audit logs, CloudTrail, Google Cloud, GitHub, Okta, Falco's alerts or fields.")
@click.option("--expect", "tests", multiple=True, metavar="FILE", type=click.Path(exists=True, path_type=Path),
              help="Tests: events and the alerts that are expected of them. Exit 3 where one fails.")
@click.option("--old", multiple=True, metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path),
              help="The rules that run today: which alerts would appear, and which vanish.")
@match_option
@suppressions_option
@click.option("--show-suppressed", is_flag=True, help="Each alert that is suppressed, and by what.")
@click.option("--explain", is_flag=True, help="All comparisons that decided, of the first alert of each rule.")
@click.option("--fail-on", type=click.Choice(["appear", "vanish", "any"]), help="With --old: exit 3 where alerts do.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True,
              help="What stdout gets; junit of --expect.")
def command(paths: tuple[Path, ...], recordings: tuple[Path, ...], tests: tuple[Path, ...], old: tuple[Path, ...],
            match: Match, suppressions: Suppressions | None, show_suppressed: bool, explain: bool, fail_on: str | None,
            output: str) -> int:
    """Ask rules of recorded events: what each would alert of, and which comparison decided.

    Rules that no event was asked of are counted apart: of these nothing is said.
    """
    if not recordings and not tests:
        raise UsageError("nothing to ask rules of", hint="--events RECORDING, or --expect TESTS")
    if output == "junit" and (recordings or not tests):
        raise UsageError("-o junit: it is of --expect, and of no --events")
    if fail_on and not old:
        raise UsageError("--fail-on: it is for --old")
    if show_suppressed and suppressions is None:
        raise UsageError("--show-suppressed: it is for --suppressions")
    if tests:
        if recordings or old:
            raise UsageError("--expect: its tests name their events; give no --events and no --old")
        return _expected(paths, tests, output)
    if not paths:
        raise UsageError("--events: give the rule files")
    trial = Trial(ruleset(paths), match, suppressions)
    if old:
        return _compared(Comparison(Trial(ruleset(old), match), trial), recordings, fail_on, output)
    for event in read(Recordings(recordings)):
        trial(event)
    if output == "json":
        click.echo(json.dumps(_told(trial, suppressions, explain=explain), indent=2, ensure_ascii=False))
    else:
        _show(trial, suppressions, show_suppressed=show_suppressed, explain=explain)
    return 0


# --- alerts of recordings -------------------------------------------------------------------------------------------

def _show(trial: Trial, suppressions: Suppressions | None, *, show_suppressed: bool, explain: bool) -> None:
    told_too = ("SUPPRESSED",) if suppressions is not None else ()
    rows: list[tuple[str, ...]] = [("ALERTS", *told_too, "RULE", "PRIORITY", "DECIDED BY")]
    for rule in trial.ruleset.rules:
        if (count := trial.counts.get(rule.name)) is None:
            continue
        decided = " and ".join(step for step, held in _decided(trial, rule.name) if held)
        suppressed = (str(count.suppressed),) if suppressions is not None else ()
        rows.append((str(count.alerts), *suppressed, rule.name, rule.level, decided))
    if len(rows) > 1:
        click.echo(columns(rows), nl=False)
    if explain:
        for name in trial.counts:
            click.echo(visible(f"{name}:"))
            for step, held in _decided(trial, name, most=None):
                click.echo(visible(f"  {'✓' if held else '✗'} {step}"))
    for number, alert, by in trial.kept if show_suppressed else ():
        if by is not None:
            click.echo(visible(f"suppressed by {by}: event {number}: {alert.line()}"))
    if suppressions is not None:
        for counted in suppressions.counts:
            said = f"{counted.suppression.name}: suppresses {counted.suppressed}"
            if counted.expired:
                said += f"; it is over since {counted.suppression.until}, and {counted.expired} alerts are told"
            if counted.failed:
                said += f"; {counted.failed} alerts have a value that it cannot compare"
            click.echo(visible(f"{said} ({counted.suppression.reason}; {counted.suppression.owner})"))
    _conclude(trial)


def _conclude(trial: Trial) -> None:
    alerts = sum(count.alerts for count in trial.counts.values())
    enabled = sum(rule.enabled for rule in trial.ruleset.rules)
    missed = trial.not_asked()
    told = amount(alerts, "alert") if alerts else "no alerts"
    _say(f"{amount(trial.events, 'event')}, {told}; {enabled - len(missed)} of {enabled} enabled rules were asked")
    if missed:
        _say(f"not asked, as no event is of their types: {_some([rule.name for rule in missed])}")
    for number, reason in trial.failed[:_SHOWN]:
        _say(f"warning: event {number} was not judged: {reason}")
    if len(trial.failed) > _SHOWN:
        _say(f"warning: {len(trial.failed) - _SHOWN} more events were not judged")
    lacking = {name: fields for name, fields in trial.not_told().items() if name not in trial.counts}
    if lacking:
        name, fields = next(iter(lacking.items()))
        _say(f"warning: {len(lacking)} rules read fields that no event has, so that nothing is said of them: "
             f"{name} ({_some(fields)}){', …' if len(lacking) > 1 else ''}")


def _decided(trial: Trial, rule: str, most: int | None = _STEPS) -> list[tuple[str, bool]]:
    """What decided of the rule's first alert: comparisons that were true, those of the event's type last of all."""
    first = trial.counts[rule].first
    if first is None:
        return []
    _, steps = trial.steps(rule, first[1])
    made = [(step.text, step.held) for step in steps]
    if most is None:
        return made
    held = [step for step in dict.fromkeys(made) if step[1]]
    return sorted(held, key=lambda step: step[0].startswith("evt."))[:most]


def _told(trial: Trial, suppressions: Suppressions | None, *, explain: bool) -> dict[str, Any]:
    rules = [{"rule": rule.name, "alerts": count.alerts, "suppressed": count.suppressed,
              "firstEvent": count.first[0] if count.first else None,
              "decidedBy": [{"comparison": step, "held": held} for step, held in _decided(
                  trial, rule.name, None if explain else _STEPS)]}
             for rule in trial.ruleset.rules if (count := trial.counts.get(rule.name)) is not None]
    told: dict[str, Any] = {
        "events": trial.events, "rules": rules, "notAsked": [rule.name for rule in trial.not_asked()],
        "notJudged": [{"event": number, "reason": reason} for number, reason in trial.failed],
        "fieldsNotRecorded": trial.not_told(),
        "alerts": [{"event": number, **alert.json(), **({"suppressedBy": name} if name else {})}
                   for number, alert, name in trial.kept]}
    if suppressions is not None:
        told["suppressions"] = [{"name": count.suppression.name, "suppressed": count.suppressed,
                                 "expiredMatches": count.expired, "failed": count.failed}
                                for count in suppressions.counts]
    return told


# --- beside the rules that run today --------------------------------------------------------------------------------

def _compared(comparison: Comparison, recordings: Sequence[Path], fail_on: str | None, output: str) -> int:
    for event in read(Recordings(recordings)):
        comparison(event)
    differences = comparison.differences()
    appeared = sum(len(difference.appeared) for difference in differences)
    vanished = sum(len(difference.vanished) for difference in differences)
    if output == "json":
        click.echo(json.dumps([difference._asdict() for difference in differences], indent=2, ensure_ascii=False))
    elif differences:
        rows = [("TODAY", "THEN", "APPEAR", "VANISH", "RULE", "EVENTS")]
        rows += [(str(row.before), str(row.after), f"+{len(row.appeared)}", f"-{len(row.vanished)}", row.rule,
                  _numbers(row)) for row in differences]
        click.echo(columns(rows), nl=False)
    _conclude(comparison.new)
    _say(f"{appeared or 'no'} alerts would appear, {vanished or 'none'} would vanish")
    if (appeared and fail_on in ("appear", "any")) or (vanished and fail_on in ("vanish", "any")):
        raise DeniedError(f"--fail-on {fail_on}: {appeared} appear, {vanished} vanish")
    return 0


def _numbers(row: Difference) -> str:
    numbers = [f"+{number}" for number in row.appeared[:_SHOWN]] + [f"-{number}" for number in row.vanished[:_SHOWN]]
    more = len(row.appeared) + len(row.vanished) - len(numbers)
    return " ".join(numbers) + (f" … {more} more" if more else "")


# --- tests ----------------------------------------------------------------------------------------------------------

class _Result(NamedTuple):
    file: str
    name: str
    reasons: list[str]
    events: int


def _expected(paths: tuple[Path, ...], tests: Sequence[Path], output: str) -> int:
    results = [result for path in tests for result in _results(paths, path)]
    failed = [result for result in results if result.reasons]
    if output == "junit":
        suites = {result.file: [case for case in results if case.file == result.file] for result in results}
        click.echo(inert(junit.document([(file, [junit.Case(
            file, case.name, "; ".join(case.reasons) or None, f"{case.events} events") for case in cases])
            for file, cases in suites.items()])))
    elif output == "json":
        click.echo(json.dumps([{"file": result.file, "name": result.name, "passed": not result.reasons,
                                "reasons": result.reasons, "events": result.events} for result in results],
                              indent=2, ensure_ascii=False))
    else:
        for result in results:
            click.echo(visible(f"{'✗' if result.reasons else '✓'} {result.name}"))
            for reason in result.reasons:
                click.echo(visible(f"    {reason}"))
    _say(f"{len(results) - len(failed)} of {len(results)} tests passed")
    if failed:
        raise DeniedError(f"{len(failed)} test{'s' if len(failed) > 1 else ''} failed")
    return 0


def _results(paths: tuple[Path, ...], file: Path) -> list[_Result]:
    try:
        document = falcotests.read(file.read_bytes(), str(file))
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror}") from None
    named = paths or tuple(_beside(file, name) for name in document.rules)
    if not named:
        raise UsageError(f"{file}: no rules: name rule files before --expect, or in the file by `rules`")
    rules = ruleset(named)
    match: Match = "first" if document.match == "first" else "all"
    known = {rule.name for rule in rules.rules}
    results = []
    for test in document.tests:
        for name in (*(alert.rule for alert in test.alerts), *test.rules):
            if name not in known:
                raise UsageError(f"{test.place}: no rule is named {name!r}")
        results.append(_result(rules, match, file, test))
    return results


def _result(rules: RuleSet, match: Match, file: Path, test: falcotests.Test) -> _Result:
    trial, alerts = Trial(rules, match), list[Alert]()
    recordings = Recordings([_beside(file, name) for name in test.recordings])
    for event in recordings.objects(test.events, f"{test.place}.events"):
        alerts += trial(event)
    for event in recordings:
        alerts += trial(event)
    reasons = unmet(test.alerts, alerts, test.rules)
    reasons += [f"event {number} was not judged: {reason}" for number, reason in trial.failed]
    reasons += [reason for _, reason in recordings.unread]
    return _Result(str(file), test.name, reasons, trial.events)


def _beside(file: Path, name: str) -> Path:
    """Files that a test names are in its folder or below: what is tested is what lies there."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{file}: {name}: expected a path below the file's own folder")
    return file.parent / path


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _say(line: str) -> None:
    click.echo(visible(line), err=True)
