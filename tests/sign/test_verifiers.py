"""Eight verifiers over three hops: distribution (no referrers API), an OCI layout, custody's registry.

What each says of an image before it was carried, it says at every place after.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import peer
from tests.sign import cargo
from tests.sign.site import PERSON, Site

pytestmark = pytest.mark.peer
HTTP = "--allow-http-registry"
NOBODY = "nobody@example.com"


@dataclass
class Hop:
    """One place; `name` is for registries' clients, `folder` for those of layouts."""

    name: str
    folder: Path | None = None

    def at(self, repository: str) -> str:
        return f"oci:{self.folder / repository}" if self.folder else f"{self.name}/{repository}:1"


def notation(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(site.folder), "XDG_CONFIG_HOME": str(site.folder / "xdg"),
           "NOTATION_EXPERIMENTAL": "1"}
    return subprocess.run([peer("notation"), *arguments], capture_output=True, text=True, env=env, cwd=site.folder,
                          timeout=60, check=False)


def by_notation(site: Site, hop: Hop) -> int:
    if hop.folder:
        index = json.loads((hop.folder / "both" / "index.json").read_text())
        digest = next(entry["digest"] for entry in index["manifests"]
                      if entry["annotations"].get("kind", "").endswith("/image"))
        return notation(site, "verify", "--oci-layout", "--scope", "local/both", f"{hop.folder / 'both'}@{digest}"
                        ).returncode
    return notation(site, "verify", "--insecure-registry", hop.at("both")).returncode


def by_cosign(program: str, *command: str, repository: str = "both") -> Callable[[Site, Hop], int]:
    def run(site: Site, hop: Hop) -> int:
        place = ("--local-image", str(hop.folder / repository)) if hop.folder else (HTTP, hop.at(repository))
        return site.cosign(program, *command, *place).returncode

    return run


def by_custody(*command: str, repository: str = "both") -> Callable[[Site, Hop], int]:
    return lambda site, hop: site.custody(*command, hop.at(repository))


def key(site: Site) -> str:
    return str(site.folder / "cosign.pub")


VERIFIERS: dict[str, Callable[[Site, Hop], int]] = {
    "custody verify": lambda site, hop: by_custody("verify", *site.who())(site, hop),
    "custody verify, older": lambda site, hop: by_custody(
        "verify", "--key", key(site), "--insecure-ignore-tlog", repository="older")(site, hop),
    "custody verify-attestation": lambda site, hop: by_custody(
        "verify-attestation", "--type", "cyclonedx", *site.who())(site, hop),
    "custody check": lambda site, hop: by_custody("check", "--policy", str(site.folder / "policy.yaml"))(site, hop),
    "cosign 3 verify": lambda site, hop: by_cosign(
        "cosign-v3", "verify", "--trusted-root", "root.json", *site.who())(site, hop),
    "cosign 3 verify-attestation": lambda site, hop: by_cosign(
        "cosign-v3", "verify-attestation", "--type", "cyclonedx", "--trusted-root", "root.json", *site.who()
    )(site, hop),
    "cosign 2 verify": by_cosign("cosign-v2", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog",
                                 repository="older"),
    "notation verify": by_notation,
}
REFUSED = {"cosign 3 verify": lambda site, hop: by_cosign(
    "cosign-v3", "verify", "--trusted-root", "root.json", "--certificate-identity", NOBODY, "--certificate-oidc-issuer",
    site.stack.people.url)(site, hop), "custody verify": lambda site, hop: by_custody(
        "verify", *site.who(NOBODY))(site, hop)}


@pytest.fixture(scope="module")
def hops(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Hop]]:
    """The place where all was signed, and where it was carried from one to the next."""
    both, older = site.push("both"), site.push("older")
    (site.folder / "sbom.json").write_text('{"bomFormat":"CycloneDX","version":1}')
    assert site.custody("sign", "--identity-token", site.token(), both) == 0
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(site.folder / "sbom.json"),
                        "--type", "cyclonedx", both) == 0
    assert site.custody("sign", "--format", "legacy", "--key", str(site.folder / "cosign.key"), older) == 0
    issuer = site.stack.people.url
    (site.folder / "policy.yaml").write_text(POLICY % (PERSON, issuer, issuer.removesuffix("/oidc")))
    assert notation(site, "cert", "generate-test", "--default", "custody.test").returncode == 0
    (site.folder / "xdg" / "notation" / "trustpolicy.json").write_text(json.dumps({
        "version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:custody.test"], "trustedIdentities": ["*"]}]}))
    assert notation(site, "sign", "--insecure-registry", both).returncode == 0
    folder = tmp_path_factory.mktemp("hops")
    with cargo.distribution(folder) as host:
        places = [Hop(site.registry), Hop(host), Hop("", folder), Hop(f"{site.registry}/landed")]
        for start, end in pairwise(places):
            for repository in ("both", "older"):
                assert site.custody("copy", "-r", start.at(repository), end.at(repository)) == 0
        yield places


POLICY = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: signed}
spec:
  webhookTimeoutSeconds: 30
  background: false
  rules:
  - name: by-the-developer
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["127.0.0.1:*"]
      type: SigstoreBundle
      failureAction: Enforce
      attestors:
      - entries:
        - keyless: {subject: "%s", issuer: "%s", rekor: {url: "%s"}}
"""


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_every_verifier_at_every_hop(site: Site, hops: list[Hop], verifier: str) -> None:
    assert [VERIFIERS[verifier](site, hop) for hop in hops] == [0, 0, 0, 0]


@pytest.mark.parametrize("verifier", REFUSED)
def test_nobody_is_believed_at_any_hop(site: Site, hops: list[Hop], verifier: str) -> None:
    assert 0 not in [REFUSED[verifier](site, hop) for hop in hops]
