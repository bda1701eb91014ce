"""SARIF 2.1.0 of policy results (OASIS): a rule a policy's rule, a result for each that did not pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.formats.policyreport import Result

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"fail": "error", "error": "error", "warn": "warning"}


class Place(NamedTuple):
    """A finding about a policy, and where in it."""

    code: str
    level: str
    """error, warning or note."""
    message: str
    policy: str
    path: str


def findings(places: Sequence[Place], tool: str, version: str) -> dict[str, Any]:
    """Of findings about policies: a rule for each code."""
    codes = [*dict.fromkeys(place.code for place in places)]
    return _log(tool, version, [{"id": code, "shortDescription": {"text": code}} for code in codes], [
        {"ruleId": place.code, "ruleIndex": codes.index(place.code), "level": place.level,
         "message": {"text": place.message}, "locations": [{"logicalLocations": [
             {"kind": "member", "name": place.path, "fullyQualifiedName": f"{place.policy}/{place.path}"}]}]}
        for place in places])


def document(results: Sequence[Result], tool: str, version: str) -> dict[str, Any]:
    """Of results in the order in which they were said; what passed or was skipped is not in it."""
    rules: dict[str, dict[str, Any]] = {}
    made: list[dict[str, Any]] = []
    for result in results:
        name = f"{result.policy}/{result.rule}" if result.rule else result.policy
        if (level := _LEVELS.get(result.result)) is None:
            continue
        rules.setdefault(name, {"id": name, "shortDescription": {"text": name}, "properties": {
            key: value for key, value in (("category", result.category), ("severity", result.severity)) if value}})
        where = [{"logicalLocations": [{"kind": "object", "name": subject.name, "fullyQualifiedName": "/".join(
            filter(None, (subject.api_version, subject.kind, subject.namespace, subject.name)))}]}
            for subject in result.subjects]
        made.append({"ruleId": name, "ruleIndex": [*rules].index(name), "level": level,
                     "message": {"text": result.message or result.result}, "locations": where})
    return _log(tool, version, [*rules.values()], made)


def _log(tool: str, version: str, rules: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{
        "tool": {"driver": {"name": tool, "version": version, "rules": rules}}, "results": results}]}
