"""Exceptions in the language of rules, proposed for one event: as narrow as the fields that are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import UsageError
from custody.formats import yaml
from custody.formats.telemetry.event import Fields
from policylang.falco import Rule
from policylang.falco.values import fields as known
from policylang.falco.values.fields import Shape, Type

DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "syscall": ("container.image.repository", "k8s.ns.name", "proc.name", "proc.pname", "fd.name"),
    "k8s_audit": ("ka.user.name", "ka.verb", "ka.target.namespace", "ka.target.resource", "ka.target.name"),
    "aws_cloudtrail": ("ct.user", "ct.name", "ct.region", "ct.user.accountid"),
    "gcp_auditlog": ("gcp.user", "gcp.methodName", "gcp.projectId"),
    "github": ("github.repo", "github.user", "github.type", "github.action"),
    "okta": ("okta.actor.alternateid", "okta.evt.type", "okta.client.ip"),
}
"""By source: who did what where; of these the event has some."""
_PLAIN = re.compile(r"[A-Za-z0-9_./:@-]+")
_UNFIT = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1024


class Proposal(NamedTuple):
    rule: str
    name: str
    fields: tuple[str, ...]
    values: tuple[str, ...]
    """As they are in the event."""
    lists: frozenset[str]
    """Names that stand for others where they are no quoted text."""

    @property
    def text(self) -> str:
        """A rule file that is loaded after the rule's."""
        return yaml.dumped([{
            "rule": self.rule, "exceptions": [{
                "name": self.name, "fields": [*self.fields], "comps": ["="] * len(self.fields),
                "values": [[_quoted(value, self.lists) for value in self.values]]}],
            "override": {"exceptions": "append"}}])


def propose(rule: Rule, event: Fields, names: Sequence[str] = (), lists: Iterable[str] = ()) -> Proposal:
    """An exception for events that have the same values of `names`, or of those that are usual for its source.

    `lists` are the names of the lists of the rule's files.

    Raises UsageError where the event lacks one that is named, or has none of the usual.
    """
    chosen: dict[str, str] = {}
    for name in names or DEFAULTS.get(rule.source, ()):
        value = _value(rule.source, name, event.get(name), named=bool(names))
        if value is not None:
            chosen[name] = value
    if not chosen:
        raise UsageError(f"{rule.name}: the event has none of {', '.join(DEFAULTS.get(rule.source, ()))}",
                         hint="--field NAME, of what the event has")
    label = "_".join(["custody", *(re.sub(r"[^a-z0-9]+", "_", name.lower()) for name in chosen)])
    return Proposal(rule.name, label, tuple(chosen), tuple(chosen.values()), frozenset(lists))


def _value(source: str, name: str, value: Any, *, named: bool) -> str | None:
    stem, bracket, argument = name.partition("[")
    info = known.lookup(source, stem, argument.removesuffix("]") if bracket else None)
    if info is None:
        raise UsageError(f"--field: {name} is no field of {source}")
    if info.shape is not Shape.ONE or info.type in (Type.BYTES, Type.NETWORK, Type.DYNAMIC):
        raise UsageError(f"--field: {name} has several values, or none that = compares")
    if value is None:
        if named:
            raise UsageError(f"--field: the event does not tell {name}",
                             hint="an exception for events without it would be for nearly all")
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text or _UNFIT.search(text) or len(text) > _LONGEST:
        if named:
            raise UsageError(f"--field: the event's {name} cannot be written in a condition")
        return None
    return text


def _quoted(value: str, lists: frozenset[str]) -> str:
    """Exceptions become text of the condition: what is more than one word there brings its own quotes."""
    if _PLAIN.fullmatch(value) and value not in lists:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
