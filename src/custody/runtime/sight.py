"""What each input can tell: event sources, types, and fields of its events. Rules that need more are blind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from custody.errors import UsageError
from custody.formats.telemetry.inputs import FORMATS
from custody.kit.near import near
from policylang.falco import Rule
from policylang.falco.analysis import event_types, field_names, folded, never, without
from policylang.falco.values.fields import READ_AS

_ALWAYS = frozenset(("evt.num", "evt.type", "syscall.type", "evt.dir", "evt.source", "evt.rawtime", "evt.time",
                     "evt.is_async"))
_EITHER = {"fd.ip": ("fd.cip", "fd.sip"), "fd.port": ("fd.cport", "fd.sport")}
_SHOWN = 6


class Sight(NamedTuple):
    """Empty `source`: its events are judged by somebody else's rules; `any`: nobody knows. None is all."""

    input: str
    source: str
    types: frozenset[str] | None = None
    fields: frozenset[str] | None = None

    def blind(self, rule: Rule) -> str | None:
        """Why no event of this input can make the rule true; None where one may."""
        if not self.source:
            return f"{self.input} tells alerts of its own rules, which are passed on"
        if self.source == _ANY:
            return None
        if rule.source != self.source:
            return f"{self.input} tells events of {self.source}, and the rule is for {rule.source}"
        types = event_types(rule)
        if self.types is not None and types and not types & self.types:
            return f"{self.input} never tells {_some(types)}"
        if self.fields is None:
            return None
        seen = types if self.types is None else types & self.types
        condition = without(rule.condition, lambda name: not self.knows(name))
        left = folded(condition, rule.source, seen)
        if seen and all(never(part) is not None for part in left) and never(rule.condition) is None:
            unknown = sorted(name for name in field_names(rule.condition) if not self.knows(name))
            return f"{self.input} never tells {_some(unknown)}" if unknown else None
        return None

    def knows(self, field: str) -> bool:
        if self.fields is None or field in _ALWAYS:
            return True
        name = READ_AS.get(field, field)
        return name in self.fields or any(end in self.fields for end in _EITHER.get(name, ()))


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


_ANY = "any"
INPUTS: dict[str, Sight] = {name: Sight(name, _ANY if name == "fields" else form.source, form.types, form.fields)
                            for name, form in FORMATS.items()}
"""By the names that `--input` takes, beside `sensor`, which is what this machine's sensors can tell."""


def inputs(names: Iterable[str], own: Sight | None = None) -> list[Sight]:
    """Raises UsageError for a name that is none."""
    known = INPUTS | ({own.input: own} if own is not None else {})
    chosen = []
    for name in names:
        if name not in known:
            raise UsageError(f"--input: got {name!r}, expected one of {', '.join(known)}", hint=near(name, known))
        chosen.append(known[name])
    return chosen
