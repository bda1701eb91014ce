"""Kept decisions made again by other policies: `python -m bench.admission.replay [COUNT]`, seconds of one core.

Four histories: one pod again and again; pods and Deployments of 200 apps, each released 15 times and one in eight bad;
those by policies whose messages name the object; and the same apps where no two objects have in common what rules read.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from bench.admission.webhook import TOOLS, pss

from custody.adapters.sqlite.decisions import SqliteDecisions
from custody.admission.webhook import Admission
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.decisions import DecisionSearch
from custody.services.decisions import DecisionKeeper, Tally, replayed

NOW = datetime(2026, 11, 24, tzinfo=UTC)
_APPS, _RELEASES = 200, 15
_NAMED = "{{ request.object.metadata.name }} in {{ request.namespace }}: "
Requests = Iterator[dict[str, Any]]


class Apps:
    """Requests of 200 apps, whose pods have names, hashes, labels, images and settings of their own."""

    def __init__(self, pod: dict[str, Any], *, alike: bool) -> None:
        """`alike`: whether pods of an app have their security settings in common."""
        self._random = random.Random(1)
        self._pod, self._alike = pod, alike
        self._apps = [self._app(number) for number in range(_APPS)]

    def _app(self, number: int) -> dict[str, Any]:
        draw = self._random
        pod = copy.deepcopy(self._pod)
        spec, metadata = pod["object"]["spec"], pod["object"]["metadata"]
        labels = {f"label-{draw.randrange(50)}": f"{draw.getrandbits(32):x}" for _ in range(draw.randrange(1, 8))}
        metadata["labels"] = {"app.kubernetes.io/name": f"app-{number}", "team": f"team-{draw.randrange(20)}", **labels}
        metadata["annotations"]["checksum/config"] = f"{draw.getrandbits(256):x}"
        del spec["containers"][draw.randrange(1, 4):]
        for container in spec["containers"]:
            container["image"] = f"registry.example.com/team/{number}:{draw.randrange(9)}"
            container["env"] += [{"name": f"VALUE_{at}", "value": f"{draw.getrandbits(64):x}"}
                                 for at in range(draw.randrange(12))]
            context = container["securityContext"]
            context["runAsUser"] = draw.randrange(1000, 1010)
            if draw.random() < 0.5:
                del context["seccompProfile"]
            if draw.random() < 0.3:
                context["capabilities"]["add"] = ["NET_BIND_SERVICE"]
        if draw.random() < 0.5:
            spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": f"data-{number}"}})
        if number % 8 == 0:
            draw.choice(spec["containers"])["securityContext"].update(
                draw.choice(({"privileged": True}, {"allowPrivilegeEscalation": True}, {"capabilities": {}})))
        pod["namespace"] = metadata["namespace"] = f"namespace-{draw.randrange(40)}"
        return pod

    def __call__(self, count: int) -> Requests:
        draw = self._random
        for number in range(count):
            request = copy.deepcopy(draw.choice(self._apps))
            document = request["object"]
            name = document["metadata"]["labels"]["app.kubernetes.io/name"]
            for container in document["spec"]["containers"]:
                container["image"] += f".{number * _RELEASES // count}"
                if not self._alike:
                    container["securityContext"]["runAsUser"] = draw.getrandbits(31)
            token = f"kube-api-access-{draw.getrandbits(25):x}"
            document["spec"]["volumes"].append({"name": token, "projected": {"sources": []}})
            for container in document["spec"]["containers"]:
                container["volumeMounts"].append({"name": token, "mountPath": "/var/run/secrets", "readOnly": True})
            if number % 10 == 0:
                request = _deployment(request, draw.randrange(1, 20))
            else:
                document["metadata"]["labels"]["pod-template-hash"] = f"{draw.getrandbits(40):x}"
                name = f"{name}-{draw.getrandbits(40):x}"
            request["name"] = request["object"]["metadata"]["name"] = name
            request["object"]["metadata"]["uid"] = f"{draw.getrandbits(128):x}"
            yield {**request, "uid": f"u-{number}"}


def _deployment(request: dict[str, Any], replicas: int) -> dict[str, Any]:
    pod = request["object"]
    metadata = dict(pod["metadata"])
    kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
    resource = {"group": "apps", "version": "v1", "resource": "deployments"}
    return {**request, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource, "object": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"team": metadata["labels"]["team"]}},
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod["spec"]}}}}


def _one_pod(pod: dict[str, Any]) -> Callable[[int], Requests]:
    return lambda count: ({**pod, "uid": f"u-{number}"} for number in range(count))


def _named(policies: list[Path]) -> PolicySet:
    """The same policies with messages that name the object."""
    documents = [yaml.safe_load(file.read_text()) for file in policies]
    for document in documents:
        for rule in document["spec"]["rules"]:
            if "podSecurity" not in rule["validate"]:
                rule["validate"]["message"] = _NAMED + rule["validate"].get("message", "")
    return PolicySet(documents)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = pss(folder)
        policies = PolicySet.load(files)
        review = json.loads(subprocess.run([sys.executable, TOOLS / "admission-load", "body"], capture_output=True,
                                           check=True).stdout)
        pod = review["request"]
        print(f"{count} decisions, {len(policies.policies)} policies")
        for title, requests, judging in (
                ("one pod", _one_pod(pod), policies),
                ("200 apps", Apps(pod, alike=True), policies),
                ("200 apps, messages name the object", Apps(pod, alike=True), _named(files)),
                ("nothing in common", Apps(pod, alike=False), policies)):
            _measure(title, folder / "decisions.db", requests, judging, review, count)


def _measure(title: str, database: Path, requests: Callable[[int], Requests], policies: PolicySet,
             review: dict[str, Any], count: int) -> None:
    store = SqliteDecisions(database)
    keeper = DecisionKeeper(store, lambda: NOW, 7, 8 << 30)

    async def nothing(_: Snapshot, __: list[str]) -> Mapping[str, EvidenceSet]:
        return {}

    admission, spent = Admission(policies, nothing, lambda: NOW, observer=keeper), 0.0

    async def ask() -> None:
        nonlocal spent
        for number, request in enumerate(requests(count)):
            body = json.dumps({**review, "request": request}).encode()
            begun = time.process_time()
            await admission.review(body)
            if number % 200 == 0:
                keeper.flush()
            spent += time.process_time() - begun

    asyncio.run(ask())
    keeper.close()
    size = database.stat().st_size
    begun, tally = time.process_time(), Tally()
    for repeated in replayed(store, DecisionSearch(since=datetime(2026, 1, 1, tzinfo=UTC)), policies):
        tally.add(repeated)
    again = time.process_time() - begun
    print(f"{title}: {spent / count * 1e6:.0f} µs CPU a review with keeping, {size / count:.0f} bytes; {tally.same} as "
          f"before, {sum(map(len, tally.changed.values()))} otherwise, {len(tally.unknown)} not known: "
          f"{again / count * 1e6:.0f} µs CPU each, {again / count * 1e5:.1f} s for 100,000", flush=True)
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


if __name__ == "__main__":
    main()
