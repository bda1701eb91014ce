"""CleanupPolicy and ClusterCleanupPolicy as DeletingPolicies: the same objects are deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.kyverno.cleanup import KINDS, VERSIONS
from custody.policy.load import PolicySet
from custody.policy.migrate import conditions
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.contexts import context
from custody.policy.migrate.effects import Effects, outcome
from custody.policy.migrate.equivalence import requests
from custody.policy.migrate.expressions import TRUE, every, literal, some
from custody.policy.migrate.heading import policy
from custody.policy.migrate.matching import Matched, matched
from custody.policy.migrate.mutating import certain, home, sharing, typed
from custody.policy.migrate.outcome import Migrated, behind
from custody.policy.migrate.queries import Names, element_names, query
from custody.policy.migrate.shaping import shaped
from custody.policy.model import Request
from custody.policy.phases import Course
from policylang.go.durations import parse as duration

_JUDGED = ("CREATE",)  # what lies in a cluster is matched as what is created
_NAME = "(request.name != '' ? request.name : object.metadata.?generateName.orValue(''))"
_OBJECT = ((_NAME, "object.metadata.name"), ("request.namespace", "object.metadata.?namespace.orValue('')"),
           ("request.name", "object.metadata.name"), ("request.kind.kind", "object.kind"),
           ("request.kind.group", "(object.apiVersion.contains('/') ? object.apiVersion.split('/')[0] : '')"))
_GROUP = re.compile(r"request\.kind\.group == '([^']*)'")
_SINCE = re.compile(r"\s*\{\{\s*time_since\(\s*''\s*,\s*'\{\{\s*(target\.[A-Za-z.]+)\s*\}\}'\s*,\s*''\s*\)\s*\}\}\s*\Z")
_ORDERS = {"GreaterThan": ">", "GreaterThanOrEquals": ">=", "LessThan": "<", "LessThanOrEquals": "<=",
           "DurationGreaterThan": ">", "DurationGreaterThanOrEquals": ">=", "DurationLessThan": "<",
           "DurationLessThanOrEquals": "<="}
_AGES = (0, 1, 59, 60, 61, 3599, 3600, 3601, 7200, 86399, 86401, 90000, 604801, 2592001, 31536001)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
Document = dict[str, Any]


def document(written: Document, kinds: Kinds, given: Sequence[Document], count: int) -> list[Migrated]:
    """The policy that deletes the same, or why there is none. Raises MalformedError, UnsupportedError for what is no
    policy that loads."""
    if written.get("apiVersion") not in VERSIONS or written.get("kind") not in KINDS:
        raise UnsupportedError("kind", f"{written.get('apiVersion')} {written.get('kind')} is not migrated by custody",
                               hint=f"{' and '.join(VERSIONS)} {written.get('kind')} are")
    PolicySet([written], kinds=kinds)
    name = written["metadata"]["name"]
    try:
        made = [translated(written, kinds)]
        match = _matched(written["spec"], kinds)
        asked = {**written["spec"], "preconditions": written["spec"].get("conditions")}
        effects = Effects([written], made, kinds, Course.GENERATING, Cluster(kinds, asked))
        difference = None
        for times in (1, 8):
            difference = effects.checked(_asked(written, match, kinds, given, count * times))
            if difference is not None or effects.done:
                break
    except CustodyError as error:
        return [behind(name, name, error)]
    return [outcome(name, name, "spec", made, effects, difference, "deleting")]


def _matched(spec: Document, kinds: Kinds) -> Matched:
    return matched({"match": spec["match"], "exclude": spec.get("exclude")}, "spec", kinds, _JUDGED, "object")


def translated(written: Document, kinds: Kinds) -> Document:
    """Raises UnsupportedError."""
    spec = written["spec"]
    match = _matched(spec, kinds)
    names = Names("object", old="", certain=certain(match), typed=typed(match), operation="'CREATE'",
                  home=home(written))
    names = context(spec.get("context") or [], "spec.context", element_names(names, target="object"))
    meets = [(f"match-{at}" if at else "match", _of_object(text)) for at, text in enumerate(match.conditions)]
    if spec.get("conditions"):
        meets.append(("conditions", _held(spec["conditions"], "spec.conditions", names)))
    rules = [{field: value for field, value in rule.items() if field != "operations"}
             for rule in match.constraints["resourceRules"]]
    body: Document = {"matchConstraints": {**match.constraints, "resourceRules": rules}}
    if listed := [{"name": name, "expression": text} for name, text in meets if text != TRUE]:
        body["conditions"] = listed
    body = sharing(body, names)
    body["schedule"] = spec["schedule"]
    if spec.get("deletionPropagationPolicy"):
        body["deletionPropagationPolicy"] = spec["deletionPropagationPolicy"]
    return policy(written, "DeletingPolicy", written["metadata"]["name"], body)


def _of_object(text: str) -> str:
    """Nobody asks for what is deleted: there is no request. Raises UnsupportedError."""
    text = _GROUP.sub(lambda match: f"object.apiVersion.startsWith('{match[1]}/')" if match[1] else
                      "!object.apiVersion.contains('/')", text)
    for request, same in _OBJECT:
        text = text.replace(request, same)
    if "request." in text:
        raise UnsupportedError("spec.match", f"{text}: there is no request")
    return text


def _held(block: Any, where: str, names: Names) -> str:
    """Conditions, of which those about how old something is are said in durations."""
    if isinstance(block, list):
        return every(_held(part, f"{where}[{at}]", names) if "key" not in part else
                     _condition(part, f"{where}[{at}]", names) for at, part in enumerate(block))
    parts = [_condition(part, f"{where}.all[{at}]", names) for at, part in enumerate(block.get("all") or [])]
    if "any" in block:
        parts.insert(0, some(_condition(part, f"{where}.any[{at}]", names) for at, part in enumerate(block["any"])))
    return every(parts)


def _condition(condition: Document, where: str, names: Names) -> str:
    match = _SINCE.match(condition["key"]) if isinstance(condition.get("key"), str) else None
    sign, value = _ORDERS.get(condition["operator"]), condition.get("value")
    if match is None or sign is None or not isinstance(value, str) or duration(value) is None:
        text = conditions.compiled([condition], where, names)
        if "request." in text:
            raise UnsupportedError(where, f"{text}: there is no request")
        return text
    since = query(match[1], f"{where}.key", names).text
    return f"time.now() - timestamp({since}) {sign} duration({literal(value)})"


def _asked(written: Document, match: Matched, kinds: Kinds, given: Sequence[Document], count: int) -> Iterator[Request]:
    spec = written["spec"]
    rule = {"match": spec["match"], "exclude": spec.get("exclude"), "preconditions": spec.get("conditions"),
            "context": spec.get("context")}
    text = str(spec.get("conditions")).replace("target.", "request.object.")
    if "target." in str(spec.get("conditions")):
        rule["preconditions"] = msgspec.json.decode(msgspec.json.encode(spec["conditions"]).replace(
            b"target.", b"request.object."))
    for at, request in enumerate(requests(rule, match.resources, _JUDGED, kinds, count, given)):
        if request.operation != "CREATE" or not isinstance(request.object, dict):
            continue
        made = shaped(request.object)
        if "Timestamp" in text or at % 3 == 0:
            born = _NOW - timedelta(seconds=_AGES[at % len(_AGES)])
            made = {**made, "metadata": {**made["metadata"], "creationTimestamp": born.strftime("%Y-%m-%dT%H:%M:%SZ")}}
        yield msgspec.structs.replace(request, object=made, existing=True)
