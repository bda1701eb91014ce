"""`policy apply` beside `kyverno apply`: `python -m bench.admission.apply [PODS [OF THEM BY KYVERNO FOR CEL]]`.

By default 2,000 pods, all by both; Kyverno takes minutes for CEL: with fewer its time is that of those and of one,
and what it would be for all follows from the two.

Two sets of the oracle's policies: those of Pod Security as patterns (kyverno.io), and the sixteen of
policies.kyverno.io (CEL) by which `serving.py` serves. The same files, the same generated pods, `-p --output-format
json` by both, whole processes. Prints CPU and wall time, the ratio of CPU, and how many results (policy, rule, pod,
outcome, message) are the same; exit 1 where one differs. The order of the reasons in a message of podSecurity with
exclusions is Kyverno's at random, and not compared.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from bench.admission.review import cel_policies

ROOT = Path(__file__).parents[2]
ORACLES = Path(os.environ.get("CUSTODY_ORACLES", ROOT.parent / "shared" / "oracles"))
PEER = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "kyverno-next"


def pod(chance: random.Random, at: int) -> dict[str, Any]:
    """A pod that keeps some of Pod Security's rules and breaks others."""
    def maybe(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if chance.random() < 0.5}

    def security() -> dict[str, Any]:
        return maybe({"privileged": chance.random() < 0.3, "allowPrivilegeEscalation": chance.random() < 0.3,
                      "runAsNonRoot": chance.random() < 0.7, "runAsUser": chance.choice([0, 1, 1000]),
                      "capabilities": maybe({"drop": chance.choice([["ALL"], ["KILL"], []]),
                                             "add": chance.choice([["NET_ADMIN"], ["CHOWN"], ["NET_BIND_SERVICE"]])}),
                      "seccompProfile": {"type": chance.choice(["RuntimeDefault", "Unconfined", "Localhost"])},
                      "procMount": chance.choice(["Default", "Unmasked"])})

    containers = [{"name": f"c{n}", "image": "nginx:1.27", **maybe({"securityContext": security()}), **maybe(
        {"ports": [{"containerPort": 80, **maybe({"hostPort": 80})}]})} for n in range(chance.choice([1, 1, 2, 3]))]
    spec = {"containers": containers, **maybe({
        "hostNetwork": chance.random() < 0.5, "hostPID": chance.random() < 0.5, "securityContext": security(),
        "volumes": [chance.choice([{"name": "v", "emptyDir": {}}, {"name": "v", "hostPath": {"path": "/etc"}},
                                   {"name": "v", "nfs": {"server": "s", "path": "/"}}])],
        "initContainers": [{"name": "i", "image": "busybox:1", **maybe({"securityContext": security()})}]})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{at}", "namespace": "bench", **maybe(
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/c0": chance.choice(
            ["runtime/default", "unconfined"])}})}, "spec": spec}


def patterns(folder: Path = ORACLES / "kyverno-policies" / "pod-security") -> list[str]:
    files = []
    for file in sorted(folder.rglob("*.yaml")):
        if not any(part.startswith(".") for part in file.relative_to(folder).parts):
            document = yaml.safe_load(file.read_text())
            if isinstance(document, dict) and str(document.get("apiVersion", "")).startswith("kyverno.io/"):
                files.append(str(file))
    return files


def cel(folder: Path) -> list[str]:
    files = []
    for document in cel_policies():
        files.append(str(folder / f"{document['metadata']['name']}.yaml"))
        Path(files[-1]).write_text(yaml.safe_dump(document))
    return files


def ordered(message: str) -> str:
    """With its `(Forbidden reason: …)` in order."""
    head, *reasons = message.split("(Forbidden reason: ")
    return "(Forbidden reason: ".join([head, *sorted(reasons)])


def run(command: list[str]) -> tuple[float, float, Counter[tuple[str, ...]]]:
    """CPU and wall time in seconds, and the results."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    if report is None:
        sys.exit(f"{command[0]}: no report\n{done.stdout[:500]}\n{done.stderr[:2000]}")
    return took, wall, Counter((
        result["policy"], result.get("rule", ""), result["resources"][0]["name"], result["result"],
        ordered(result.get("message", ""))) for result in json.loads(report)["results"])


def main(count: int, of_cel: int) -> int:
    chance = random.Random(7)
    differ = False
    made = [pod(chance, at) for at in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        pods, fewer = Path(folder) / "pods.yaml", Path(folder) / "fewer.yaml"
        pods.write_text(yaml.dump_all(made, Dumper=yaml.CSafeDumper))
        for name, files in (("patterns", patterns()), ("CEL", cel(Path(folder)))):
            flags = ["-r", str(pods), "-p", "--output-format", "json"]
            took, wall, ours = run([sys.executable, "-m", "custody.cli.main", "policy", "apply", *files, *flags])
            part = of_cel if name == "CEL" else count
            fewer.write_text(yaml.dump_all(made[:part], Dumper=yaml.CSafeDumper))
            flags[1] = str(fewer)
            beside, beside_wall, theirs = run([str(PEER), "apply", *files, *flags])
            if part < count:
                names = {document["metadata"]["name"] for document in made[:part]}
                ours = Counter({result: times for result, times in ours.items() if result[2] in names})
                fewer.write_text(yaml.dump(made[0], Dumper=yaml.CSafeDumper))
                start, start_wall, _ = run([str(PEER), "apply", *files, *flags])
                beside, beside_wall = (start + (whole - start) * count / part for whole, start in (
                    (beside, start), (beside_wall, start_wall)))
            same = sum((ours & theirs).values())
            differ |= ours != theirs
            print(f"{name}: {len(files)} policies x {count} pods: CPU custody {took:.1f} s, kyverno {beside:.1f} s"
                  f"{'' if part == count else f' by {part} of them'}, {beside / took:.1f} x faster; wall {wall:.1f} s, "
                  f"{beside_wall:.1f} s; {same} of {sum(theirs.values())} results the same", flush=True)
            for lines, who in ((ours - theirs, "custody"), (theirs - ours, "kyverno")):
                for result in [*lines][:5]:
                    print(f"  only {who}: {' · '.join(result)[:300]}")
    return int(differ)


if __name__ == "__main__":
    pods_of_both = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    sys.exit(main(pods_of_both, min(int(sys.argv[2]) if len(sys.argv) > 2 else pods_of_both, pods_of_both)))
