"""Image policies that nobody wrote, judged by Kyverno's command line and by custody over one registry.

`python -m tests.fuzz.imageverification COUNT [SEED]`: real registry, cosign and notation sign; policies are attestor
sets, counts, nested attestors, certificates, annotations, attestations with conditions, a rule's context and what is
denied of them, other repositories, OCI 1.1 artifacts, and both of Kyverno's kinds.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import oci, reference
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.registry.client import RegistryClient
from custody.services.check import check
from custody.services.gather import Gatherer
from tests.apiserver import PEERS
from tests.sign.authority import certificate

TYPES = ("https://example.com/scan/v1", "https://example.com/review/v1")
NO_LOG = {"rekor": {"ignoreTlog": True, "url": "https://rekor.sigstore.dev"}, "ctlog": {"ignoreSCT": True}}


TAGS = ("both", "second", "none", "cert", "acme", "other", "away", "artifact")


class Shop:
    """A registry with images, and who signed them."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host = folder, host
        self.keys: dict[str, str] = {}
        self.certificates: dict[str, tuple[str, str]] = {}
        self.notaries: dict[str, str] = {}
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config"),
                    "COSIGN_PASSWORD": "x", "SIGSTORE_NO_CACHE": "1"}

    def run(self, program: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run([str(PEERS / program), *arguments], capture_output=True, text=True, cwd=self.folder,
                              env=self.env | environment, timeout=300)
        if done.returncode and program != "kyverno-next":
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def push(self, tag: str) -> str:
        async def store() -> str:
            ref = reference.parse(f"{self.host}/app:{tag}")
            async with RegistryClient(StdlibHttp()) as client:
                config = await client.push_blob(ref, b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers",'
                                                     b'"diff_ids":[]}}')
                layer = await client.push_blob(ref, tag.encode())
                manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                        (oci.Descriptor(oci.LAYER_GZIP, layer.digest, layer.size),))
                pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag=tag)
                return f"{ref.name}@{pushed.digest}"

        return asyncio.run(store())

    def fill(self) -> None:
        for name in ("one", "two", "three"):
            self.run("cosign-v3", "generate-key-pair", "--output-key-prefix", name)
            self.keys[name] = (self.folder / f"{name}.pub").read_text()
        images = {tag: self.push(tag) for tag in TAGS}
        old = ("--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=false", "-y")
        self.run("cosign-v3", "sign", "--key", "one.key", "-a", "env=prod", *old, images["both"])
        for image in ("both", "second"):
            self.run("cosign-v3", "sign", "--key", "two.key", *old, images[image])
        self.run("cosign-v3", "sign", "--key", "one.key", *old, images["away"],
                 COSIGN_REPOSITORY=f"{self.host}/signatures")
        self.run("cosign-v3", "sign", "--key", "two.key", "--registry-referrers-mode=oci-1-1", *old, images["artifact"],
                 COSIGN_EXPERIMENTAL="1")
        for at, (image, who, kind, level) in enumerate((
                ("both", "one", TYPES[0], 1), ("both", "two", TYPES[1], 2), ("second", "two", TYPES[0], 3))):
            (self.folder / f"{at}.json").write_text(json.dumps({"level": level, "by": who, "found": ["a"] * level}))
            self.run("cosign-v3", "attest", "--key", f"{who}.key", "--predicate", f"{at}.json", "--type", kind, *old,
                     images[image])
        for name in ("acme", "globex"):
            self._authority(name)
        self.run("cosign-v3", "sign", "--key", "acme.key", "--certificate", "acme.crt", "--certificate-chain",
                 "acme.chain", *old, images["cert"])
        for name, image, form in (("acme.example", "acme", "jws"), ("globex.example", "other", "cose")):
            self.run("notation", "certificate", "generate-test", name)
            self.run("notation", "sign", "--insecure-registry", "--signature-format", form, "--key", name,
                     images[image])
            self.notaries[name] = (self.folder / f".config/notation/localkeys/{name}.crt").read_text()

    def _authority(self, name: str) -> None:
        now = system_clock()
        span = {"start": now - timedelta(days=1), "end": now + timedelta(days=30)}
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = certificate(root_key, None, name=f"{name} root", ca=True, **span)
        leaf = certificate(key, (root, root_key), name=name, usages=[Usage.CODE_SIGNING], **span)
        pem, chain = (part.public_bytes(Encoding.PEM).decode() for part in (leaf, root))
        (self.folder / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (self.folder / f"{name}.crt").write_text(pem)
        (self.folder / f"{name}.chain").write_text(chain)
        self.run("cosign-v3", "import-key-pair", "--key", f"{name}.pem", "--output-key-prefix", name, "-y")
        self.certificates[name] = (pem, chain)


class Author:
    """Writes policies."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)

    def policy(self, name: str) -> dict[str, Any]:
        return self._image_policy(name) if self.random.random() < 0.3 else self._cluster_policy(name)

    def _cluster_policy(self, name: str) -> dict[str, Any]:
        pick = self.random
        entry: dict[str, Any] = {"imageReferences": [pick.choice([f"{self.shop.host}/*", f"{self.shop.host}/app*",
                                                                  "*"])], "mutateDigest": True}
        if pick.random() < 0.2:
            entry |= {"type": "Notary", "attestors": [self._set(self._notary)]}
        elif pick.random() < 0.35:
            entry["attestations"] = [self._attestation() for _ in range(pick.choice([1, 1, 2]))]
        else:
            entry["attestors"] = [self._set(self._cosign) for _ in range(pick.choice([1, 1, 2]))]
        if pick.random() < 0.2:
            entry["repository"] = f"{self.shop.host}/{pick.choice(['signatures', 'signatures', 'app'])}"
        if pick.random() < 0.2 and entry.get("type") != "Notary":
            entry["cosignOCI11"] = True
        if pick.random() < 0.1:
            entry["imageRegistryCredentials"] = {"allowInsecureRegistry": True}
        if pick.random() < 0.1:
            entry["required"] = False
        rule: dict[str, Any] = {}
        if "attestations" in entry:
            rule = self._spoken_of(entry)
        if pick.random() < 0.1 and entry.get("type") != "Notary":  # Kyverno does not look at them there
            entry["annotations"] = {"env": pick.choice(["prod", "test"])}
        if pick.random() < 0.1:
            entry["skipImageReferences"] = [f"{self.shop.host}/app:{pick.choice(['none', 'both', '*'])}"]
        return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
            "name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}}, "spec": {
            "validationFailureAction": "Enforce", "webhookTimeoutSeconds": 30, "rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, **rule,
                "verifyImages": [entry]}]}}

    def _spoken_of(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A rule's context, and conditions of the entry that speak of it."""
        pick = self.random
        first = entry["attestations"][0]
        if pick.random() < 0.4:
            first["conditions"] = [{"all": [{"key": "{{ level }}", "operator": pick.choice(["Equals", "LessThan"]),
                                             "value": "{{ most }}"}]}]
        if pick.random() < 0.4:
            first["name"] = "scan"
            entry["validate"] = {"message": "no", "deny": {"conditions": {"any": [
                {"key": "{{ scan.level }}", "operator": "Equals", "value": pick.choice([2, 3, "{{ most }}"])}]}}}
        return {"context": [{"name": "most", "variable": {"value": pick.choice([1, 2, 3, 4])}}]}

    def _set(self, member: Any, depth: int = 0) -> dict[str, Any]:
        entries = [{"attestor": self._set(member, depth + 1)} if depth < 2 and self.random.random() < 0.2 else member()
                   for _ in range(self.random.choice([1, 1, 2, 3]))]
        count = self.random.choice([None, None, 1, len(entries), max(1, len(entries) - 1)])
        return {"entries": entries, **({"count": count} if count else {})}

    def _cosign(self) -> dict[str, Any]:
        pick = self.random
        if pick.random() < 0.25:
            pem, chain = pick.choice([*self.shop.certificates.values()])
            said = pick.choice([{"cert": pem}, {"cert": pem, "certChain": chain}, {"certChain": chain}])
            return {"certificates": {**said, **NO_LOG}}
        keys = "".join(pick.sample([*self.shop.keys.values()], pick.choice([1, 1, 1, 2])))
        entry: dict[str, Any] = {"keys": {"publicKeys": keys, **NO_LOG}}
        if pick.random() < 0.1:
            entry["repository"] = f"{self.shop.host}/signatures"
        if pick.random() < 0.2:
            entry["annotations"] = {"env": pick.choice(["prod", "test"])}
        if pick.random() < 0.1:
            entry["keys"]["signatureAlgorithm"] = pick.choice(["sha256", "sha512"])
        return entry

    def _notary(self) -> dict[str, Any]:
        certs = self.random.sample([*self.shop.notaries.values()], self.random.choice([1, 1, 2]))
        return {"certificates": {"cert": "".join(certs)}}

    def _attestation(self) -> dict[str, Any]:
        pick = self.random
        key = {"keys": {"publicKeys": pick.choice([*self.shop.keys.values()]), **NO_LOG}}
        conditions = [{"key": pick.choice(["{{ level }}", "{{ found | length(@) }}"]), "operator": pick.choice(
            ["Equals", "LessThan", "GreaterThanOrEquals", "NotEquals"]), "value": pick.choice([1, 2, 3])},
            {"key": "{{ by }}", "operator": "AnyIn", "value": pick.choice([["one"], ["one", "two"]])}]
        said: dict[str, Any] = {"type": pick.choice(TYPES), "attestors": [{"entries": [key], "count": 1}]}
        if pick.random() < 0.7:
            said["conditions"] = [{pick.choice(["all", "any"]): pick.sample(conditions, pick.choice([1, 2]))}]
        return said

    def _image_policy(self, name: str) -> dict[str, Any]:
        pick = self.random
        attestors: list[dict[str, Any]] = []
        for at in range(pick.choice([1, 2, 3])):
            if pick.random() < 0.25:
                who: dict[str, Any] = {"notary": {"certs": {"value": pick.choice([*self.shop.notaries.values()])}}}
            else:
                who = {"cosign": {"key": {"data": pick.choice([*self.shop.keys.values()])}, "ctlog": {
                    "insecureIgnoreTlog": True, "insecureIgnoreSCT": True}}}
                if pick.random() < 0.2:
                    who["cosign"]["source"] = {"repository": f"{self.shop.host}/signatures"}
            attestors.append({"name": f"a{at}", **who})
        names = ", ".join(f"attestors.a{at}" for at in range(len(attestors)))
        wanted = pick.choice([1, len(attestors)])
        expression = (f"images.containers.map(image, verifyImageSignatures(image, [{names}])).all(count, count >= "
                      f"{wanted})")
        return {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": name},
                "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                                                                 "operations": ["CREATE"], "resources": ["pods"]}]},
                         "autogen": {"podControllers": {"controllers": []}},
                         "matchImageReferences": [{"glob": pick.choice([f"{self.shop.host}/*", "*", "quay.io/*"])}],
                         "validationConfigurations": {"mutateDigest": pick.random() < 0.5, "verifyDigest": False,
                                                      "required": pick.random() < 0.5},
                         "attestors": attestors, "validations": [{"expression": expression, "message": "no"}]}}


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = folder / "registry.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/store}}}}\n"
                      f"http: {{addr: {host}}}\n")
    with subprocess.Popen([str(PEERS / "registry"), "serve", str(config)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(1.5)
            yield host
        finally:
            process.terminate()


def theirs(shop: Shop, policies: list[dict[str, Any]], image: str) -> dict[str, list[tuple[str, str]]]:
    """By policy, (result, message) of each that Kyverno reports. Each alone: it applies one to what another patched."""
    found: dict[str, list[tuple[str, str]]] = {}
    (shop.folder / "pod.yaml").write_text(yaml.safe_dump(pod(image)))
    for policy in policies:
        (shop.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        said = shop.run("kyverno-next", "apply", "policy.yaml", "--resource", "pod.yaml", "--registry",
                        "--policy-report", "--output-format", "json")
        for report in _reports(said):
            for result in report.get("results") or ():
                found.setdefault(result["policy"], []).append((result["result"], result.get("message", "")))
    return found


def _reports(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        document, end = decoder.raw_decode(text, at)
        yield from document.get("items") or [document]
        at = text.find("{", end)


def pod(image: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": image}]}}


async def ours(shop: Shop, policies: list[dict[str, Any]], image: str) -> dict[str, list[tuple[str, str]]]:
    said: dict[str, list[tuple[str, str]]] = {}
    async with RegistryClient(StdlibHttp()) as client:
        gatherer = Gatherer(client, None, system_clock, keep=300)
        for policy in policies:
            checked = await check(pod(image), PolicySet([policy]), gatherer, system_clock)
            said[policy["metadata"]["name"]] = [(str(result.outcome), result.message)
                                                for result in checked.decision.results]
    return said


def main(count: int, seed: int) -> int:
    differences = judged = 0
    with tempfile.TemporaryDirectory() as name, registry(Path(name)) as host:
        shop = Shop(Path(name), host)
        shop.fill()
        author = Author(shop, seed)
        each = max(1, count // len(TAGS))
        for tag in TAGS:
            policies = [author.policy(f"p{at}") for at in range(each)]
            image = f"{host}/app:{tag}"
            peer, own = theirs(shop, policies, image), asyncio.run(ours(shop, policies, image))
            for policy in policies:
                key = policy["metadata"]["name"]
                verdicts = [_verdict(said.get(key, [])) for said in (peer, own)]
                judged += 1
                if verdicts[0] != verdicts[1]:
                    differences += 1
                    print(f"{tag}: kyverno {peer.get(key)}\n  custody {own.get(key)}\n"
                          f"{yaml.safe_dump(policy['spec'], width=200)}")
    print(f"{judged} policies, {differences} differences")
    return 1 if differences else 0


def _verdict(results: list[tuple[str, str]]) -> str:
    outcomes = {outcome for outcome, _ in results}
    return "denied" if outcomes & {"fail", "error"} else "allowed" if "pass" in outcomes else "silent"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
