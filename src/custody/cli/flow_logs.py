"""Flow logs on the command line: the options that commands over them share, and what was not read, for people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from custody.cli.bars import progress
from custody.cli.moments import Moment
from custody.errors import UsageError
from custody.formats.flows.recognition import FORMATS
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.network.ends import Ends
from custody.network.observed import Observed
from custody.services.flowfiles import observe

C = TypeVar("C", bound=Callable[..., Any])
_SEPARATORS = re.compile(r"[,${}\s]+")
_SKEW = 300
_SHOWN = 10


def options(command: C) -> C:
    """`--format`, `--fields`, `--pod-cidr`, `--since`: keyword arguments of the command, for `read`."""
    for option in reversed((
            click.option("--format", "form", type=click.Choice(FORMATS),
                         help="Of all the flow logs. Default: each file's, by its content."),
            click.option("--fields", metavar="NAMES", default="",
                         help="Fields of a custom format of AWS whose files have no header, in their order."),
            click.option("--pod-cidr", "pod_blocks", multiple=True, metavar="CIDR",
                         help="Addresses that only pods have; repeatable. A private address beside them is outside; "
                              "without it, one that nobody is known to have is unknown."),
            click.option("--since", type=Moment(), metavar="TIME", help="Leave out flows that ended before: 7d, "
                         "2026-11-29, 2026-11-29T08:00:00Z."))):
        command = option(command)
    return command


def read(flows: Sequence[str], ends: Ends, form: str | None, fields: str, since: datetime | None,
         until: datetime | None = None) -> Observed:
    """All the logs, with a bar of bytes for people. Raises as services.flowfiles.observe does."""
    if flows.count("-") > 1:
        raise UsageError("-: got standard input twice, expected once")
    observed = Observed(ends, since=int(since.timestamp()) if since else 0,
                        until=int(until.timestamp()) if until else 0)
    sizes = [os.path.getsize(name) for name in flows if name != "-" and os.path.isfile(name)]
    with progress("Reading flows", sum(sizes) if len(sizes) == len(flows) else None) as advance:
        observe(flows, observed, form or "", tuple(_SEPARATORS.sub(" ", fields).split()), advance)
    return observed


def tell(observed: Observed) -> None:
    """On standard error: what was read, and all that was not."""
    span = f", {moment(observed.first)} to {moment(observed.last)}" if observed.last else ", without times"
    _say(f"{amount(observed.lines, 'line')}, {amount(observed.flows, 'flow')}{span}: "
         f"{amount(len(observed.connections), 'connection')}")
    for reason, count in sorted(observed.passed.items(), key=lambda item: (-item[1], item[0])):
        _say(f"{amount(count, 'line')}: {reason}")
    if observed.guessed:
        _say(f"{amount(observed.guessed, 'flow')}: who began it is concluded from the ports")
    for count, words in ((observed.early, "before --since, left out"),
                         (observed.timeless, "without a time, left out"),
                         (observed.over, f"of connections beyond the {len(observed.connections)} that are kept, not "
                                         "judged")):
        if count:
            _say(f"warning: {amount(count, 'flow')} {words}")
    if observed.silent:
        _say("warning: no connection is seen to be answered: a log of beginnings alone, such as conntrack -E -e NEW, "
             "does not tell which worked")
    if observed.lost:
        _say(f"warning: the recorders say that they lost {amount(observed.lost, 'event')}: what was in them is not "
             "judged")
    if observed.last > system_clock().timestamp() + _SKEW:
        _say(f"warning: the last flow is of {moment(observed.last)}, which is to come: a recorder's clock is wrong")
    if observed.unread_count:
        _say(f"warning: {amount(observed.unread_count, 'line')} could not be read")
        for where, reason in observed.unread[:_SHOWN]:
            _say(f"  {where}: {reason}")
        if observed.unread_count > _SHOWN:
            _say(f"  and {observed.unread_count - _SHOWN} more")


def counts(observed: Observed) -> dict[str, Any]:
    """The same, for programs."""
    return {"lines": observed.lines, "flows": observed.flows, "passed": dict(sorted(observed.passed.items())),
            "unread": observed.unread_count, "firstUnread": [{"where": where, "reason": reason}
                                                             for where, reason in observed.unread],
            "lost": observed.lost, "beforeSince": observed.early, "withoutTime": observed.timeless,
            "beyondLimit": observed.over, "guessedDirection": observed.guessed,
            "firstSeen": moment(observed.first), "lastSeen": moment(observed.last)}


def moment(seconds: int) -> str:
    """RFC 3339; empty where it is not known."""
    from datetime import UTC

    try:
        return format_rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds else ""
    except (ValueError, OverflowError):
        return ""


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr)
