"""Where the demonstration happens: the embedded services, the people in it, and what each of them can do."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody import __version__
from custody.demo import notary
from custody.errors import ConflictError, CustodyError, UsageError
from custody.formats import cyclonedx, intoto, oci, vulnattestation
from custody.formats.bom import Catalog
from custody.formats.reference import Reference
from custody.kit import strictjson
from custody.kit.clock import system_clock
from custody.kit.folder import state_folder
from custody.policy.load import PolicySet
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.server.platform import Running, running
from custody.services.check import Checked, check
from custody.services.gather import Gatherer
from custody.settings import Settings
from custody.settings.tables import Issuer, Runtime
from custody.sign.notary.sign import Signed
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer
from custody.trust.oidc import OidcIssuer
from custody.trust.roots import parse_signing_config
from custody.wiring import Platform, gatherer, registry_client, service_http, trusted_root

ORGANISATION = "ghcr.io/myorg"
REPOSITORY = "https://github.com/myorg/shop"
GITHUB = "https://token.actions.githubusercontent.com"
LOG = "https://rekor.sigstore.dev"
SCANNER = "https://scanner.custody.internal/scanner"
VULN = vulnattestation.PREDICATE_TYPE
WORKFLOW = ".github/workflows/release.yml"
ALERTS = "alerts.jsonl"
"""What the runtime role tells."""
_CONFIG = """\
# Written by `custody demo`: the names are the field's own, the services behind them are on this machine.
data_dir = "."
policies = ["policies"]
notation = "notation"
keep_evidence = 0

[mirrors]
"{organisation}" = "{registry}/myorg"

[urls]
log = "{log}"

[runtime]
rules = [{rules}]
outputs = [{alerts}]
drift = true
learn = 1

[[issuers]]
url = "{github}"
type = "github-workflow"
jwks = "github.jwks"
"""


def examples() -> Path:
    """The folder of the shop, its policies and advisories: in the checkout, or inside the installed package."""
    for folder in (Path(__file__).parents[3] / "examples", Path(__file__).parent / "examples"):
        if (folder / "shop" / "custody-build.toml").is_file():
            return folder
    raise UsageError("demo: the examples are not installed", hint="run it from a checkout of custody")


@dataclass(slots=True)
class World:
    """Running services and everybody's tools."""

    folder: Path
    settings: Settings
    services: Running
    http: Http
    client: RegistryClient
    gatherer: Gatherer
    policies: PolicySet
    authority: notary.Authority
    """Whose certificates the trust policy for Notation's signatures believes."""
    watching: str
    """URL of the runtime role, which is told what runs."""
    name: str = f"{ORGANISATION}/shop"

    @property
    def platform(self) -> Platform:
        return self.services.platform

    def ref(self, digest: str | None = None, tag: str | None = None) -> Reference:
        return Reference("ghcr.io", self.name.partition("/")[2], tag, digest)

    def leave_out(self, name: str) -> None:
        """Go on without the policy file of this name."""
        (self.folder / "policies" / name).unlink(missing_ok=True)
        self.policies = PolicySet.load([self.folder / "policies"])
        if self.services.admission is not None:
            self.services.admission.admission = self.platform.admission(self.policies, self.gatherer)

    # Tokens: who somebody is. The workflow's issuer is GitHub's name over keys of this machine.

    def workflow_token(self, repository: str = "myorg/shop", workflow: str = WORKFLOW, sha: str = "0" * 40) -> str:
        issuer = OidcIssuer(GITHUB, self.platform.material.oidc_key, system_clock)
        return issuer.mint_workflow(repository, workflow, "refs/heads/main", sha)

    def builder_token(self, builder_id: str) -> str:
        return self.platform.workloads["builder"].mint({"sub": builder_id})

    def scanner_token(self) -> str:
        return self.platform.workloads["scanner"].mint({"sub": SCANNER})

    # Signing and attesting

    def signer(self, token: str) -> Signer:
        config = parse_signing_config((self.platform.data / "trust" / "signing_config.json").read_bytes())
        return Signer(http=self.http, config=config, root=trusted_root(self.settings), token=token)

    async def attest(self, image: oci.Descriptor, kind: str, predicate: Any, token: str, *,
                     replaces: str | None = None) -> tuple[oci.Descriptor, Any]:
        """Sign a statement and push it beside the image; `replaces` is the digest of the attestation that it ends."""
        statement = intoto.statement(image.digest, kind, predicate, name=self.name)
        data, verified = await self.signer(token).sign(statement, image.digest)
        pushed = await push_bundle(self.client, self.ref(image.digest), image, data, kind, system_clock())
        if replaces:
            await self.client.delete_manifest(self.ref(replaces))
        return pushed, verified

    async def sign(self, image: oci.Descriptor, token: str) -> tuple[oci.Descriptor, Any]:
        return await self.attest(image, intoto.COSIGN_SIGN, {}, token)

    async def notarise(self, image: oci.Descriptor,
                       authority: notary.Authority | None = None) -> tuple[oci.Descriptor, Signed]:
        """Sign as Notation does, by a certificate for the release that an authority gives: the trusted one, or
        another."""
        return await notary.notarise(self.client, self.ref(image.digest), image,
                                     (authority or self.authority).signing_key())

    # Images

    async def variant(self, image: oci.Descriptor, name: str) -> oci.Descriptor:
        """The same image under another digest: what an attacker, or another build, would push."""
        _, data = await self.client.manifest(self.ref(image.digest))
        changed = strictjson.loads(data, "manifest")
        changed["annotations"] = {"demo": name}
        return await self.client.push_manifest(self.ref(), json.dumps(changed).encode(), image.media_type)

    # Admission

    def pod(self, image: str, **container: Any) -> dict[str, Any]:
        """A restricted pod that runs the image, with a first container that migrates its data."""
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop", "namespace": "default"},
                "spec": {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                         "initContainers": [{"name": "migrate", "image": image, "securityContext": security}],
                         "containers": [{"name": "shop", "image": image, "securityContext": security, **container}]}}

    async def admit(self, pod: dict[str, Any]) -> tuple[bool, str, dict[str, Any], Checked]:
        """Ask the webhook as the API server does, mutating then validating; and `check`, which must say the same."""
        self.gatherer.forget()
        allowed, message, pod_now = True, "", pod
        for path in ("mutate", "validate"):
            answer = await self._review(path, pod_now)
            allowed, message = answer["allowed"], answer.get("status", {}).get("message", "")
            if not allowed:
                break
            if answer.get("patch"):
                pod_now = json.loads(json.dumps(pod_now))
                for change in json.loads(base64.b64decode(answer["patch"])):
                    _, _, kind, at, _ = change["path"].split("/")
                    pod_now["spec"][kind][int(at)]["image"] = change["value"]
        checked = await check(pod, self.policies, self.gatherer, system_clock)
        if checked.decision.allowed != allowed:
            raise CustodyError(f"demo: the webhook said {allowed}, check said {checked.decision.allowed}: {message}")
        return allowed, message, pod_now, checked

    async def _review(self, path: str, pod: dict[str, Any]) -> dict[str, Any]:
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "demo", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "default", "name": "shop",
            "userInfo": {"username": "ann"}, "object": pod}}
        async with await self.http.request("POST", f"{self.services.webhook}/{path}?timeout=10s",
                                           headers={"Content-Type": "application/json"},
                                           body=json.dumps(review).encode()) as answer:
            data = await answer.read(1 << 20)
            if answer.status != 200:
                raise CustodyError(f"demo: the webhook answered {answer.status}: {data[:200]!r}")
        response: dict[str, Any] = json.loads(data)["response"]
        return response

    def sbom_predicate(self, catalog: Catalog) -> dict[str, Any]:
        return cyclonedx.write(catalog, system_clock(), __version__)


