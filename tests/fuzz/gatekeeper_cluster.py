"""`python -m tests.fuzz.gatekeeper_cluster [NAMESPACES] [OBJECTS]`: Gatekeeper and custody beside one API server.

Prints what both say otherwise of: namespaces drawn at random that carry its label or not (`/v1/admitlabel`); the lines
that an audit of so many objects exports to disk; and what Gatekeeper's statuses say of expansion templates that form a
cycle, and of a template that its constraints do not fit any more, before and after it is started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.exemption import LABEL, Exemption
from custody.admission.judging import Judging
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.admission import AdmissionApp
from custody.services.cluster import podstatus
from custody.services.controllers.audit import Audit
from custody.services.controllers.exporting import Exporting, Terms
from custody.wiring.admission import violations
from tests.admission.beside_gatekeeper import Gatekeeper, Json, constraints, gatekeeper, populated
from tests.admission.test_answers import posted
from tests.cluster.test_expansions import made
from tests.policy.gatekeeper.world import SCHEMA, constraint, template

_NAMES, _PREFIXES, _SUFFIXES = ("monitoring", "a"), ("kube-", "x"), ("-system", "9")
EXEMPT = Exemption(_NAMES, _PREFIXES, _SUFFIXES)


def namespaces(draw: random.Random, count: int) -> list[bytes]:
    bodies = []
    parts = ["monitoring", "kube-", "kube", "-system", "system", "a", "x", "9", "shop", "-"]
    for number in range(count):
        name = "".join(draw.choices(parts, k=draw.randrange(1, 4)))[:63]
        carried: Any = draw.choice([None, {}, {LABEL: ""}, {LABEL: "yes", "team": "a"}, {f"{LABEL}d": "x"},
                                    {"team": "a"}])
        operation = draw.choice(["CREATE", "UPDATE", "DELETE"])
        kind, group = draw.choice([("Namespace", "")] * 5 + [("Pod", ""), ("Namespace", "x.io")])
        document = {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind,
                    "metadata": {"name": name, **({} if carried is None else {"labels": carried})}}
        bodies.append(json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": str(number), "kind": {"group": group, "version": "v1", "kind": kind}, "operation": operation,
            "resource": {"group": group, "version": "v1", "resource": f"{kind.lower()}s"}, "name": name,
            "userInfo": {"username": "u"}, "object": None if operation == "DELETE" else document,
            "oldObject": document if operation == "DELETE" else None}}).encode())
    return bodies


def labels(controller: Gatekeeper, count: int) -> Counter[str]:
    said: Counter[str] = Counter()
    app = AdmissionApp()
    app.exemption = EXEMPT
    for body in namespaces(random.Random(5), count):
        theirs = controller.ask("/v1/admitlabel", body)
        ours = posted(app, body, path="/v1/admitlabel")[1]["response"]
        told = [(answer["allowed"], "" if answer["allowed"] else answer["status"]["message"])
                for answer in (theirs, ours)]
        said["namespaces allowed" if theirs["allowed"] else "namespaces refused"] += 1
        if told[0] != told[1]:
            said["namespaces of which both say otherwise"] += 1
            print(body.decode(), *told, sep="\n")
    return said


def exported(controller: Gatekeeper, documents: list[Json], count: int) -> Counter[str]:
    """The lines of the last audit of each, without its time."""
    said: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="hg-export-") as name:
        theirs, ours = Path(name) / "theirs", Path(name) / "ours"
        controller.kubectl("apply", "-f", "-", given=[_connection(theirs)])
        said["objects"] = populated(controller, count)
        told: list[list[str]] = []
        while len(told) < 2 or len(told[-1]) != len(told[-2]) or len(told[-1]) < 3:  # until it sees all
            whole = sorted(theirs.glob("audit-channel/*.log"))
            lengths = [path.read_text().splitlines() for path in whole[-2:]]
            told = lengths if len(lengths) > 1 else told
            time.sleep(2)
        print("layout", sorted(path.relative_to(theirs).as_posix() for path in theirs.rglob("*")))
        asyncio.run(_audit(controller, documents, ours))
        [mine] = ours.glob("audit-channel/*.log")
        lines = [[_timeless(line) for line in said_] for said_ in (told[-1], mine.read_text().splitlines())]
        said["lines of Gatekeeper"], said["lines of custody"] = map(len, lines)
        for side, (some, other) in (("Gatekeeper", lines), ("custody", lines[::-1])):
            left = Counter(some) - Counter(other)
            said[f"lines of {side} alone"] = sum(left.values())
            for line in list(left)[:3]:
                print(side, line)
        said["first and last lines alike"] = lines[0][::len(lines[0]) - 1] == lines[1][::len(lines[1]) - 1]
    return said


def _connection(path: Path) -> Json:
    return {"apiVersion": "connection.gatekeeper.sh/v1alpha1", "kind": "Connection",
            "metadata": {"name": "audit-connection", "namespace": "gatekeeper-system"},
            "spec": {"driver": "disk", "config": {"path": str(path), "maxAuditResults": 3}}}


def _timeless(line: str) -> str:
    begin, _, rest = line.partition('","')
    return f"{begin[:7]}{rest}"


async def _audit(controller: Gatekeeper, documents: list[Json], path: Path) -> None:
    access = of_kubeconfig(controller.kubeconfig)
    cluster = Cluster(access, AiohttpHttp(tls=access.tls))
    client, snapshot = ClusterClient(cluster), Snapshot(PolicySet.load(documents), None)
    replica = podstatus.Replica(podstatus.id_of("here_00000000", "custody", "custody"))
    exporting = Exporting(client, lambda _, channel, keep: violations(str(path), channel, keep), Terms(enabled=True),
                          lambda: replica)

    async def nothing(*_: Any) -> Json:
        return {}

    running = asyncio.create_task(exporting.run())
    await exporting._mirror.synced.wait()
    await Audit(client, Judging(nothing, system_clock, ClusterLookup(cluster)), lambda: snapshot, client.kinds,
                system_clock, share=0, exporting=exporting).once()
    running.cancel()
    await cluster.close()


def statuses(controller: Gatekeeper, *of: str) -> Any:
    found = json.loads(controller.kubectl("get", *of, "-o", "json"))
    return {document["metadata"]["name"]: [
        {key: value for key, value in entry.items() if key in ("enforced", "errors")}
        for entry in (document.get("status") or {}).get("byPod", [])] for document in found.get("items", [found])}


def cycle(controller: Gatekeeper) -> None:
    for document in (made("pods", "Deployment", "Pod"), made("back", "Pod", "Deployment"), made("apart", "Job", "Pod")):
        document["metadata"] = {"name": document["metadata"]["name"]}
        controller.kubectl("apply", "-f", "-", given=[document])
        time.sleep(3)
        print("expansion templates, after", document["metadata"]["name"], statuses(controller, "expansiontemplate"))
    controller.kubectl("delete", "expansiontemplate", "back")
    time.sleep(3)
    print("and without back", statuses(controller, "expansiontemplate"))


def misfit(controller: Gatekeeper) -> None:
    """A template loses the field that its constraint has, and the controller is started again."""
    documents = template(), constraint(match={"kinds": [{"apiGroups": [""], "kinds": ["Secret"]}]})
    controller.kubectl("apply", "-f", "-", given=[documents[0]])
    time.sleep(5)
    controller.kubectl("apply", "-f", "-", given=[documents[1]])
    time.sleep(5)

    def shown(when: str) -> None:
        print(when, statuses(controller, "constrainttemplate", "k8srequiredlabels"),
              statuses(controller, "k8srequiredlabels"))

    shown("constraint and template")
    lost = {**SCHEMA, "properties": {"labels": {"type": "string"}}}
    controller.kubectl("apply", "-f", "-", given=[template(schema=lost)])
    time.sleep(5)
    shown("the template changed")
    controller.stop()
    controller._run("start")
    time.sleep(8)
    shown("started again")


def main(names: int = 2000, objects: int = 400) -> None:
    templates, samples = constraints()
    Path("/tmp/audit").mkdir(exist_ok=True)  # where the controller keeps what it lists
    os.environ["GATEKEEPER_FLAGS"] = " ".join([
        "--operation=audit", "--audit-interval=10", "--enable-violation-export",
        *(f"--exempt-namespace={name}" for name in _NAMES),
        *(f"--exempt-namespace-prefix={name}" for name in _PREFIXES),
        *(f"--exempt-namespace-suffix={name}" for name in _SUFFIXES)])
    with gatekeeper(templates, samples) as controller:
        for said in (labels(controller, names), exported(controller, [*templates, *samples], objects)):
            for words, number in said.items():
                print(f"{number:>7} {words}")
        cycle(controller)
        misfit(controller)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
