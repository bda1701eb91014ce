"""ClusterImagePolicies that nobody wrote, judged by sigstore's policy-tester and by custody over one registry.

`python -m tests.fuzz.clusterimage TESTER COUNT [SEED]`: TESTER is what policy-controller's `cmd/tester` builds. Real
registry, cosign signs; policies are globs, several authorities of keys and static ones, attestations, logs or none, and
Rego over what was verified.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import CustodyError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.registry.client import RegistryClient
from custody.services.check import check
from custody.services.gather import Gatherer
from tests.fuzz.imageverification import TYPES, Shop, pod, registry

_ATTESTED = """package sigstore
default isCompliant = false
isCompliant {{ input.predicateType == "{kind}"; input.predicate.{field} {operator} {value} }}
"""
_SET = """package sigstore
isCompliant[response] {{
  result := input.predicate.level {operator} {value}
  response := {{"result": result, "error": "level", "warning": ""}}
}}
"""
_WHOLE = """package sigstore
default isCompliant = false
isCompliant {{ {condition} }}
"""
_CONDITIONS = ("count(input.authorityMatches) == 1", "count(input.authorityMatches) > 1",
               'input.authorityMatches["a0"]', 'input.authorityMatches["a1"].static',
               'count(input.authorityMatches["a0"].signatures) > 0',
               'count(input.authorityMatches["a0"].attestations.x0) == 1', 'input.spec.containers[0].name == "c"',
               'input.metadata.name == "p"', 'input.typemeta.kind == "Pod"')


class Author:
    """Writes policies."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)

    def policy(self) -> dict[str, Any]:
        pick, host = self.random, self.shop.host
        spec: dict[str, Any] = {
            "images": [{"glob": glob} for glob in pick.sample(
                [f"{host}/*", f"{host}/**", "**", f"{host}/app@*", f"{host}/app**", "*", "quay.io/**", f"{host}/app"],
                pick.choice([1, 1, 2]))],
            "authorities": [self._authority(at) for at in range(pick.choice([1, 1, 2, 3]))]}
        if pick.random() < 0.15:
            spec["mode"] = pick.choice(["warn", "enforce"])
        if pick.random() < 0.35:
            spec["policy"] = {"type": "rego", "data": _WHOLE.format(condition=pick.choice(_CONDITIONS)),
                              **{name: True for name in ("includeSpec", "includeObjectMeta", "includeTypeMeta")
                                 if pick.random() < 0.7}}
        return {"apiVersion": pick.choice(["policy.sigstore.dev/v1beta1", "policy.sigstore.dev/v1alpha1"]),
                "kind": "ClusterImagePolicy", "metadata": {"name": "p"}, "spec": spec}

    def _authority(self, at: int) -> dict[str, Any]:
        pick = self.random
        name = {"name": f"a{at}"} if pick.random() < 0.8 else {}
        if pick.random() < 0.15:
            return {**name, "static": {"action": pick.choice(["pass", "fail"])}}
        said: dict[str, Any] = {**name, "key": {"data": pick.choice([*self.shop.keys.values()])}}
        if pick.random() < 0.1:
            said["key"]["hashAlgorithm"] = pick.choice(["sha256", "sha512"])
        if pick.random() < 0.3:
            said["ctlog"] = {}
        if pick.random() < 0.1:
            said["source"] = [{"oci": f"{self.shop.host}/{pick.choice(['app', 'elsewhere'])}"}]
        if pick.random() < 0.45:
            said["attestations"] = [self._attestation(number) for number in range(pick.choice([1, 1, 2]))]
        return said

    def _attestation(self, number: int) -> dict[str, Any]:
        pick, kind = self.random, self.random.choice(TYPES)
        said: dict[str, Any] = {"name": f"x{number}", "predicateType": kind}
        if pick.random() < 0.7:
            operator, value = pick.choice(["<", "==", ">="]), pick.choice([1, 2, 3])
            text = _ATTESTED if pick.random() < 0.6 else _SET
            said["policy"] = {"type": "rego", "data": text.format(kind=kind, field="level", operator=operator,
                                                                  value=value)}
        return said


def theirs(tester: str, shop: Shop, policy: dict[str, Any], image: str) -> tuple[str, str]:
    (shop.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    (shop.folder / "pod.yaml").write_text(yaml.safe_dump(pod(image)))
    done = subprocess.run([tester, "-policy", "policy.yaml", "-image", image, "-resource", "pod.yaml",
                           "-log-level", "error"], capture_output=True, text=True, cwd=shop.folder, env=shop.env,
                          timeout=120)
    if done.returncode == 0:
        return "allowed", done.stdout
    try:
        said = "; ".join(json.loads(done.stdout)["errors"] or ())
    except (ValueError, KeyError):
        return "refused", done.stderr[-300:]
    return ("silent" if "uncovered by policy" in said else "denied"), said


async def ours(policy: dict[str, Any], image: str) -> tuple[str, str]:
    try:
        policies = PolicySet([policy])
    except CustodyError as error:
        return "refused", error.message
    async with RegistryClient(StdlibHttp()) as client:
        decision = (await check(pod(image), policies, Gatherer(client, None, system_clock, keep=300),
                                system_clock)).decision
    outcomes = {str(result.outcome) for result in decision.results}
    verdict = "silent" if not outcomes else "denied" if not decision.allowed else "allowed"
    return verdict, "; ".join(result.message for result in decision.results)


def main(tester: str, count: int, seed: int) -> int:
    differences = judged = refused = 0
    verdicts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, registry(Path(name)) as host:
        shop = Shop(Path(name), host)
        shop.fill()
        author = Author(shop, seed)
        digests = {tag: shop.run("crane", "digest", "--insecure", f"{host}/app:{tag}").strip()
                   for tag in ("both", "second", "none")}
        for number in range(count):
            policy, tag = author.policy(), ("both", "second", "none")[number % 3]
            image = f"{host}/app@{digests[tag]}"
            peer, own = theirs(tester, shop, policy, image), asyncio.run(ours(policy, image))
            judged += 1
            verdicts[peer[0]] = verdicts.get(peer[0], 0) + 1
            refused += own[0] == "refused"
            if peer[0] != own[0]:
                differences += 1
                shown = json.dumps(policy["spec"])
                for called, pem in shop.keys.items():
                    shown = shown.replace(json.dumps(pem), f"<{called}>")
                print(f"{tag}: policy-tester {peer}\n  custody {own}\n  {shown}\n")
    print(f"{judged} policies ({verdicts}, {refused} refused by custody), {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
