"""SARIF 2.1.0 of policy results (OASIS): a rule a policy's rule, a result for each that did not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

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


class Line(NamedTuple):
    """A finding on a line of a file; `path` is empty, or `line` 0, where it is of no one of them."""

    rule: str
    level: str
    message: str
    path: str
    line: int


def lines(told: Sequence[Line], rules: Mapping[str, str], tool: str, version: str) -> dict[str, Any]:
    """Of findings in files of a repository: the rules that they name, of `rules` with their descriptions."""
    names = [*dict.fromkeys(line.rule for line in told)]
    return _log(tool, version, [{"id": name, "shortDescription": {"text": rules[name]}} for name in names], [
        {"ruleId": line.rule, "ruleIndex": names.index(line.rule), "level": line.level,
         "message": {"text": line.message}, **({"locations": [{"physicalLocation": {
             "artifactLocation": {"uri": quote(line.path), "uriBaseId": "%SRCROOT%"},
             **({"region": {"startLine": line.line}} if line.line else {})}}]} if line.path else {})}
        for line in told])


def _log(tool: str, version: str, rules: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{
        "tool": {"driver": {"name": tool, "version": version, "rules": rules}}, "results": results}]}
