"""What was said as results of reports, in the Kyverno CLI's words, and how often each outcome came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from custody.formats import policyreport
from custody.formats.policyreport import OPENREPORTS, SEVERITIES, Result, Subject
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
    tried = response.tried
    got = said.result.outcome.value
    if said.result.outcome is Outcome.FAIL:
        got = outcome(said.result, tried, audit_warn=audit_warn)
    severity = tried.annotations.get("policies.kyverno.io/severity", "")
    properties = dict(said.result.properties)
    if (process := _process(tried)) is not None:
        properties.setdefault("process", process)
    return Result(
        source=source(tried), policy=tried.name if tried.kind in _BINDINGS else tried.key, rule=said.result.rule,
        result=got, message=told(said, got), category=tried.annotations.get("policies.kyverno.io/category", ""),
        severity=severity if severity in SEVERITIES else "", scored=tried.scored,
        subjects=(Subject.of(response.resource),), properties=properties, seconds=int(now.timestamp()))


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
    """One of all policies that stand in no namespace, then one for each that does; only where there are results."""
    merged: dict[int, list[Result]] = {}
    apart: dict[int, tuple[Tried, list[Result]]] = {}
    for response in responses:
        results = [result(response, said, now, audit_warn=audit_warn) for said in response.rules]
        if not results:
            continue
        if response.tried.namespace:
            apart.setdefault(id(response.tried.document), (response.tried, []))[1].extend(results)
        else:
            merged.setdefault(id(response.tried.document), []).extend(results)
    if merged:
        every = [made for results in merged.values() for made in results]
        yield policyreport.report(every, name="merged", api_version=OPENREPORTS)
    for tried, results in apart.values():
        document = policyreport.report(results, name=tried.name, namespace=tried.namespace, api_version=OPENREPORTS)
        yield document | {"kind": "PolicyReport"}  # as the Kyverno CLI names it
