"""Random `podSecurity` with exclusions, migrated: `python -m tests.fuzz.migrated_standards [POLICIES] [SEED]`.

For each one migration itself asks the old policy and the new one about generated pods; what is counted is what became
of the policies. A refusal by name is right; a counter-example is wrong, though it is no policy that anybody gets.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

from custody.errors import CustodyError
from custody.policy.kinds import builtin
from custody.policy.kyverno.podsecurity import CONTAINER_LEVEL, CONTROLS, POD_LEVEL, RESTRICTED
from custody.policy.migrate.rules import migrate

_FIELDS = {
    "Capabilities": ["securityContext.capabilities.add", "securityContext.capabilities.drop"],
    "Seccomp": ["securityContext.seccompProfile.type"], "Privileged Containers": ["securityContext.privileged"],
    "Host Ports": ["ports[*].hostPort"], "/proc Mount Type": ["securityContext.procMount"],
    "HostProcess": ["securityContext.windowsOptions.hostProcess"],
    "SELinux": ["securityContext.seLinuxOptions.type", "securityContext.seLinuxOptions.user"],
    "Host Namespaces": ["hostPID", "hostNetwork"], "HostPath Volumes": ["volumes[*].hostPath"],
    "Sysctls": ["securityContext.sysctls[*].name"], "AppArmor": ["securityContext.appArmorProfile.type"],
    "Privilege Escalation": ["securityContext.allowPrivilegeEscalation"],
    "Running as Non-root": ["securityContext.runAsNonRoot"], "Running as Non-root user": ["securityContext.runAsUser"],
    "Volume Types": ["volumes[*].nfs", "volumes[*].hostPath"]}
_VALUES = ("true", "false", "80", "0", "CHOWN", "NET_*", "Unconfined", "spc_t", "/var*", "kernel.*", "Unmasked", "nil")
_KINDS = (["Pod"], ["Pod"], ["Pod"], ["Deployment"], ["CronJob"], ["Pod", "Deployment"], ["StatefulSet", "CronJob"])


def policy(of: random.Random) -> dict[str, Any]:
    level = of.choice(("baseline", "restricted"))
    controls = [control for control in CONTROLS if level == "restricted" or control not in RESTRICTED]
    excluded = [_exclusion(of, of.choice(controls)) for _ in range(of.choice((0, 1, 1, 2, 3)))]
    block: dict[str, Any] = {"level": level, "version": of.choice(("latest", "v1.34", "v1.30", "v1.24", "v1.18"))}
    block |= {"exclude": excluded} if excluded else {}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": of.choice(("Enforce", "Audit")), "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": of.choice(_KINDS)}}]},
            "validate": {"podSecurity": block}}]}}


def _exclusion(of: random.Random, control: str) -> dict[str, Any]:
    pictured = control in CONTAINER_LEVEL or (control not in POD_LEVEL and of.random() < 0.5)
    made: dict[str, Any] = {"controlName": control}
    if pictured:
        made["images"] = of.choice((["*"], ["nginx*"], ["*"], ["registry.example.com/*", "ghcr.io/org/?"]))
    if of.random() < 0.4:
        place = of.choice(("containers[*].", "containers[*].", "initContainers[*].")) if pictured else ""
        made["restrictedField"] = f"spec.{place}{of.choice(_FIELDS[control])}"
        made["values"] = of.sample(_VALUES, of.choice((1, 2, 12)))
    return made


def main(count: int, seed: int) -> int:
    of = random.Random(seed)
    total: Counter[str] = Counter()
    kinds = builtin()
    for _ in range(count):
        document = policy(of)
        try:
            (rule,) = migrate(document, kinds, count=60)
        except CustodyError as error:
            total[f"does not load: {error.message[:60]}"] += 1
            continue
        total["requests"] += rule.asked
        if rule.difference is not None:
            total["different"] += 1
            print(document["spec"]["rules"][0]["match"], document["spec"]["rules"][0]["validate"])
            print("   ", str(rule.refused)[:900], rule.difference.messages)
        else:
            total["migrated" if rule.refused is None else f"refused: {rule.refused.message[:90]}"] += 1
    for word, times in total.most_common():
        print(times, word)
    return 1 if total["different"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
