"""`custody policy podsecurity FILE…`: what is said of the pods of manifests."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from custody import __version__
from custody.errors import CustodyError, MalformedError, NotJudgedError, UnsupportedError
from custody.formats import junit, sarif
from custody.formats.policyreport import Subject
from custody.kit.visible import visible
from custody.policy.podsecurity.assessment import Assessment, at_level, by_labels
from custody.policy.podsecurity.configuration import DEFAULT, MODES, PREFIX, Configuration, Demand, aggregate, misspelt
from custody.policy.podsecurity.workload import Workload, workload_of
from custody.services.manifests import Manifest, from_bytes, from_path
from policylang.errors import Shape

_STDIN = "standard input"
_PLACE = re.compile(r"\[\d+\](?:\.items\[\d+\])*\Z")
"""Of a document in its file."""


class Terms(NamedTuple):
    """What the options say."""

    level: Demand | None
    """Of all pods; None: what labels say."""
    otherwise: Demand
    """Where no label and no configuration says anything."""
    labels: Mapping[str, str] | None
    """Of namespaces that are not among the files."""
    configuration: Configuration | None
    namespace: str


class Row(NamedTuple):
    """One resource: assessed, or not judged for a reason."""

    manifest: Manifest
    namespace: str
    assessment: Assessment | None
    reason: str = ""
    """Why it was not judged."""
    runs: bool = False
    """Whether it makes pods that were not judged."""
    refused: str = ""
    """What the API server says of a Namespace whose labels it refuses."""
    demands: str = ""
    """Of a Namespace whose labels demand something."""

    @property
    def title(self) -> str:
        metadata = self.manifest.resource.get("metadata")
        held = metadata if isinstance(metadata, dict) else {}
        name = str(held.get("name") or held.get("generateName") or "")
        return Workload(str(self.manifest.resource["kind"]), str(held.get("namespace") or ""), name, None, None).title

    @property
    def allowed(self) -> bool | None:
        """None where nobody judged it."""
        if self.refused:
            return False
        return None if self.assessment is None or self.assessment.exempt else self.assessment.allowed


def run(files: Sequence[Path], terms: Terms, output: str) -> int:
    """3 where pods would be denied. Raises NotJudgedError where that cannot be said."""
    manifests = [manifest for file in files for manifest in _manifests(file)]
    namespaces = _namespaces(manifests)
    rows = [_row(manifest, terms, namespaces) for manifest in manifests]
    _WRITERS[output](rows)
    if any(row.allowed is False for row in rows):
        return 3  # each of them was named
    unjudged = [row for row in rows if row.runs] or ([] if any(row.allowed for row in rows) else rows[:1])
    if unjudged:
        raise NotJudgedError(f"{'not all pods were' if unjudged[0].runs else 'nothing was'} judged, such as "
                             f"{visible(unjudged[0].title)}: {visible(unjudged[0].reason)}")
    return 0


def _manifests(file: Path) -> list[Manifest]:
    if str(file) == "-":
        return from_bytes(sys.stdin.buffer.read(), _STDIN)
    manifests = from_path(file)
    for where in manifests.passed_over:
        print(f"warning: {visible(where)}: passed over, it has no kind", file=sys.stderr)
    return manifests.resources


def _namespaces(manifests: Sequence[Manifest]) -> dict[str, dict[str, str]]:
    """Labels by the name of the namespace. Raises MalformedError for labels that are no texts, and for a namespace that
    is there twice: what its pods are judged by would depend on the order of files."""
    labels: dict[str, dict[str, str]] = {}
    for where, resource in manifests:
        if not _is_namespace(resource):
            continue
        metadata = resource.get("metadata")
        held = metadata if isinstance(metadata, dict) else {}
        name, given = held.get("name"), held.get("labels") or {}
        if not isinstance(name, str) or not name:
            raise MalformedError(f"{where}: metadata.name", got="nothing", expected="the name of a namespace")
        if not isinstance(given, dict):
            raise MalformedError(f"{where}: metadata.labels", got=Shape(given), expected="a map of texts")
        for key, value in given.items():
            if not isinstance(value, str):
                raise MalformedError(f"{where}: metadata.labels.{key}", got=str(value), expected="text, in quotes")
        for key in misspelt(given):
            print(visible(f"warning: {where}: label {key}: it demands nothing, as the API server reads it"),
                  file=sys.stderr)
        if labels.get(name, given) != given:
            raise MalformedError(where, got=f"namespace {name} again, with other labels", expected="each once")
        labels[name] = given
    return labels


def _is_namespace(resource: Mapping[str, Any]) -> bool:
    return (resource["apiVersion"], resource["kind"]) == ("v1", "Namespace")


def _row(manifest: Manifest, terms: Terms, namespaces: Mapping[str, Mapping[str, str]]) -> Row:
    resource = manifest.resource
    if _is_namespace(resource):
        return _of_namespace(manifest, terms, namespaces)
    try:
        workload = workload_of(resource, terms.namespace)
        if workload is None:
            return Row(manifest, "", None, "it has no pod")
        assessment = _assessed(workload, terms, namespaces.get(workload.namespace, terms.labels))
    except UnsupportedError as error:
        return Row(manifest, "", None, error.message, runs=True)
    except CustodyError as error:
        error.message = f"{manifest.where}: {error.message}"
        error.args = (error.message,)
        raise
    exempt = f"{assessment.exempt} is exempt" if assessment.exempt else ""
    return Row(manifest, workload.namespace, assessment, exempt)


def _assessed(workload: Workload, terms: Terms, labels: Mapping[str, str] | None) -> Assessment:
    """`labels` are those of its namespace; None where nobody knows them."""
    speaks = labels is not None and any(key.startswith(PREFIX) for key in labels)
    if terms.level is None and (speaks or terms.configuration is not None or terms.labels is not None):
        return by_labels(workload, labels or {}, terms.configuration or DEFAULT)
    return at_level(workload, terms.level or terms.otherwise)


def _of_namespace(manifest: Manifest, terms: Terms, namespaces: Mapping[str, Mapping[str, str]]) -> Row:
    """Labels that demand what does not exist are refused when the Namespace is made."""
    name = manifest.resource["metadata"]["name"]
    labels = dict(namespaces[name])
    demanded, problems = (terms.configuration or DEFAULT).demands(labels)
    speaks = any(key.startswith(PREFIX) for key in labels)
    return Row(manifest, "", None, "" if problems else "it has no pod",
               refused=f'Namespace "{name}" is invalid: {aggregate(problems)}' if problems else "",
               demands=", ".join(f"{mode}={demanded[mode]}" for mode in MODES) if speaks else "")


def _sentences(row: Row) -> Iterator[str]:
    if row.refused:
        yield row.refused
    elif row.demands:
        yield f"demands {row.demands}"
    elif row.assessment is None or row.assessment.exempt:
        yield f"not judged: {row.reason}"
    else:
        bad = [finding for finding in row.assessment.findings if finding.failures]
        for finding in bad:
            modes = "" if not finding.modes or "enforce" in finding.modes else f"{' and '.join(finding.modes)}: "
            yield f"{modes}{finding.message}"
        if row.assessment.allowed:
            met = [finding for finding in row.assessment.findings if not finding.failures]
            yield "meets " + ", ".join(f"{finding.demand}{_modes(finding.modes)}" for finding in met)


def _modes(modes: tuple[str, ...]) -> str:
    return "" if modes in ((), MODES) else f" ({' and '.join(modes)})"


def _table(rows: Sequence[Row]) -> None:
    for row in rows:
        for sentence in _sentences(row):
            click.echo(visible(f"{row.title}: {sentence}"))


def _json(rows: Sequence[Row]) -> None:
    click.echo(json.dumps([_plain(row) for row in rows], indent=2, ensure_ascii=False))


def _plain(row: Row) -> dict[str, Any]:
    subject = Subject.of(row.manifest.resource)
    findings = row.assessment.findings if row.assessment is not None else ()
    against = [finding for finding in findings if finding.denies]
    return {"pod": subject.name, "apiVersion": subject.api_version, "kind": subject.kind,
            "namespace": row.namespace or subject.namespace, "where": row.manifest.where, "allowed": row.allowed,
            "failures": [failure._asdict() for finding in against for failure in finding.failures],
            "message": row.refused or "; ".join(finding.message for finding in against), "reason": row.reason,
            "modes": {mode: {"demand": str(finding.demand), "allowed": not finding.failures,
                             "failures": [failure._asdict() for failure in finding.failures],
                             "message": finding.message} for finding in findings for mode in finding.modes}}


def _findings(rows: Sequence[Row]) -> Iterator[sarif.Line]:
    """By file, which is all that code scanning shows a finding at."""
    for row in rows:
        place = _PLACE.sub("", row.manifest.where)
        path = "" if place == _STDIN else place
        if row.refused or row.runs:
            yield sarif.Line("labels" if row.refused else "not-judged", "error" if row.refused else "warning",
                             f"{row.title}: {row.refused or row.reason}", path, 0)
        for finding in row.assessment.findings if row.assessment is not None else ():
            for failure in finding.failures:
                yield sarif.Line(failure.check, "error" if finding.denies else "warning",
                                 f"{row.title}: {finding.demand}: {failure}", path, 0)


def _sarif(rows: Sequence[Row]) -> None:
    told = [*_findings(rows)]
    rules = {line.rule: f"Pod Security Standards: {line.rule}" for line in told}
    click.echo(json.dumps(sarif.lines(told, rules, "custody", __version__), indent=2, ensure_ascii=False))


def _junit(rows: Sequence[Row]) -> None:
    """A case for each workload; what has no pod is none."""
    cases = [junit.Case(str(row.manifest.resource["kind"]), row.title, _failure(row), "\n".join(_sentences(row)))
             for row in rows if row.allowed is not None or row.runs]
    click.echo(junit.document([("PodSecurity", cases)]))


def _failure(row: Row) -> str | None:
    if row.allowed:
        return None
    return "not judged" if row.runs else next(_sentences(row))


_WRITERS = {"table": _table, "json": _json, "sarif": _sarif, "junit": _junit}
