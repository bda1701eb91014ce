"""Files of responses, in the form of Falco Talon's rules.yaml (falco-talon internal/rules/rules.go, docs/rules).

A file is a list: an item with `action` is an action that rules refer to by that name, an item with `rule` a rule. What
is not done here is refused by its name: nothing that a file asks for is left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats import yaml
from custody.formats.fields import Fields
from policylang.falco.output import PRIORITIES

MOST = 1000
Comparator = Literal["=", "!="]
_PRIORITY = re.compile(r"(<=|>=|<|>|=)?\s*([A-Za-z]+)")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_.\[\]/-]*?)\s*(!=|=)\s*(.*)", re.DOTALL)
_UNDONE = {
    "kubernetes:networkpolicy": "NetworkPolicies add up, so one more cuts nothing that another allows; "
                                "`actionner: custody:quarantine` isolates",
    "calico:networkpolicy": "`actionner: custody:quarantine` with `method: calico` isolates",
    "cilium:networkpolicy": "`actionner: custody:quarantine` with `method: cilium` isolates",
}
_ELSEWHERE = ("kubernetes:delete", "kubernetes:download", "kubernetes:drain", "kubernetes:exec", "kubernetes:log",
              "kubernetes:script", "kubernetes:sysdig", "kubernetes:tcpdump", "aws:lambda", "gcp:function")


class Priority(NamedTuple):
    comparator: str
    level: int
    """As in Falco: 0 is Emergency, 7 Debug."""


class FieldTest(NamedTuple):
    name: str
    comparator: Comparator
    value: str


class Match(NamedTuple):
    """All that is given must hold; of `tags` and `output_fields` one line, of which all must hold."""

    rules: tuple[str, ...]
    priority: Priority | None
    source: str
    tags: tuple[tuple[str, ...], ...]
    output_fields: tuple[tuple[FieldTest, ...], ...]


class Action(NamedTuple):
    name: str
    actionner: str
    parameters: Mapping[str, Any]
    proceed: bool
    """Whether the rule's next action is done after it."""
    ignore_errors: bool
    """Whether that is so where it failed."""


class ResponseRule(NamedTuple):
    name: str
    match: Match
    actions: tuple[Action, ...]
    proceed: bool
    """Whether rules after this one are asked."""
    dry_run: bool | None
    """None where it does not say."""
    place: str


class _Given(NamedTuple):
    fields: Fields
    actionner: str | None
    parameters: dict[str, Any]
    proceed: bool | None
    ignore_errors: bool | None


def read(data: bytes, where: str) -> list[ResponseRule]:
    """Raises MalformedError, and UnsupportedError for what is not done."""
    shared: dict[str, _Given] = {}
    rules: list[Fields] = []
    items = [item for document in yaml.documents(data, where) for item in _items(document, where)]
    if len(items) > MOST:
        raise MalformedError(where, got=f"{len(items)} items", expected=f"at most {MOST}")
    for at, item in enumerate(items):
        fields = Fields(item, f"{where}[{at}]")
        if fields.has("action"):
            name = fields.need("action", str)
            if name in shared:
                raise UnsupportedError(fields.path("action"), f"{name} is defined a second time; Talon merges the two",
                                       hint="write one definition")
            shared[name] = _given(fields)
        elif fields.has("rule"):
            rules.append(fields)
        else:
            raise fields.absent("rule", "a rule, or an action")
    if not rules:
        raise MalformedError(where, got="no rule", expected="items with `rule:`")
    read = [_rule(fields, shared) for fields in rules]
    names: set[str] = set()
    for rule in read:
        if rule.name in names:
            raise UnsupportedError(f"{rule.place}.rule", f"{rule.name} is defined a second time; Talon merges the two",
                                   hint="write one definition")
        names.add(rule.name)
    return read


def _items(document: Any, where: str) -> list[Any]:
    if not isinstance(document, list):
        raise MalformedError(where, got="no list", expected="a list of rules and actions")
    return document


def _flag(fields: Fields, name: str) -> bool | None:
    """Talon has texts here, which YAML writers also write bare."""
    value = fields.any(name)
    if value in (None, ""):
        return None
    if value in (True, False) and isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise MalformedError(fields.path(name), got=value, expected="true or false")


