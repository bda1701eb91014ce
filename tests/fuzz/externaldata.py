"""External data that nobody wrote, asked for by a real Gatekeeper and by custody.

`python -m tests.fuzz.externaldata COUNT [SEED]`: one provider answers both, over TLS. What a template is given
(`sprintf("%v", [external_data(…)])`) and what a mutator writes are compared word for word where the provider keeps to
the protocol. Where it lies, custody must have failed by name (docs/guides/gatekeeper.md); Gatekeeper's own reading of
that is counted apart. Keys are new in each case, so that nothing is kept.
"""

# ruff: noqa: E501 - documents in lines

from __future__ import annotations

import asyncio
import base64
import copy
import json
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.providers import ProviderClient, ProviderLookup
from custody.admission.judging import Judged, Judging
from custody.formats import jsonpatch
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Request
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.http import secured
from tests import apiserver
from tests.ports.test_providers import Place, standing
from tests.server.test_provider_served import environment

VALUES: tuple[Any, ...] = ("good", "", "bad", 1, 0, -2.5, 1e21, 2**53, True, False, None, [], {}, [1, "a", None],
                           {"b": 1, "a": {"c": []}}, "ü\n\"<&>", "x" * 300)
POLICIES = ("Fail", "Ignore", "UseDefault")
TEMPLATE = {"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": {"name": "shown"}, "spec": {
    "crd": {"spec": {"names": {"kind": "Shown"}}}, "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": """package shown
violation[{"msg": msg}] {
  keys := json.unmarshal(input.review.object.data.keys)
  msg := sprintf("%v", [external_data({"provider": "scan", "keys": keys})])
}"""}]}}
CONSTRAINT = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Shown", "metadata": {"name": "shown"},
              "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["ConfigMap"]}]}}}
MUTATORS = [{"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": policy.lower()}, "spec": {
    "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["ConfigMap"]}], "match": {"scope": "Namespaced"},
    "location": f"data.{policy}", "parameters": {
        "pathTests": [{"subPath": f"data.{policy}", "condition": "MustExist"}],
        "assign": {"externalData": {"provider": "scan", "failurePolicy": policy, **({"default": "instead"} if policy == "UseDefault" else {})}}}}}
    for policy in POLICIES]


