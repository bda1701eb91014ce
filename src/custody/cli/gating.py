"""Options that say what stops an image, as they are typed, and as users of Trivy and Grype type them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from custody.errors import UsageError
from custody.kit.near import near
from custody.vulns.gate import Gate
from custody.vulns.severity import Severity

_LEVELS = ("never", "low", "medium", "high", "critical")
_ALIKE = {"negligible": "low", "any": "low"}


def _level(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    level = given.strip().lower()
    level = _ALIKE.get(level, level)
    if level not in _LEVELS:
        raise UsageError(f"--fail-on: got {given!r}, expected {', '.join(_LEVELS)}",
                         hint="other conditions have options of their own: --fail-on-exploited, --fail-on-epss, "
                              "--fail-on-fixable, --fail-on-malicious, --fail-on-unknown, --fail-on-coverage")
    return level


def _completed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [level for level in _LEVELS if level.startswith(incomplete)]


def severities(_context: click.Context, _parameter: click.Parameter,
               given: tuple[str, ...]) -> frozenset[Severity] | None:
    """`HIGH,critical`, as Trivy takes it; all of them where it is given several times."""
    if not given:
        return None
    names = [name.strip().upper() for text in given for name in text.split(",")]
    if wrong := [name.lower() for name in names if name not in Severity.__members__]:
        raise UsageError(f"--severity: got {wrong[0]!r}, expected {', '.join(map(str, Severity))}",
                         hint=near(wrong[0], map(str, Severity)))
    return frozenset(Severity[name] for name in names)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Given to the command as `gate` and `exit_code`, which is None where it is custody's own."""
    @click.option("--fail-on", "threshold", callback=_level, default="never", show_default=True,
                  metavar="|".join(_LEVELS), shell_complete=_completed,
                  help="Exit 3 where a finding is at least this bad; low counts those of unknown severity too.")
    @click.option("--fail-on-unknown", is_flag=True, help="Exit 3 where nobody says how bad a finding is, too.")
    @click.option("--fail-on-exploited", "--fail-on-kev", "fail_on_exploited", is_flag=True,
                  help="Exit 3 where a finding is in CISA's catalogue of known exploited vulnerabilities; exit 4 where "
                       "that was not imported.")
    @click.option("--fail-on-epss", type=click.FloatRange(0, 1), metavar="SCORE",
                  help="Exit 3 where a finding's EPSS is at least this, 0 to 1; exit 4 where no scores were imported.")
    @click.option("--fail-on-fixable", is_flag=True, help="Exit 3 where a fixed version of a finding is known.")
    @click.option("--fail-on-malicious", is_flag=True, help="Exit 3 where a package itself is the attack.")
    @click.option("--fail-on-coverage", type=click.IntRange(1, 100), metavar="PERCENT",
                  help="Exit 3 where packages answer for less of the bytes of programs.")
    @click.option("--grace", type=click.IntRange(1, 3650), metavar="DAYS",
                  help="For --fail-on, --fail-on-fixable and --exit-code, pass over what was published later than so "
                       "many days ago, unless it is exploited or malicious.")
    @click.option("--exit-code", type=click.IntRange(0, 255), metavar="N",
                  help="Exit N where anything is listed, as Trivy does.")
    @click.option("--allow-gaps", is_flag=True,
                  help="With --fail-on…, exit 0 where something was not scanned too, instead of exit 4.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, threshold: str, fail_on_unknown: bool, fail_on_exploited: bool,
                fail_on_epss: float | None, fail_on_fixable: bool, fail_on_malicious: bool,
                fail_on_coverage: int | None, grace: int | None, exit_code: int | None, allow_gaps: bool,
                **rest: Any) -> Any:
        severity = None if threshold == "never" else Severity[threshold.upper()]
        gate = Gate(severity=severity, anything=bool(exit_code), unknown=fail_on_unknown, exploited=fail_on_exploited,
                    epss=fail_on_epss, fixable=fail_on_fixable, malicious=fail_on_malicious, grace=grace,
                    coverage=fail_on_coverage, allow_gaps=allow_gaps)
        if grace is not None and not (severity or exit_code or fail_on_fixable):
            raise UsageError("--grace: nothing that it could pass over", hint="--fail-on LEVEL --grace DAYS")
        return command(*arguments, gate=gate, exit_code=exit_code, **rest)

    return wrapped
