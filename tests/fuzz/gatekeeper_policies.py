"""`python -m tests.fuzz.gatekeeper_policies KUBECONFIG POLICIES COUNT [SEED]`: generated pods, asked of an API server.

POLICIES are templates in CEL with their constraints, whose kinds the server serves. In it stand admission policies made
of them, by custody (`policy vap`) or by Gatekeeper itself; each pod is created as a dry run. Prints each that the
server answers otherwise than custody's evaluation of the constraints.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from bench.admission.apply import pod as made

from custody.cli.policy_equivalent import searching
from custody.policy.kinds import builtin
from custody.policy.load import gathered, unwrapped
from custody.policy.model import Kind, Request, Resource, User

Json = dict[str, Any]
_NAMESPACES = ("default", "shop", "kube-system")


class Server:
    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as file:
            file.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            file.flush()
            context.load_cert_chain(file.name)
        self._connection = http.client.HTTPSConnection(cluster["server"].removeprefix("https://"), context=context)

    def ask(self, verb: str, path: str, body: Json) -> tuple[int, Json]:
        self._connection.request(verb, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


def main(kubeconfig: Path, folder: Path, count: int, seed: int) -> int:
    documents = [document for _, document in unwrapped(*gathered([folder]))[0]]
    server = Server(kubeconfig)
    for name in _NAMESPACES:
        server.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    search = searching(documents, documents, builtin(), [], ("CREATE",))
    chance = random.Random(seed)
    denied = different = refused = asked = 0
    at = 0
    while asked < count:
        at += 1
        pod = made(chance, at)
        namespace = pod["metadata"]["namespace"] = _NAMESPACES[at % len(_NAMESPACES)]
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Ignore"
        status, answer = server.ask("POST", path, pod)
        message = str(answer.get("message"))
        judged = "ValidatingAdmissionPolicy" in message
        if status not in (200, 201) and not judged:
            refused += 1  # no pod that the server takes
            continue
        asked += 1
        # With the server's defaults, which its policies see: of what it did not take, they are not known.
        document = answer if status in (200, 201) else pod
        verdict = search.verdicts(Request(
            operation="CREATE", kind=Kind("Pod", "v1", ""), resource=Resource("pods", "v1", ""), namespace=namespace,
            name=pod["metadata"]["name"], object=document, user=User(username="admin")))[0]
        denied += judged
        if verdict.denied != judged:
            different += 1
            print(f"--- {at} (seed {seed})\n{json.dumps(pod)}\nserver  {status} {message[:500]}\ncustody {verdict}")
    print(f"{asked} pods, {denied} denied by the server's policies, {refused} that it does not take, "
          f"{different} different")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1))
