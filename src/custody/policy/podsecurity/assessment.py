"""Workloads of files by what is demanded of them: at one level, or by mode as their namespace's labels say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from custody.policy.podsecurity import standard
from custody.policy.podsecurity.configuration import MODES, Configuration, Demand
from custody.policy.podsecurity.workload import Workload


class Finding(NamedTuple):
    """What a workload has against it in the modes that demand the same."""

    modes: tuple[str, ...]
    """Of MODES; empty where a level was asked for."""
    demand: Demand
    failures: list[standard.Failure]

    @property
    def denies(self) -> bool:
        """Whether the pods would not be made; of a template as of a pod."""
        return bool(self.failures) and (not self.modes or "enforce" in self.modes)

    @property
    def message(self) -> str:
        """The API server's words; "" where nothing is against it."""
        if not self.failures:
            return ""
        violates = "violates" if not self.modes or "enforce" in self.modes else "would violate"
        return f'{violates} PodSecurity "{self.demand}": {standard.aggregate(self.failures)}'


class Assessment(NamedTuple):
    workload: Workload
    findings: tuple[Finding, ...]
    exempt: str = ""
    """Why nothing is demanded of it: `namespace kube-system`."""

    @property
    def allowed(self) -> bool:
        return not any(finding.denies for finding in self.findings)


def at_level(workload: Workload, demand: Demand) -> Assessment:
    """Raises MalformedError for a pod that is none."""
    return Assessment(workload, (Finding((), demand, _failures(workload, demand)),))


def by_labels(workload: Workload, labels: Mapping[str, str], configuration: Configuration) -> Assessment:
    """As the API server's plug-in would judge its pods in a namespace with these labels. Raises MalformedError."""
    if workload.namespace in configuration.namespaces:
        return Assessment(workload, (), f"namespace {workload.namespace}")
    runtime_class = workload.spec.get("runtimeClassName")
    if isinstance(runtime_class, str) and runtime_class in configuration.runtime_classes:
        return Assessment(workload, (), f"runtime class {runtime_class}")
    demands, _ = configuration.demands(dict(labels))
    modes: dict[Demand, list[str]] = {}
    for mode in MODES:
        modes.setdefault(demands[mode], []).append(mode)
    return Assessment(workload, tuple(Finding(tuple(together), demand, _failures(workload, demand))
                                      for demand, together in modes.items()))


def _failures(workload: Workload, demand: Demand) -> list[standard.Failure]:
    return standard.evaluate(workload.spec, workload.metadata, demand.level, demand.version)
