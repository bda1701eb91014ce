"""Reviews a second and latency of the webhook, custody beside Kyverno: `python bench/admission/webhook.py [SECONDS]`.

Two sets of policies. "shop" is the demo's five rules (signature, SBOM, scan, provenance, registry, Pod Security) for
three images a pod, the evidence in memory; Kyverno would fetch it from a registry, so custody runs it alone. "pss" is
every policy of the pod-security oracle that custody loads, by both. TLS, keep-alive, 6.6 KB reviews, by
$CUSTODY_PEERS_TOOLS/admission-load; Kyverno needs kyverno-controller, kube-apiserver and etcd.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from custody.admission.certs import ServingCertificate
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, KeylessSigner, LogEntry, Verified
from custody.formats.yaml import documents
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.policy.model import Request
from custody.server.admission import AdmissionApp
from custody.server.run import Listener, serving
from custody.server.tls import server_context

ROOT = Path(__file__).parents[2]
TOOLS = Path(os.environ.get("CUSTODY_PEERS_TOOLS", ROOT.parent / "shared" / "peers"))
ORACLES = Path(os.environ.get("CUSTODY_ORACLES", ROOT.parent / "shared" / "oracles"))
PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
MINE, ITS = "ghcr.io/myorg", "registry.example.com"


def shop() -> PolicySet:
    """The demo's policies, for the registry that the load generator's pods name."""
    text = "\n---\n".join(file.read_text() for file in sorted((ROOT / "examples/policies/shop").glob("*.yaml")))
    return PolicySet(documents(text.replace(f"{MINE}/*", f"{ITS}/*").encode(), "shop"))


def pss(folder: Path) -> list[Path]:
    """The oracle's policies that load, written under Enforce."""
    found = []
    for file in sorted((ORACLES / "kyverno-policies/pod-security").rglob("*.yaml")):
        text = file.read_text()
        if any(part.startswith(".") for part in file.parts) or not text.startswith("apiVersion: kyverno.io"):
            continue
        document = yaml.safe_load(text.replace("ailureAction: Audit", "ailureAction: Enforce"))
        document["metadata"].setdefault("annotations", {})["pod-policies.kyverno.io/autogen-controllers"] = "none"
        try:
            PolicySet([document])
        except CustodyError:
            continue
        found.append(folder / file.name)
        found[-1].write_text(yaml.safe_dump(document))
    return found


def evidence(policies: PolicySet) -> EvidenceSet:
    """What the shop's image has: a signature, provenance, an SBOM of 100 components, a scan with 100 findings."""
    subject = sha256(b"image")
    scanned = format_rfc3339(datetime.now(UTC))
    findings = [{"VulnerabilityID": f"CVE-2026-{n}", "Severity": "HIGH" if n % 3 else "LOW"} for n in range(100)]
    predicates: dict[str, Any] = {
        "https://cyclonedx.org/bom": {"components": [{"name": f"package-{n}"} for n in range(100)]},
        "https://cosign.sigstore.dev/attestation/vuln/v1": {
            "metadata": {"scanFinishedOn": scanned},
            "scanner": {"result": {"Results": [{"Vulnerabilities": findings}],
                                   "coverage": {"gaps": [], "database": {"importedAt": scanned}}}}},
        "https://slsa.dev/provenance/v1": {
            "runDetails": {"builder": {"id": "https://builder.custody.internal/bubblewrap/v1"}},
            "buildDefinition": {"externalParameters": {"repository": "https://github.com/myorg/shop",
                                                       "definition": "custody-build.toml"}}}}
    identities: dict[str, tuple[str, str]] = {}
    for document in policies.documents:
        for rule in document["spec"]["rules"]:
            for entry in rule.get("verifyImages", []):
                for kind, sets in (("", entry.get("attestors", [])),
                                   *((one["type"], one["attestors"]) for one in entry.get("attestations", []))):
                    for attestors in sets:
                        who = attestors["entries"][0]["keyless"]
                        identities.setdefault(kind, (who["subject"], who["issuer"]))
    verified = tuple(Verified(
        subject=subject, evidence=sha256(kind.encode()), source="memory", kind="attestation" if kind else "signature",
        predicate_type=kind or "https://sigstore.dev/cosign/sign/v1", predicate=predicates.get(kind, {}),
        signer=KeylessSigner(subject=who[0], issuer=who[1]), signed_at=datetime.now(UTC),
        log=LogEntry(base_url="https://rekor.sigstore.dev", index=1, log_id="00")) for kind, who in identities.items())
    return EvidenceSet(subject=subject, verified=verified)


