"""What conftest's rules said, in the eight forms in which conftest prints it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from custody import __version__
from custody.formats.junit import attribute, plain
from custody.kit.visible import visible
from custody.services.configurations.checking import CheckResult, Result
from policylang.rego.values import compact

_PASSED, _SKIPPED = "Policy was satisfied successfully", "Policy check was skipped"
_SARIF = {"deny": "Policy violation", "warn": "Policy warning", "allow": "Policy exception", "success": _PASSED,
          "skip": _SKIPPED}


def shown(results: Sequence[CheckResult], output: str, *, suppress_exceptions: bool = False, skipped: bool = False,
          hide_message: bool = False, hide_passed: bool = False) -> str:
    """`skipped`: the summary counts those, too. `hide_message`: of JUnit's names; `hide_passed`: of GitHub's groups."""
    match output:
        case "json":
            return _json(results)
        case "tap":
            return _tap(results)
        case "table":
            return _table(results)
        case "junit":
            return _junit(results, hide_message=hide_message)
        case "github":
            return _github(results, hide_passed=hide_passed)
        case "azuredevops":
            return _azure(results)
        case "sarif":
            return json.dumps(_sarif(results), ensure_ascii=False)
        case _:
            return _standard(results, suppress_exceptions=suppress_exceptions, skipped=skipped)


def totals(results: Sequence[CheckResult]) -> str:
    passed = sum(result.successes for result in results)
    counts = [sum(len(getattr(result, name)) for result in results) for name in ("warnings", "failures", "exceptions")]
    tests = sum(result.tests for result in results)
    named = ", ".join(_count(count, name) for count, name in zip(counts, ("warning", "failure", "exception"),
                                                                strict=True))
    return f"{_count(tests, 'test')}, {passed} passed, {named}"


def _count(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _standard(results: Sequence[CheckResult], *, suppress_exceptions: bool, skipped: bool) -> str:
    lines = [f"PRNT   {visible(line)}" for result in results for line in result.printed]
    for result in results:
        lines += [f"WARN {_place(result)} {_text(warning)}" for warning in result.warnings]
        lines += [f"FAIL {_place(result)} {_text(failure)}" for failure in result.failures]
        if not suppress_exceptions:
            lines += [f"EXCP {_place(result)} {_text(exception)}" for exception in result.exceptions]
    count = sum(len(result.skipped) for result in results)
    return "\n".join([*lines, "", totals(results) + (f", {count} skipped" if skipped else "")])


def _place(result: CheckResult) -> str:
    file = "-" if result.filename == "-" else f"- {visible(result.filename)}"
    return f"{file} {'-' if result.namespace == '-' else f'- {result.namespace} -'}"


def _text(result: Result) -> str:
    return visible(result.message, keep="\n\t")


def _json(results: Sequence[CheckResult]) -> str:
    documents = []
    for result in results:
        document: dict[str, Any] = {"filename": "" if result.filename == "-" else result.filename,
                                    "namespace": result.namespace, "successes": result.successes}
        for name in ("skipped", "warnings", "failures", "exceptions"):
            if said := getattr(result, name):
                document[name] = [_said(statement) for statement in said]
        documents.append(document)
    text = json.dumps(documents or None, indent="\t", ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _said(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = {"msg": result.message}
    if result.file or result.line is not None:
        document["loc"] = ({"file": result.file} if result.file else {}) | (
            {} if result.line is None else {"line": result.line})
    return document | ({"metadata": _ordered(result.metadata)} if result.metadata else {})


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(member) for member in value] if isinstance(value, list) else value


def _tap(results: Sequence[CheckResult]) -> str:
    tests = sum(result.tests for result in results)
    lines = [f"1..{tests}"] if tests else []
    number = 0
    for result in results:
        for header, status, said in (("", "not ok", result.failures), ("warnings", "not ok", result.warnings),
                                     ("exceptions", "ok", result.exceptions), ("skip", "ok", result.skipped),
                                     ("successes", "ok", [Result("SUCCESS")] * result.successes)):
            if header and said:
                lines.append(f"# {header}")
            for statement in said:
                number += 1
                lines.append(f"{status} {number} {_place(result)} {_text(statement)}")
    return "\n".join(lines)


def _table(results: Sequence[CheckResult]) -> str:
    rows: list[list[list[str]]] = []
    for result in results:
        for name, said in (("success", [Result("SUCCESS")] * result.successes), ("exception", result.exceptions),
                           ("warning", result.warnings), ("skipped", result.skipped), ("failure", result.failures)):
            rows += [[[name], [visible(result.filename)], [result.namespace],
                      [visible(line.strip()) for line in statement.message.split("\n")]] for statement in said]
    if not rows:
        return ""
    titles = ("RESULT", "FILE", "NAMESPACE", "MESSAGE")
    widths = [max(len(title), *(len(line) for row in rows for line in row[at])) for at, title in enumerate(titles)]

    def border(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right
    lines = [border("┌", "┬", "┐"),
             "│" + "│".join(f" {title:^{width}} " for title, width in zip(titles, widths, strict=True)) + "│",
             border("├", "┼", "┤")]
    for row in rows:
        for at in range(max(map(len, row))):
            cells = [cell[at] if at < len(cell) else "" for cell in row]
            lines.append("│" + "│".join(f" {cell:<{width}} " for cell, width in zip(cells, widths, strict=True)) + "│")
    return "\n".join([*lines, border("└", "┴", "┘")])


def _junit(results: Sequence[CheckResult], *, hide_message: bool) -> str:
    suites: dict[str, list[list[str]]] = {}
    failures: dict[str, int] = {}
    for result in results:
        suite = f"conftest.{result.namespace}"
        cases = suites.setdefault(suite, []) if result.tests > len(result.exceptions) else []
        for statement in (*result.warnings, *result.failures):
            failures[suite] = failures.get(suite, 0) + 1
            cases.append(_case(suite, result, statement, hide_message, [
                f'\t\t\t<failure message="Failed" type="">{escape(plain(statement.message))}</failure>']))
        for statement in result.skipped:
            cases.append(_case(suite, result, statement, hide_message, [
                f"\t\t\t<skipped message={attribute(statement.message)}></skipped>"]))
        cases += [_case(suite, result, Result(""), hide_message, []) for _ in range(result.successes)]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for suite, cases in suites.items():
        lines += [f'\t<testsuite tests="{len(cases)}" failures="{failures.get(suite, 0)}" time="0.000" '
                  f"name={attribute(suite)}>", "\t\t<properties></properties>",
                  *(line for case in cases for line in case), "\t</testsuite>"]
    return "\n".join([*lines, "</testsuites>"])


def _case(suite: str, result: CheckResult, said: Result, hide_message: bool, inner: list[str]) -> list[str]:
    name = result.filename if hide_message or not said.message else (
        f"{result.filename} - {said.message.partition(chr(10))[0]}")
    start = f'\t\t<testcase classname={attribute(suite.rpartition("/")[2])} name={attribute(name)} time="0.000">'
    return [start, *inner, "\t\t</testcase>"] if inner else [f"{start}</testcase>"]


def _github(results: Sequence[CheckResult], *, hide_passed: bool) -> str:
    lines: list[str] = []
    for result in results:
        if hide_passed and result.tests == result.successes:
            continue
        lines.append(f"::group::Testing {json.dumps(result.filename, ensure_ascii=False)} against {result.tests} "
                     f"policies in namespace {json.dumps(result.namespace, ensure_ascii=False)}")
        for level, said, before in (("error", result.failures, ""), ("warning", result.warnings, ""),
                                    ("notice", result.exceptions, ""),
                                    ("notice", result.skipped, "Test was skipped: ")):
            for statement in said:
                lines += _annotations(level, result.filename, statement, before)
        lines += [_annotation("notice", result.filename, 1, f"Number of successful checks: {result.successes}"),
                  "::endgroup::"]
    return "\n".join([*lines, totals(results)])


def _annotations(level: str, file: str, said: Result, before: str) -> list[str]:
    message = before + said.message
    if not said.file and said.line is None:
        return [_annotation(level, file, 1, message)]
    line = "" if said.line is None else compact(said.line)
    if said.file == file:
        return [_annotation(level, file, line, message)]
    origin = os.path.relpath(said.file) if os.path.isabs(said.file) else said.file
    return [_annotation(level, origin, line, message),
            _annotation(level, file, 1, f"(ORIGINATING FROM {origin} L{line}) {message}")]


def _annotation(level: str, file: str, line: int | str, message: str) -> str:
    for sign in "%\r\n:,":
        file = file.replace(sign, f"%{ord(sign):02X}")
    return visible(f"::{level} file={file},line={line}::{_line(message)}")


def _line(message: str) -> str:
    """On one line, as these services escape it: a second line could begin a command of its own."""
    return visible(message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _azure(results: Sequence[CheckResult]) -> str:
    lines: list[str] = []
    for result in results:
        file = _line(result.filename)
        lines += [f"##[section]Testing '{file}' against {result.tests} policies in namespace "
                  f"'{result.namespace}'", "##[group]See conftest results"]
        for level, said in (("error", result.failures), ("warning", result.warnings), ("warning", result.exceptions)):
            lines += [f"##vso[task.logissue type={level}] file={file} --> {_line(statement.message)}"
                      for statement in said]
        lines += [f"skipped file={file} {_line(statement.message)}" for statement in result.skipped]
        if result.successes:
            lines.append(f"success file={file} {result.successes}")
        lines.append("##[endgroup]")
    return "\n".join([*lines, totals(results)])


def _sarif(results: Sequence[CheckResult]) -> dict[str, Any]:
    rules: dict[str, dict[str, Any]] = {}
    made: list[dict[str, Any]] = []

    def add(result: CheckResult, said: Result, kind: str, level: str) -> None:
        name = f"{result.namespace}/{kind}"
        if name not in rules:
            rules[name] = {"id": name, "shortDescription": {"text": _SARIF[kind]}} | (
                {"properties": _ordered(said.metadata)} if said.metadata else {})
        file, region = result.filename, {}
        if said.file or said.line is not None:
            line = said.line if type(said.line) is int else 0
            file, region = said.file, {"region": {"startLine": line, "endLine": line}}
        made.append({"ruleId": name, "ruleIndex": [*rules].index(name), "level": level,
                     "message": {"text": said.message}, "locations": [{"physicalLocation": {
                         "artifactLocation": {"uri": quote(file.replace(os.sep, "/"), safe="/$&+,:;=@")}, **region}}]})
    for result in results:
        for statement in result.failures:
            add(result, statement, "deny", "error")
        for statement in result.warnings:
            add(result, statement, "warn", "warning")
        for statement in result.exceptions:
            add(result, statement, "allow", "note")
        if not (result.failures or result.warnings):
            passed = result.successes or result.exceptions
            text = _PASSED if passed else _SKIPPED
            add(result, Result(text, {"description": text}), "success" if passed else "skip", "none")
    failed, warned = (any(getattr(result, name) for result in results) for name in ("failures", "warnings"))
    said = "Policy violations found" if failed else "Policy warnings found" if warned else "No policy violations found"
    return {"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": [{
        "tool": {"driver": {"name": "custody", "version": __version__, "rules": [*rules.values()]}}, "results": made,
        "invocations": [{"executionSuccessful": True, "exitCode": int(failed), "exitCodeDescription": said}]}]}