@contextlib.asynccontextmanager
async def opened(data: Path, *, port: int = 0, webhook_port: int = 0,
                 policies: Callable[[Path], list[Path]]) -> AsyncIterator[World]:
    """The world, up; on exit everything is closed and its state is removed."""
    folder = data / "demo"
    state_folder(data)
    lock = (data / "demo.lock").open("w")  # held as long as the world is up
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConflictError(f"{folder}: another demo runs there",
                            hint="end it with ctrl-c, or choose another data directory: CUSTODY_DATA_DIR") from None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = Settings(data_dir=str(folder), urls={"log": LOG}, keep_evidence=0, notation=str(folder / "notation"),
                        runtime=Runtime(rules=[str(examples() / "runtime")], outputs=[str(folder / ALERTS)],
                                        drift=True, learn=1.0),
                        issuers=[Issuer(url=GITHUB, type="github-workflow", jwks=str(folder / "github.jwks"))])
    try:
        for path in policies(examples() / "policies"):
            target = folder / "policies" / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
        chosen = PolicySet.load([folder / "policies"])
        authority = notary.Authority()
        notary.trust(folder / "notation", authority, f"{ORGANISATION}/shop")
        keys = Platform(settings, "http://127.0.0.1").material.oidc_key
        (folder / "github.jwks").write_bytes(OidcIssuer(GITHUB, keys, system_clock).jwks())
        mirrors = {ORGANISATION: ""}
        settings = settings.replace(mirrors=mirrors)
        async with running(settings, port=port, webhook_port=webhook_port, policies=chosen) as services:
            registry = services.url.partition("//")[2]
            mirrors[ORGANISATION] = f"{registry}/myorg"
            (folder / "custody.toml").write_text(_CONFIG.format(
                organisation=ORGANISATION, registry=registry, log=LOG, github=GITHUB,
                rules=json.dumps(str(examples() / "runtime")), alerts=json.dumps(str(folder / ALERTS))))
            http = service_http(settings, ca_file=folder / "admission" / "ca.crt")
            pulling = service_http(settings)
            try:
                client = registry_client(settings, pulling)
                source = gatherer(settings, client)
                if services.admission is not None:
                    services.admission.admission = services.platform.admission(chosen, source)
                # Whoever watches a node is a process of its own, and knows the registry when it begins.
                async with running(settings, ("runtime",)) as watching:
                    yield World(folder, settings, services, http, client, source, chosen, authority, watching.url)
            finally:
                await http.close()
                await pulling.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()

