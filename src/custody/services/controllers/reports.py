"""PolicyReports: one for each object that policies speak of, named by its uid and owned by it, as Kyverno's are.

Only what differs is written. A report holds so many results, and so many bytes, that etcd takes it: what is beyond is
counted in a result that says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from custody.errors import CustodyError
from custody.formats.policyreport import OPENREPORTS, SEVERITIES, WGPOLICY, Result, Subject, in_order, report, summary
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Outcome, RuleResult
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.named import Reference, notes_of, source_of

_LOG = logging.getLogger(__name__)
MOST_RESULTS = 1000
MOST_BYTES = 1024 * 1024
_LONGEST = 4096  # characters of one message
MANAGED = {"app.kubernetes.io/managed-by": "kyverno"}
_PLURALS = {WGPOLICY: ("policyreports", "clusterpolicyreports"), OPENREPORTS: ("reports", "clusterreports")}
_KINDS = {WGPOLICY: ("PolicyReport", "ClusterPolicyReport"), OPENREPORTS: ("Report", "ClusterReport")}
_OVERRIDES = {Outcome.PASS: "passMessage", Outcome.FAIL: "failMessage", Outcome.WARN: "warnMessage",
              Outcome.ERROR: "errorMessage", Outcome.SKIP: "skipMessage"}
BACKGROUND, REVIEW = "background scan", "admission review"


def result_of(said: RuleResult, policies: PolicySet, policy: Policy, seconds: int, process: str) -> Result:
    """A rule's result as a report has it."""
    document = source_of(policies, policy)
    notes = notes_of(document)
    scored = notes.get("policies.kyverno.io/scored") != "false"
    severity = str(notes.get("policies.kyverno.io/severity") or "")
    properties = dict(said.properties)
    message = (properties.get("message") or properties.get(_OVERRIDES[said.outcome]) or said.message)[:_LONGEST]
    properties["process"] = process
    kind = policy.kind.removeprefix("Namespaced")
    source = {"ClusterPolicy": "kyverno", "Policy": "kyverno"}.get(kind) or (
        kind if kind.endswith("AdmissionPolicy") else f"Kyverno{kind}" if kind.endswith("ingPolicy") else
        policy.engine or "custody")
    outcome = Outcome.WARN if said.outcome is Outcome.FAIL and not scored else said.outcome
    return Result(source=source, policy=policy.name, rule=said.rule if source == "kyverno" else "",
                  result=str(outcome), message=message, category=str(notes.get("policies.kyverno.io/category") or ""),
                  severity=severity if severity in SEVERITIES else "", scored=scored, properties=properties,
                  seconds=seconds)


def results_of(decision: Decision, policies: PolicySet, seconds: int, *, scanned: bool) -> list[Result]:
    """Of the rules that spoke. A result of the review of a request says so where its policy is in no scan."""
    named = {(policy.name, policy.kind): policy for policy in policies.policies}
    results = []
    for said in decision.results:
        policy = named.get((said.policy, said.kind))
        if policy is not None:
            process = BACKGROUND if scanned or policy.background else REVIEW
            results.append(result_of(said, policies, policy, seconds, process))
    return results


