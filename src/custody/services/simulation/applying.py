"""`policy apply`: all policies on all resources, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import regular
from custody.policy.resources import is_crd
from custody.services.simulation import policies as loading
from custody.services.simulation.documents import kind_of, parsed, read, resources
from custody.services.simulation.policies import EXCEPTION, Loaded, Refused, tolerant
from custody.services.simulation.testing import Others, judged, read_context
from custody.services.simulation.trial import Bench, Response
from custody.services.simulation.values import Values, Who
from custody.services.simulation.world import Objects, World


@dataclass(kw_only=True)
class Inputs:
    """What is applied to what."""

    policies: list[tuple[str, Any]]
    exceptions: list[tuple[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[dict[str, Any]] = field(default_factory=list)
    """JSON that is no object of Kubernetes."""
    targets: list[dict[str, Any]] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)
    context: Path | None = None
    values: Values = field(default_factory=Values)
    who: Who = field(default_factory=Who)
    kinds: Kinds = field(default_factory=builtin)
    cluster: bool = False
    """Whether the resources are a cluster's, which is then asked for what policies ask."""


@dataclass
class Applied:
    loaded: Loaded
    responses: list[Response] = field(default_factory=list)
    failed: list[tuple[dict[str, Any], CustodyError]] = field(default_factory=list)
    """Resources that could not be tried."""

    @property
    def refused(self) -> list[Refused]:
        return self.loaded.refused

    @property
    def rules(self) -> int:
        """As the Kyverno CLI counts them: those of kyverno.io each, any other policy as one."""
        return sum(len(tried.policy.rules) if tried.kind in ("ClusterPolicy", "Policy") else 1
                   for tried in self.loaded.policies)


def load(inputs: Inputs, *, within_resources: bool = False) -> Applied:
    """The policies, with exceptions from where they are to be taken."""
    exceptions = [*inputs.exceptions]
    if within_resources:
        exceptions += [(f"resources[{at}]", resource) for at, resource in enumerate(inputs.resources)
                       if resource.get("kind") == EXCEPTION]
    return Applied(loading.load(inputs.policies, exceptions, tolerant(inputs.kinds)))


async def apply(applied: Applied, inputs: Inputs, beside: Others, now: datetime, *, go_on: bool = False,
                progress: Callable[[int], None] | None = None) -> None:
    """Fill in what is said of each resource. Raises CustodyError for one that cannot be tried, unless `go_on`.

    `progress` is told how many were tried since it was told last.
    """
    kinds = tolerant(inputs.kinds)
    told = Objects([*inputs.targets, *inputs.parameters], kinds)
    world = World(namespaces=dict(inputs.values.namespaces), namespace_objects=inputs.values.objects,
                  told=told, roles=inputs.who.roles,
                  cluster_roles=inputs.who.cluster_roles, outside=inputs.cluster, registries=beside.gather is not None)
    if inputs.context is not None:
        read_context(inputs.context, told, world)
    if not inputs.cluster:
        world.objects = Objects([*inputs.resources, *inputs.targets, *inputs.parameters], kinds)
    bench = Bench(policies=applied.loaded.policies, compiled=applied.loaded.compiled, kinds=kinds, world=world,
                  values=inputs.values, who=inputs.who, now=now)
    for at, resource in enumerate([*inputs.resources, *inputs.payloads]):
        try:
            applied.responses += await judged(bench, resource, beside, payload=at >= len(inputs.resources))
        except CustodyError as error:
            if not go_on:
                raise
            applied.failed.append((resource, error))
        if progress is not None:
            progress(1)


def read_resources(paths: Sequence[str], kinds: Kinds, standard_input: bytes | None = None) -> list[dict[str, Any]]:
    """Of files, folders (their *.yaml and *.yml, none below) and `-`. Raises UsageError, MalformedError."""
    made: list[dict[str, Any]] = []
    for text in paths:
        if text == "-" and standard_input is not None:
            made += resources(parsed(standard_input, "standard input"), "standard input", kinds)
            continue
        path = Path(text)
        inside = [path] if not path.is_dir() else [
            regular(file) for file in sorted(path.iterdir()) if file.suffix in (".yaml", ".yml")]
        for file in inside:
            made += resources(read(file), str(file), kinds)
    return made


def split(located: Sequence[tuple[str, Any]]) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """(policies, exceptions)"""
    apart = [(where, document) for where, document in located
             if isinstance(document, dict) and document.get("kind") == EXCEPTION]
    return [part for part in located if part not in apart], apart


def definitions(paths: Sequence[Path], kinds: Kinds) -> Kinds:
    """With the custom resources that these files and folders define."""
    crds = [(where, document) for where, document in loading.documents(loading.policy_files(paths)) if is_crd(document)]
    return kinds.with_crds([crd for _, crd in crds], [where for where, _ in crds]) if crds else kinds


def listed(applied: Applied, kinds: Kinds, *, clusterwide: bool) -> list[Any]:
    """The resources of a cluster of which some policy speaks, each once; `clusterwide`: those in no namespace alone."""
    chosen: dict[tuple[str, str, str], Any] = {}
    for tried in applied.loaded.policies:
        for rule in tried.policy.rules:
            for selector in rule.scope.selectors:
                for target in kinds.find(selector):
                    resource = target.resource
                    if target.subresource is None and not (clusterwide and resource.namespaced):
                        chosen.setdefault((resource.group, resource.version, resource.plural), resource)
    return list(chosen.values())


def named(resource: dict[str, Any]) -> str:
    """`namespace/Kind/name`, as the Kyverno CLI names what it tried."""
    metadata = resource.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    text = f"{fields.get('namespace') or ''}/{kind_of(resource).kind}/{fields.get('name') or ''}"
    return "JSON payload" if text == "//" else text
