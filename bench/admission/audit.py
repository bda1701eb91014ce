"""An audit of constraints: 200 of the library's over 5,000 objects, one process, without a cluster.

    python bench/admission/audit.py LIBRARY [CONSTRAINTS] [OBJECTS] [distinct]

LIBRARY is the folder `library` of gatekeeper-library. Its sample constraints are taken again and again under other
names until there are enough of them; those that read the inventory are left out.
"""

from __future__ import annotations

import asyncio
import copy
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from custody.admission.judging import Judging
from custody.kit.clock import system_clock
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import Listing
from custody.services.controllers.audit import Audit

Json = dict[str, Any]


def policies(library: Path, count: int, *, distinct: bool = False) -> list[Json]:
    """Templates, and so many constraints; `distinct`: no two have the same parameters, where an image may be exempt."""
    templates: dict[str, Json] = {}
    samples: list[Json] = []
    for path in sorted(library.rglob("template.yaml")):
        template = yaml.safe_load(path.read_text())
        if "data.inventory" in path.read_text():
            continue
        templates[template["spec"]["crd"]["spec"]["names"]["kind"]] = template
        samples += [yaml.safe_load(sample.read_text()) for sample in sorted(path.parent.rglob("constraint.yaml"))]
    usable = [sample for sample in samples if sample["kind"] in templates]
    constraints = [{**copy.deepcopy(sample), "metadata": {"name": f"c{number}-{sample['metadata']['name']}"[:63]}}
                   for number, sample in zip(range(count), cycle(usable), strict=False)]
    for number, constraint in enumerate(constraints if distinct else ()):
        validation = templates[constraint["kind"]]["spec"]["crd"]["spec"].get("validation") or {}
        if "exemptImages" in ((validation.get("openAPIV3Schema") or {}).get("properties") or {}):
            parameters = constraint["spec"].setdefault("parameters", {})
            parameters["exemptImages"] = [*parameters.get("exemptImages", []), f"nobody/{number}"]
    return [*templates.values(), *constraints]


def objects(count: int) -> Iterator[Json]:
    """Six pods of ten, two Deployments, one Service and one ConfigMap; one pod in eight is bad."""
    draw = random.Random(1)
    for number in range(count):
        kind = draw.choices(["Pod", "Deployment", "Service", "ConfigMap"], [6, 2, 1, 1])[0]
        metadata = {"name": f"{kind.lower()}-{number}", "namespace": f"team-{number % 50}", "uid": str(number),
                    "labels": {"app": f"web-{number % 70}", "owner": "me.agilebank.demo"}}
        container: Json = {"name": "web", "image": f"openpolicyagent/web:{number}", "ports": [{"containerPort": 8080}],
                           "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
                           "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False,
                                               "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}}
        spec: Json = {"containers": [container, {**container, "name": "side"}], "securityContext": {"runAsUser": 1000}}
        if draw.random() < 0.125:
            container["securityContext"] = {"privileged": True}
            spec["hostPID"] = True
        body = {"Pod": {"spec": spec}, "Service": {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}},
                "ConfigMap": {"data": {"a": "b"}}, "Deployment": {"spec": {"replicas": 2, "template": {
                    "metadata": {"labels": metadata["labels"]}, "spec": spec}}}}[kind]
        yield {"apiVersion": "apps/v1" if kind == "Deployment" else "v1", "kind": kind, "metadata": metadata, **body}


class Population:
    """A cluster that has these objects, and takes statuses."""

    def __init__(self, documents: list[Json]) -> None:
        self._documents = documents
        self.statuses: dict[tuple[str, str], Json] = {}

    async def pages(self, served: Any, *_: Any, **__: Any) -> AsyncIterator[Listing]:
        kind = [document for document in self._documents if document["kind"] == served.kind]
        for at in range(0, len(kind), 500):
            yield Listing(kind[at:at + 500], "1")

    async def resource(self, _api_version: str, kind: str) -> str:
        return kind

    async def patch(self, kind: str, name: str, _namespace: str, patch: Json, **_: Any) -> None:
        self.statuses[kind, name] = patch["status"]


async def nothing(*_: Any) -> dict[str, Any]:
    return {}


async def main(library: Path, constraints: int = 200, count: int = 5000, *, distinct: bool = False) -> None:
    loaded = PolicySet.load(policies(library, constraints, distinct=distinct))
    cluster = Population(list(objects(count)))
    snapshot = Snapshot(loaded, None)

    async def kinds() -> Any:
        return builtin()

    audit = Audit(cluster, Judging(nothing, system_clock), lambda: snapshot, kinds,  # type: ignore[arg-type]
                  system_clock, share=0)
    for turn in range(2):
        begun, used = time.perf_counter(), time.process_time()
        await audit.once()
        took, cpu = time.perf_counter() - begun, time.process_time() - used
        total = sum(status["totalViolations"] for status in cluster.statuses.values())
        print(f"{len(cluster.statuses)} constraints, {audit.judged} objects: {took:.1f} s ({cpu:.1f} s CPU), "
              f"{total} violations{', once more' if turn else ''}")
        audit.judged = 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:] if argument.isdigit()]
    asyncio.run(main(Path(sys.argv[1]), *numbers, distinct="distinct" in sys.argv))