class Reports:
    """Writes them. `api_version` is WGPOLICY or OPENREPORTS."""

    def __init__(self, cluster: ClusterObjects, api_version: str = WGPOLICY) -> None:
        self._cluster = cluster
        self._version = api_version
        group, _, version = api_version.partition("/")
        self._resources = {namespaced: ApiResource(
            group=group, version=version, kind=_KINDS[api_version][not namespaced],
            plural=_PLURALS[api_version][not namespaced], namespaced=namespaced) for namespaced in (True, False)}
        self._written: dict[str, str] = {}
        """What was written last, by uid: a digest of the results without their times."""
        self._told = False
        self.writes = 0

    async def known(self) -> list[Object]:
        """The reports that are there. Raises CustodyError."""
        there: list[Object] = []
        for resource in self._resources.values():
            if await self._served(resource):
                there += (await self._cluster.list(resource, labels="app.kubernetes.io/managed-by=kyverno")).items
        return there

    async def _served(self, resource: ApiResource) -> bool:
        """Whether the cluster has reports; it is told once where it has none."""
        served = await self._cluster.resource(self._version, resource.kind) is not None
        if not served and not self._told:
            self._told = True
            _LOG.info("no reports are written: the cluster serves no %s %s", self._version, resource.kind)
        return served

    async def put(self, about: Reference, results: Iterable[Result]) -> None:
        """The report of an object. Without results there is none. Raises CustodyError."""
        kept = bounded(in_order(results))
        resource = self._resources[bool(about.namespace)]
        if not kept:
            if self._written.get(about.uid) != "":
                await self.remove(about.uid, about.namespace)
            self._written[about.uid] = ""
            return
        shape = _shape(kept)
        if self._written.get(about.uid) == shape or not await self._served(resource):
            return
        document = self._document(about, kept)
        there = await self._cluster.get(resource, about.uid, about.namespace)
        if there is None:
            await self._cluster.create(resource, document)
        elif not _same(there, document):
            document["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            await self._cluster.replace(resource, document)
        self._written[about.uid] = shape
        self.writes += 1

    async def remove(self, uid: str, namespace: str) -> None:
        """Raises CustodyError."""
        self._written.pop(uid, None)
        if await self._served(self._resources[bool(namespace)]):
            await self._cluster.delete(self._resources[bool(namespace)], uid, namespace)

    def _document(self, about: Reference, results: list[Result]) -> Object:
        owner = {"apiVersion": about.api_version, "kind": about.kind, "name": about.name, "uid": about.uid}
        scope = Subject(api_version=about.api_version, kind=about.kind, namespace=about.namespace, name=about.name,
                        uid=about.uid)
        return report(results, name=about.uid, namespace=about.namespace, api_version=self._version, scope=scope,
                      source="kyverno", labels=MANAGED, owners=[owner])


def reviewed_in(document: Mapping[str, Any]) -> list[Result]:
    """The results of a report that no scan can find again: those of reviews."""
    return [Result(source=str(result.get("source") or ""), policy=str(result.get("policy") or ""),
                   rule=str(result.get("rule") or ""), result=str(result.get("result") or ""),
                   message=str(result.get("message") or ""), category=str(result.get("category") or ""),
                   severity=str(result.get("severity") or ""), scored=result.get("scored") is True,
                   properties=result["properties"], seconds=int((result.get("timestamp") or {}).get("seconds") or 0))
            for result in document.get("results") or ()
            if (result.get("properties") or {}).get("process") == REVIEW]


def bounded(results: list[Result]) -> list[Result]:
    """As many as fit, failures and errors before what passed, and one that says how many do not."""
    size = 0
    ranked = sorted(range(len(results)), key=lambda at: (results[at].result not in ("fail", "error", "warn"), at))
    chosen: set[int] = set()
    for at in ranked:
        size += len(msgspec.json.encode(results[at].to_json()))
        if len(chosen) == MOST_RESULTS or size > MOST_BYTES:
            break
        chosen.add(at)
    kept = [result for at, result in enumerate(results) if at in chosen]
    left = len(results) - len(kept)
    if left:
        counts = summary(result for at, result in enumerate(results) if at not in chosen)
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        kept.append(Result(source="custody", policy="report", result="error",
                           message=f"{left} results do not fit into this report: {told}"))
    return kept


def _shape(results: list[Result]) -> str:
    return msgspec.json.encode([msgspec.structs.replace(result, seconds=0).to_json() for result in results]).decode()


def _same(there: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a report says the same, whenever it was said."""
    def timeless(results: Any) -> list[Any]:
        return [{key: value for key, value in result.items() if key != "timestamp"} for result in results or []]
    return (timeless(there.get("results")) == timeless(document.get("results"))
            and there.get("scope") == document.get("scope"))


async def quietly(reports: Reports, about: Reference, results: Iterable[Result]) -> None:
    """Put, and log what the cluster refuses: who judges is not stopped by who tells of it."""
    try:
        await reports.put(about, results)
    except CustodyError as error:
        _LOG.warning("the report of %s could not be written: %s", about, error.message)
