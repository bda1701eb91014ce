"""Pod Security beside the API server's own plug-in: `python -m bench.admission.podsecurity [NAMESPACES [PODS]]`.

A real API server gets NAMESPACES namespaces of PODS pods, and one of 3,000. Then, in one run: what it takes to label
that one anew (the plug-in within its request; custody's rule, which lists the pods first), and to find out of all
namespaces what stops them (`kubectl label --dry-run=server --all`, one level; `policy podsecurity --cluster`, all
levels and templates). Best of five; the last line is the checks alone, in one process. Where the peer is not installed
it says so, and does that line.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.admission.beside_podsecurity import Custody, Peer, plugin, running
from tests.apiserver import AbsentError, program
from tests.fuzz.podsecurity import Draw, newest

from custody.policy.podsecurity import standard

CROWD = 3000
ROUNDS = 5
KEPT = 1.1  # seconds after which the cluster is asked again
PREFIX = "pod-security.kubernetes.io/"


def best(work: Callable[[], Any], *, rest: float = 0.0) -> float:
    """Milliseconds."""
    spent = []
    for _ in range(ROUNDS):
        time.sleep(rest)
        begun = time.perf_counter()
        work()
        spent.append((time.perf_counter() - begun) * 1e3)
    return min(spent)


def process(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and seconds of CPU of a whole process."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def populate(peer: Peer, sizes: dict[str, int]) -> None:
    """Of what is drawn, what the API server takes; five pods of one controller."""
    draw = Draw(1)
    for namespace, count in sizes.items():
        peer.put(namespace, {PREFIX + "enforce": "privileged"})
        made = 0
        while made < count:
            spec = draw.spec()
            spec.pop("runtimeClassName", None)
            for _ in range(5):
                owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w", "uid": f"{namespace}-{made // 5}",
                         "controller": True}
                reply = peer.ask("POST", f"/api/v1/namespaces/{namespace}/pods", {
                    "apiVersion": "v1", "kind": "Pod", "spec": spec,
                    "metadata": {"name": f"w-{made}", "ownerReferences": [owner]}})
                if reply.status != 201:
                    break
                made += 1


def beside(peer: Peer, namespaces: int, pods: int) -> None:
    populate(peer, {**{f"n{at}": pods for at in range(namespaces)}, "crowd": CROWD})
    time.sleep(2)  # the plug-in reads a watch
    custody = Custody(peer.kubeconfig)
    before = peer.ask("GET", "/api/v1/namespaces/crowd").body
    labels = {**before["metadata"]["labels"], PREFIX + "enforce": "restricted"}
    after = {**before, "metadata": {**before["metadata"], "labels": labels}}

    def plug_in() -> tuple[str, ...]:
        return plugin(peer.ask("PUT", "/api/v1/namespaces/crowd?dryRun=All", after)).warned

    def engine() -> tuple[str, ...]:
        return custody.judge("UPDATE", after, before=before).warned

    theirs, ours = plug_in(), engine()
    # Of more than 4,096 characters the API server cuts each warning.
    same = theirs == tuple(warning[:256] if sum(map(len, ours)) > 4096 else warning for warning in ours)
    print(f"labels of a namespace of {CROWD} pods: {len(theirs)} warnings, {'the same' if same else 'OTHERS'}")
    spent = best(plug_in), best(engine, rest=KEPT)
    custody.close()
    print(f"  plug-in {spent[0]:.0f} ms, custody {spent[1]:.0f} ms, most of it the list (x {spent[1] / spent[0]:.1f})")
    kubeconfig = ["--kubeconfig", str(peer.kubeconfig)]
    commands = {"kubectl label --all, one level": [
        program("kubectl"), *kubeconfig, "label", "--dry-run=server", "--overwrite", "namespaces", "--all",
        PREFIX + "enforce=restricted"],
        "custody policy podsecurity --cluster": [
            sys.executable, "-m", "custody.cli.main", "policy", "podsecurity", "--cluster", *kubeconfig]}
    print(f"all {namespaces + 1} namespaces, {namespaces * pods + CROWD} pods:")
    for title, command in commands.items():
        wall, cpu = min(process(command) for _ in range(ROUNDS))
        print(f"  {title}: {wall:.2f} s, {cpu:.2f} s of CPU")


def main(namespaces: int, pods: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}")
    try:
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as peer:
            standard.LATEST = newest(peer)
            beside(peer, namespaces, pods)
    except AbsentError as absent:
        print(absent)
    draw = Draw(2)
    drawn = [draw.spec() for _ in range(1000)]
    spent = best(lambda: [standard.evaluate(spec, {}, "restricted") for spec in drawn])
    print(f"restricted:latest: {spent:.0f} µs a pod")


if __name__ == "__main__":
    main(*(int(argument) for argument in [*sys.argv[1:], *("30", "100")[len(sys.argv) - 1:]]))