async def serve(folder: Path, kind: str) -> None:
    """The server's process: prints its URL, runs until its input closes."""
    policies = shop() if kind == "shop" else PolicySet.load(sorted(folder.glob("pss/*.yaml")))
    found = evidence(policies) if kind == "shop" else EvidenceSet(subject="")

    async def gather(_: Request, images: list[str]) -> Mapping[str, EvidenceSet]:
        return dict.fromkeys(images, found)

    certificate = ServingCertificate(folder / kind, ["127.0.0.1"])
    certificate.ensure(datetime.now(UTC))
    app = AdmissionApp(Admission(policies, gather, system_clock))
    async with serving(listener := Listener(app, tls=server_context(certificate.certificate, certificate.key))):
        print(listener.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def load(label: str, url: str, ca: Path, pid: int, seconds: str, *extra: str) -> dict[str, Any]:
    command = [sys.executable, TOOLS / "admission-load", "webhook", "--url", url, "--ca", ca, "--pid", str(pid),
               "-c", "1,16,64", "--seconds", seconds, *extra]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in out.splitlines():
        run = json.loads(line)
        found[run["c"]] = run
        print(f"{label:28} c{run['c']:<3} {run['per_s']:8.1f}/s  p50 {run['p50']:6.2f}  p99 {run['p99']:7.2f} ms  "
              f"cpu {run['cpu_us']:6} us  rss {run['rss_mb']} MB  allowed {run.get('allowed', 0)} "
              f"denied {run.get('denied', 0)} other {run['errors']}", flush=True)
    return found


def custody(folder: Path, kind: str, path: str, seconds: str, *extra: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--serve", str(folder), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            label = f"custody {kind} {path}{' 12.5 % bad' if '--bad' in extra else ''}"
            return load(label, f"{url}/{path}?timeout=10s", folder / kind / "ca.crt", server.pid, seconds, *extra)
        finally:
            server.stdin.close()


def kyverno(folder: Path, policies: list[Path], seconds: str) -> dict[str, Any] | None:
    needed = [name for name in ("kyverno-controller", "kube-apiserver") if not (PEERS / name).is_file()]
    if needed or not (TOOLS / "kyverno-webhook").is_file():
        print(f"kyverno: not here: {', '.join(needed) or 'kyverno-webhook'}")
        return None
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "KYVERNO_FLAGS": "--admissionReports=false"}
    cluster = folder / "cluster"
    quiet: dict[str, Any] = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        subprocess.run([TOOLS / "apiserver", "start", cluster], check=True, timeout=120, **quiet)
        subprocess.run([TOOLS / "kyverno-webhook", "start", cluster, *policies], check=True, timeout=300, **quiet)
        time.sleep(3)
        return load("kyverno pss", "https://127.0.0.1:19443/validate/fail", cluster / "kyverno-ca.crt",
                    int((cluster / "kyverno.pid").read_text()), seconds)
    finally:
        for tool in ("kyverno-webhook", "apiserver"):
            subprocess.run([TOOLS / tool, "stop", cluster], check=False, timeout=60, **quiet)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2]), sys.argv[3]))
        return
    seconds = (sys.argv[1:] or ["8"])[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pss").mkdir()
        policies = pss(folder / "pss")
        print(f"pss: {len(policies)} policies")
        custody(folder, "shop", "validate", seconds, "--body", str(_pinned(folder)))
        custody(folder, "shop", "mutate", seconds)
        ours = custody(folder, "pss", "validate", seconds)
        custody(folder, "pss", "validate", seconds, "--bad", "0.125")
        theirs = kyverno(folder, policies, seconds)
        for c, run in ours.items():
            if theirs:
                print(f"pss c{c}: custody / kyverno: reviews {run['per_s'] / theirs[c]['per_s']:.1f}, "
                      f"p99 {run['p99'] / theirs[c]['p99']:.2f}, cpu {run['cpu_us'] / theirs[c]['cpu_us']:.2f}")


def _pinned(folder: Path) -> Path:
    """A review of a pod after mutation, its images by digest, as the validating webhook sees it."""
    body = json.loads(subprocess.run([sys.executable, TOOLS / "admission-load", "body"], capture_output=True, text=True,
                                     check=True).stdout)
    for container in body["request"]["object"]["spec"]["containers"]:
        container["image"] += f"@{sha256(b'image')}"
    file = folder / "body.json"
    file.write_text(json.dumps(body, separators=(",", ":")))
    return file


if __name__ == "__main__":
    main()
