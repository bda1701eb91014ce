"""What was said as results of reports, in the Kyverno CLI's words, and how often each outcome came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from custody.formats import policyreport
from custody.formats.policyreport import OPENREPORTS, SEVERITIES, Result, Row, Subject
from custody.policy.model import Outcome
from custody.services.simulation.policies import Tried
from custody.services.simulation.rows import told
from custody.services.simulation.trial import Response, Said, outcome

_CLASSIC = ("ClusterPolicy", "Policy")
_SOURCES = {"ValidatingPolicy": "KyvernoValidatingPolicy", "MutatingPolicy": "KyvernoMutatingPolicy",
            "ImageValidatingPolicy": "KyvernoImageValidatingPolicy", "GeneratingPolicy": "KyvernoGeneratingPolicy",
            "ValidatingAdmissionPolicy": "ValidatingAdmissionPolicy",
            "MutatingAdmissionPolicy": "MutatingAdmissionPolicy"}
"""By the kind of the policy; `kyverno` for any other."""
_BINDINGS = {"ValidatingAdmissionPolicy": "binding", "MutatingAdmissionPolicy": "mapBinding"}


class Counts(dict[str, int]):
    """How many results there are of each of `policyreport.OUTCOMES`."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(policyreport.OUTCOMES, 0))

    @property
    def line(self) -> str:
        return ", ".join(f"{name}: {self[name]}" for name in ("pass", "fail", "warn", "error", "skip"))


def count(responses: Iterable[Response], *, audit_warn: bool) -> Counts:
    counts = Counts()
    for response in responses:
        for said in response.rules:
            counts[outcome(said.result, response.tried, audit_warn=audit_warn and response.tried.kind in _CLASSIC)] += 1
    return counts


def result(response: Response, said: Said, now: datetime, *, audit_warn: bool = False) -> Result:
    """One result of a report, about the resource that was tried."""
    head = _head(response.tried)
    got = _got(response.tried, said, audit_warn=audit_warn)
    return Result(
        source=head.source, policy=head.policy, rule=said.result.rule, result=got, message=told(said, got),
        category=head.category, severity=head.severity, scored=head.scored, subjects=(Subject.of(response.resource),),
        properties=_properties(head, said), seconds=int(now.timestamp()))


def _got(tried: Tried, said: Said, *, audit_warn: bool) -> str:
    if said.result.outcome is Outcome.FAIL:
        return outcome(said.result, tried, audit_warn=audit_warn)
    return said.result.outcome.value


def _properties(head: _Head, said: Said) -> Mapping[str, str]:
    own = said.result.properties
    if not own:
        return head.properties
    return dict(sorted({**head.properties, **own}.items()))


class _Head(NamedTuple):
    """What all results of a policy have in common."""

    source: str
    policy: str
    category: str
    severity: str
    scored: bool
    properties: Mapping[str, str]


@lru_cache(1024)
def _head(tried: Tried) -> _Head:
    severity = tried.annotations.get("policies.kyverno.io/severity", "")
    process = _process(tried)
    return _Head(source(tried), tried.name if tried.kind in _BINDINGS else tried.key,
                 tried.annotations.get("policies.kyverno.io/category", ""), severity if severity in SEVERITIES else "",
                 tried.scored, {} if process is None else {"process": process})


def source(tried: Tried) -> str:
    return _SOURCES.get(tried.kind.removeprefix("Namespaced"), "kyverno")


def _process(tried: Tried) -> str | None:
    """In which runs of a controller the result would be."""
    kind = tried.kind.removeprefix("Namespaced")
    if kind in _BINDINGS:
        return "background scan"
    if kind == "GeneratingPolicy":
        return "admission review"
    if kind in ("DeletingPolicy", "CleanupPolicy", "ClusterCleanupPolicy"):
        return ""
    if tried.kind in _CLASSIC:
        background, admission = tried.spec.get("background"), tried.spec.get("admission")
    else:
        evaluation = tried.spec.get("evaluation")
        parts = evaluation if isinstance(evaluation, dict) else {}
        background, admission = (part.get("enabled") if isinstance(part := parts.get(name), dict) else None
                                 for name in ("background", "admission"))
    if background is not False:
        return "background scan"
    return "admission review" if admission is not False else ""


def reports(responses: Sequence[Response], now: datetime, *, audit_warn: bool) -> Iterator[dict[str, Any]]:
    """One of all policies that stand in no namespace, then one for each that does; only where there are results.

    Their results are `policyreport.Row`s.
    """
    merged: dict[int, list[Row]] = {}
    apart: dict[int, tuple[Tried, list[Row]]] = {}
    timestamp = {"nanos": 0, "seconds": int(now.timestamp())}
    resource, resources = None, list[dict[str, str]]()
    for response in responses:
        if not response.rules:
            continue
        if response.resource is not resource:  # those of one resource stand beside each other
            resource, resources = response.resource, [Subject.of(response.resource).to_json()]
        tried = response.tried
        rows = (apart.setdefault(id(tried.document), (tried, []))[1] if tried.namespace else
                merged.setdefault(id(tried.document), []))
        head = _head(tried)
        for said in response.rules:
            got = _got(tried, said, audit_warn=audit_warn)
            rows.append(Row(
                category=head.category, message=told(said, got), policy=head.policy, properties=_properties(head, said),
                resources=resources, result=got, rule=said.result.rule, scored=head.scored, severity=head.severity,
                source=head.source, timestamp=timestamp))
    if merged:
        every = [made for rows in merged.values() for made in rows]
        yield policyreport.report(every, name="merged", api_version=OPENREPORTS)
    for tried, rows in apart.values():
        document = policyreport.report(rows, name=tried.name, namespace=tried.namespace, api_version=OPENREPORTS)
        yield document | {"kind": "PolicyReport"}  # as the Kyverno CLI names it
