"""SARIF 2.1.0 (OASIS): of policy results, a rule a policy's rule, a result for each that did not pass; of scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from custody.formats.issue import Issue
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
    """A finding on a line of a file; `path` is empty, or `line` 0, where it is of no file or line."""

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


_RANKS = {"critical": ("error", "9.5"), "high": ("error", "8.0"), "medium": ("warning", "5.5"), "low": ("note", "2.0"),
          "unknown": ("warning", "5.0"), "none": ("note", "0.0")}
"""By severity: SARIF's level and, where no score is known, GitHub's `security-severity`, from within its bucket."""


def issues(listed: Sequence[Issue], tool: str, version: str, address: str, artifact: str) -> dict[str, Any]:
    """Of a scan of `artifact`, as GitHub's code scanning reads it: every result has a place in a file, a fingerprint
    that outlives a rebuild, and a rule with a `security-severity`.

    https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
    """
    rules: dict[str, dict[str, Any]] = {}
    numbers: dict[str, int] = {}
    results: list[dict[str, Any]] = []
    for issue in listed:
        level, rank = _RANKS.get(issue.severity, _RANKS["unknown"])
        if issue.id not in rules:
            numbers[issue.id] = len(rules)
            rules[issue.id] = {
                "id": issue.id, "name": issue.kind.capitalize(), "shortDescription": {"text": issue.title or issue.id},
                "fullDescription": {"text": issue.title or issue.id}, "defaultConfiguration": {"level": level},
                **({"helpUri": issue.help} if issue.help else {}),
                "help": {"text": issue.remedy or issue.message},
                "properties": {"precision": "very-high", "security-severity": rank if issue.score is None
                               else f"{issue.score:.1f}", "tags": ["security", issue.kind, issue.severity]}}
        line = max(issue.line, 1)
        place: dict[str, Any] = {"physicalLocation": {
            "artifactLocation": {"uri": quote(issue.path or artifact, errors="surrogatepass"), "uriBaseId": "ROOT"},
            "region": {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": 1}},
            "message": {"text": f"{artifact}: {issue.path}" if issue.path else artifact}}
        if issue.package:
            place["logicalLocations"] = [{"name": issue.package, "kind": "package",
                                          "fullyQualifiedName": issue.purl or f"{issue.package}@{issue.version}"}]
        results.append({
            "ruleId": issue.id, "ruleIndex": numbers[issue.id], "level": level, "message": {"text": issue.message},
            "locations": [place], "partialFingerprints": {"custody/v1": issue.fingerprint},
            "properties": {"severity": issue.severity, **({"layer": issue.layer} if issue.layer else {}),
                           **({"exploited": True} if issue.exploited else {})}})
    log = _log(tool, version, [*rules.values()], results)
    run = log["runs"][0]
    run["tool"]["driver"]["informationUri"] = address
    run["columnKind"] = "utf16CodeUnits"
    run["originalUriBaseIds"] = {"ROOT": {"uri": "file:///"}}
    run["properties"] = {"artifact": artifact}
    return log