class Author:
    """A case: keys, the provider's answer about them, and whether it keeps to the protocol."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def response(self, keys: list[str], *, texts: bool) -> tuple[int, Any, bool]:
        chance = self.random
        items: list[Any] = []
        for key in keys:
            item: dict[str, Any] = {"key": key}
            if chance.random() < 0.2:
                item["error"] = chance.choice(["unknown", "not found: ü", "a\nb"])
            elif chance.random() < 0.1:
                item["error"] = ""
            if chance.random() < 0.9:
                item["value"] = chance.choice(VALUES[:3] if texts and chance.random() < 0.7 else VALUES)
            items.append(item)
        chance.shuffle(items)
        said: dict[str, Any] = {"items": items}
        if chance.random() < 0.85:
            said["idempotent"] = chance.random() < 0.85
        system = chance.random() < 0.12
        if system:
            said["systemError"] = chance.choice(["down", "database: gone"])
            said["items"] = items[:chance.randrange(len(items) + 1)]
        body: Any = {"apiVersion": f"externaldata.gatekeeper.sh/{chance.choice(['v1beta1', 'v1alpha1'])}",
                     "kind": "ProviderResponse", "response": said}
        lie = chance.randrange(10) if chance.random() < 0.25 else -1
        if lie == 0:
            return 200, b"<html>", False
        if lie == 1:
            return chance.choice([403, 500, 302]), body, False
        if lie == 2 and not system:
            items.pop()
            return 200, body, False
        if lie == 3:
            said["items"].append({"key": "another", "value": "good"})
            return 200, body, False
        if lie == 4 and said["items"]:
            said["items"].append(copy.deepcopy(said["items"][0]))
            return 200, body, False
        if lie == 5:
            body["kind"] = "ProviderRequest"
            return 200, body, False
        if lie == 6:
            body["apiVersion"] = "v1"
            return 200, body, False
        return 200, body, True


class Gatekeeper:
    """Its webhook, asked as the API server asks it."""

    def __init__(self, url: str, authority: Path) -> None:
        self._base = url.partition("/v1/")[0]
        self._tls = ssl.create_default_context(cafile=str(authority))

    def review(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "fuzz", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "configmaps"}, "namespace": "default",
            "name": document["metadata"]["name"], "userInfo": {"username": "ann"}, "object": document}}
        request = urllib.request.Request(f"{self._base}/v1/{path}?timeout=10s", json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20, context=self._tls) as answer:
            response: dict[str, Any] = json.loads(answer.read())["response"]
            return response


def shown(gatekeeper: Gatekeeper, document: dict[str, Any]) -> str:
    said = gatekeeper.review("admit", document)
    return "allowed" if said["allowed"] else str(said["status"]["message"]).removeprefix("[shown] ")


def written(gatekeeper: Gatekeeper, document: dict[str, Any], policy: str) -> str:
    said = gatekeeper.review("mutate", document)
    if not said["allowed"]:
        return "denied"
    patch = json.loads(base64.b64decode(said["patch"])) if said.get("patch") else []
    return str(jsonpatch.apply(document, patch)["data"][policy])


async def judged(judging: Judging, policies: PolicySet, document: dict[str, Any]) -> Judged:
    return await judging.judge(Request.create(document), Snapshot(policies), Course.ADMISSION,
                               deadline=asyncio.get_running_loop().time() + 20)


async def compare(place: Place, gatekeeper: Gatekeeper, count: int, seed: int) -> Counter[str]:
    author, counts = Author(seed), Counter[str]()
    http = AiohttpHttp()
    provider = place.provider(timeout=10)
    templates, mutators = PolicySet.load([TEMPLATE, CONSTRAINT, provider]), PolicySet.load([*MUTATORS, provider])

    async def gather(*_: object) -> dict[str, Any]:
        return {}

    judging = Judging(gather, system_clock, ProviderLookup(ProviderClient(partial(secured, http), keep=0)))
    for at in range(count):
        mutates = author.random.random() < 0.4
        keys = [f"k{seed}-{at}-{number}" for number in range(1 if mutates else author.random.randrange(1, 4))]
        place.stand.status, place.stand.answer, honest = author.response(keys, texts=mutates)
        place.stand.headers = [(b"location", b"https://127.0.0.1:1/")] if place.stand.status == 302 else []
        policy = author.random.choice(POLICIES)
        data = {policy: keys[0]} if mutates else {"keys": json.dumps(keys)}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": data}
        if mutates:
            theirs = await asyncio.to_thread(written, gatekeeper, document, policy)
            decision = (await judged(judging, mutators, document)).decision
            ours = str(jsonpatch.apply(document, decision.patch)["data"][policy]) if decision.allowed else "denied"
        else:
            theirs = await asyncio.to_thread(shown, gatekeeper, document)
            decision = (await judged(judging, templates, document)).decision
            ours = "allowed" if decision.allowed else decision.results[0].message
        kind = "mutator" if mutates else "template"
        if honest:
            agree = ours == theirs
            counts[f"{kind}: {'same' if agree else 'DIFFERENT'}"] += 1
            if not agree:
                print(json.dumps({"case": at, "answer": place.stand.answer, "policy": policy, "custody": ours, "gatekeeper": theirs}))
            continue
        fallback = {"Fail": "denied", "Ignore": keys[0], "UseDefault": "instead"}[policy]
        failed = ours == fallback if mutates else '"status_code": 500' in ours and '"responses": []' in ours
        counts[f"{kind}, a lie: {'failed' if failed else 'BELIEVED'}{', as there' if ours == theirs else ''}"] += 1
        if not failed:
            print(json.dumps({"case": at, "status": place.stand.status, "answer": str(place.stand.answer), "custody": ours}))
    await http.close()
    return counts


def main(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with apiserver.running(folder), standing(folder / "stand") as place:
            script, env = apiserver.TOOLS / "gatekeeper-webhook", environment(folder)
            documents = folder / "documents"
            documents.mkdir()
            for at, document in enumerate([place.provider(timeout=10), TEMPLATE, CONSTRAINT, *MUTATORS]):
                (documents / f"{at}.yaml").write_text(yaml.safe_dump(document))
            try:
                started = subprocess.run([script, "start", folder, documents], env=env, capture_output=True, text=True,
                                         timeout=280, check=False)
                if started.returncode:
                    print(started.stderr, file=sys.stderr)
                    return 1
                time.sleep(3)  # until its caches have the provider
                gatekeeper = Gatekeeper(started.stdout.split()[0], folder / "gatekeeper-ca.crt")
                counts = asyncio.run(compare(place, gatekeeper, count, seed))
            finally:
                subprocess.run([script, "stop", folder], env=env, capture_output=True, timeout=60, check=False)
    print("\n".join(f"{counts[key]:6} {key}" for key in sorted(counts)))
    return int(any("DIFFERENT" in key or "BELIEVED" in key for key in counts))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