def _given(fields: Fields) -> _Given:
    fields.take("description", str)
    given = _Given(fields, fields.take("actionner", str), fields.take("parameters", dict) or {},
                   _flag(fields, "continue"), _flag(fields, "ignore_errors"))
    for name, reason in (("output", "outputs of actions are not written"),
                         ("additional_contexts", "no context is added")):
        if fields.has(name):
            raise UnsupportedError(fields.path(name), reason)
    fields.done()
    return given


def _rule(fields: Fields, shared: Mapping[str, _Given]) -> ResponseRule:
    name = fields.need("rule", str)
    fields.take("description", str)
    proceed, dry_run = _flag(fields, "continue"), _flag(fields, "dry_run")
    for at, notifier in enumerate(fields.texts("notifiers")):
        if notifier != "k8sevents":
            raise UnsupportedError(f"{fields.path('notifiers')}[{at}]", f"{notifier} is not notified",
                                   hint="each action is an alert with source custody: send those on by an output")
    actions = tuple(_action(action, shared) for action in fields.each("actions"))
    if not actions:
        raise fields.absent("actions", "a list of actions")
    inner = fields.inner("match")
    if inner is None:
        raise fields.absent("match", "which alerts it is for")
    match = _match(inner)
    fields.done()
    return ResponseRule(name, match, actions, proceed is not False, dry_run, fields.where)


def _action(fields: Fields, shared: Mapping[str, _Given]) -> Action:
    name = fields.need("action", str)
    own, default = _given(fields), shared.get(name)
    actionner = own.actionner or (default.actionner if default else None)
    if actionner is None:
        raise MalformedError(fields.path("actionner"), got="nothing", expected="what is done, such as kubernetes:label")
    if actionner in _UNDONE:
        raise UnsupportedError(fields.path("actionner"), f"{actionner} is not done: {_UNDONE[actionner]}")
    if actionner in _ELSEWHERE:
        raise UnsupportedError(fields.path("actionner"), f"{actionner} is not done by custody")
    parameters = {**(default.parameters if default else {}), **own.parameters}

    def either(flag: str, otherwise: bool) -> bool:
        for given in (own, default):
            if given is not None and (value := getattr(given, flag)) is not None:
                return bool(value)
        return otherwise

    return Action(name, actionner, parameters, either("proceed", True), either("ignore_errors", False))


def _match(fields: Fields) -> Match:
    rules, source = tuple(fields.texts("rules")), fields.take("source", str) or ""
    priority = _priority(fields.take("priority", str) or "", fields.path("priority"))
    tags = tuple(tuple(tag.strip() for tag in line.split(",")) for line in fields.texts("tags"))
    tests = tuple(_tests(line, f"{fields.path('output_fields')}[{at}]")
                  for at, line in enumerate(fields.texts("output_fields")))
    fields.done()
    if not (rules or source or priority or tags or tests):
        raise MalformedError(fields.where, got="nothing", expected="something to match: a response is for some alerts")
    if any(not tag for line in tags for tag in line):
        raise MalformedError(fields.path("tags"), got="an empty tag", expected="tags with commas between them")
    return Match(rules, priority, source, tags, tests)


def _priority(text: str, where: str) -> Priority | None:
    if not text:
        return None
    match = _PRIORITY.fullmatch(text.strip())
    levels = {name.lower(): level for level, name in enumerate(PRIORITIES)} | {"info": 6}
    if match is None or match[2].lower() not in levels:
        raise MalformedError(where, got=text, expected=f"one of {', '.join(PRIORITIES)}, after <, <=, > or >=")
    return Priority(match[1] or "=", levels[match[2].lower()])


def _tests(line: str, where: str) -> tuple[FieldTest, ...]:
    tests = []
    for part in line.split(","):
        match = _FIELD.fullmatch(part.strip())
        if match is None:
            raise MalformedError(where, got=part, expected="field=value or field!=value, with commas between them")
        comparator: Comparator = "!=" if match[2] == "!=" else "="
        tests.append(FieldTest(match[1], comparator, match[3].strip().replace('"', "")))
    return tuple(tests)
