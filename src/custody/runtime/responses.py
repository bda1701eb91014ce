"""What is to be done about an alert: rules in Falco Talon's form, as intents. Nothing here does anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from custody.errors import MalformedError, UnsupportedError
from custody.formats.fields import Fields
from custody.formats.talon import Action, FieldTest, Match, ResponseRule
from custody.kit.near import near
from policylang.falco import Alert
from policylang.falco.output import MISSING, PRIORITIES

Method = Literal["labels", "cluster-policy", "cilium", "calico"]
METHODS: tuple[Method, ...] = get_args(Method)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_GRACE = 3600


class Labels(NamedTuple):
    """Of the pod, or of its node. None removes one."""

    values: Mapping[str, str | None]
    level: Literal["pod", "node"] = "pod"


class Annotations(NamedTuple):
    values: Mapping[str, str | None]


class Quarantine(NamedTuple):
    method: Method = "labels"


class Terminate(NamedTuple):
    """Deletes the pod. `grace` is seconds, None the pod's own."""

    grace: int | None = None
    allow_bare: bool = False
    """Also a pod that nothing brings back."""
    spare_daemon_sets: bool = False
    spare_stateful_sets: bool = False


class Cordon(NamedTuple):
    """No more pods on the pod's node."""


Deed = Labels | Annotations | Quarantine | Terminate | Cordon


class Intent(NamedTuple):
    """One action of one rule."""

    rule: str
    action: str
    actionner: str
    deed: Deed
    dry_run: bool
    """The rule says that it is only to be told."""
    proceed: bool
    ignore_errors: bool


class _Ready(NamedTuple):
    rule: ResponseRule
    intents: tuple[Intent, ...]


class Responses:
    """Rules whose actions are known. Raises UnsupportedError, MalformedError for one that is not."""

    def __init__(self, rules: Sequence[ResponseRule]) -> None:
        self.rules = rules
        self._ready = [_Ready(rule, tuple(_intents(rule))) for rule in rules]

    def intents(self, rule: str) -> tuple[Intent, ...]:
        """Of the rule of this name."""
        return next((intents for known, intents in self._ready if known.name == rule), ())

    def of(self, alert: Alert) -> list[list[Intent]]:
        """Of each rule that matches, in order, its actions; a rule with `continue: false` is the last."""
        chosen = []
        for rule, intents in self._ready:
            if matches(rule.match, alert):
                chosen.append(list(intents))
                if not rule.proceed:
                    break
        return chosen


def matches(match: Match, alert: Alert) -> bool:
    """As Talon matches, but that a field which an alert does not tell is neither equal nor unequal to anything."""
    if match.rules and alert.rule not in match.rules:
        return False
    if match.source and match.source != alert.source:
        return False
    if match.priority is not None:
        level = PRIORITIES.index(alert.priority)
        # Talon's order is of importance: > is more important, and 0 is Emergency.
        compared = {">": level < match.priority.level, ">=": level <= match.priority.level,
                    "<": level > match.priority.level, "<=": level >= match.priority.level}
        if not compared.get(match.priority.comparator, level == match.priority.level):
            return False
    if match.tags and not any(set(line) <= set(alert.tags) for line in match.tags):
        return False
    return not match.output_fields or any(
        all(_holds(test, alert.output_fields) for test in line) for line in match.output_fields)


def _holds(test: FieldTest, told: Mapping[str, Any]) -> bool:
    value = told.get(test.name)
    if value is None or value == MISSING:
        return False
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return (shown == test.value) is (test.comparator == "=")


def _intents(rule: ResponseRule) -> Iterator[Intent]:
    for at, action in enumerate(rule.actions):
        make = _DEEDS.get(action.actionner)
        where = f"{rule.place}.actions[{at}]"
        if make is None:
            raise UnsupportedError(f"{where}.actionner", f"{action.actionner} is not done by custody",
                                   hint=near(action.actionner, _DEEDS, f"there are {', '.join(_DEEDS)}"))
        fields = Fields(dict(action.parameters), f"{where}.parameters")
        deed = make(fields, action)
        fields.done()
        yield Intent(rule.name, action.name, action.actionner, deed, rule.dry_run is True, action.proceed,
                     action.ignore_errors)


def _labels(fields: Fields, _: Action) -> Deed:
    level = fields.take("level", str) or "pod"
    values = _texts(fields, "labels", _label)
    if level == "node":
        return Labels(values, "node")
    if level != "pod":
        raise MalformedError(fields.path("level"), got=level, expected="pod or node")
    return Labels(values)


def _annotations(fields: Fields, _: Action) -> Deed:
    return Annotations(_texts(fields, "annotations", _annotation))


def _quarantine(fields: Fields, _: Action) -> Deed:
    named = fields.take("method", str) or "labels"
    method = next((method for method in METHODS if method == named), None)
    if method is None:
        raise MalformedError(fields.path("method"), got=named, expected=", ".join(METHODS))
    return Quarantine(method)


def _terminate(fields: Fields, _: Action) -> Deed:
    grace = fields.take("grace_period_seconds", int)
    if grace is not None and not 0 <= grace <= _LONGEST_GRACE:
        raise MalformedError(fields.path("grace_period_seconds"), got=grace, expected=f"0 to {_LONGEST_GRACE}")
    if fields.has("min_healthy_replicas"):
        raise UnsupportedError(fields.path("min_healthy_replicas"), "healthy replicas are not counted",
                               hint="a PodDisruptionBudget is for evictions; limits per workload hold here")
    standalone, bare = fields.take("ignore_standalone_pods", bool), fields.take("allow_bare", bool)
    if standalone is not None and bare is not None and standalone is bare:
        raise MalformedError(fields.path("allow_bare"), got=bare, expected="what ignore_standalone_pods says")
    return Terminate(grace, bool(bare) or standalone is False, bool(fields.take("ignore_daemonsets", bool)),
                     bool(fields.take("ignore_statefulsets", bool)))


def _cordon(_: Fields, __: Action) -> Deed:
    return Cordon()


_DEEDS = {"kubernetes:label": _labels, "kubernetes:annotation": _annotations, "kubernetes:terminate": _terminate,
          "kubernetes:cordon": _cordon, "custody:quarantine": _quarantine}
ACTIONNERS = tuple(_DEEDS)


def _texts(fields: Fields, name: str, check: Any) -> dict[str, str | None]:
    given = fields.take(name, dict) or {}
    if not given:
        raise fields.absent(name, "names with values; an empty value removes one")
    values: dict[str, str | None] = {}
    for key, value in given.items():
        if not _key(key):
            raise MalformedError(f"{fields.path(name)}.{key}", got=key, expected="a name that Kubernetes takes")
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else value
        if isinstance(text, int):
            text = str(text)
        if not isinstance(text, str) or not check(text):
            raise MalformedError(f"{fields.path(name)}.{key}", got=value, expected="a value that Kubernetes takes")
        values[key] = text or None
    return values


def _key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return bool(_NAME.fullmatch(name)) and (not slash or bool(_PREFIX.fullmatch(prefix)))


def _label(text: str) -> bool:
    return not text or _NAME.fullmatch(text) is not None


def _annotation(text: str) -> bool:
    return len(text) <= 1 << 16
