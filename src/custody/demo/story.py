"""The gates, in the order in which an image meets them. Each does its real work and says what it found."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path

from custody.build.builder import Built, build
from custody.demo.history import Author, History, read_files
from custody.demo.notary import SIGNER, STORE
from custody.demo.tell import Teller
from custody.demo.watched import tell_running
from custody.demo.world import REPOSITORY, VULN, World, examples
from custody.errors import CustodyError
from custody.formats import cyclonedx, intoto, oci, spdx
from custody.formats.bom import Catalog
from custody.formats.slsa import PROVENANCE_V1
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.policy.podsecurity.standard import evaluate
from custody.ports.advisories import AdvisoryStore
from custody.registry.image import Image, open_layout
from custody.registry.scrub import scrub
from custody.sbom.catalog import catalog
from custody.services.source import scan_locks
from custody.services.targets import open_target, pull, push
from custody.sign.certificate import load_certificate
from custody.source.check import check_source
from custody.source.signatures import Believed
from custody.source.signers import parse_allowed_signers
from custody.trust import audit
from custody.vulns.report import ScanReport, scan
from custody.vulns.severity import Severity
from custody.vulns.store import import_advisories
from custody.wiring import local

COVERED = "covered.yaml"
CYCLONEDX = intoto.predicate_type("cyclonedx")


@dataclass(slots=True)
class Chain:
    """What the story leaves behind for the attacks."""

    image: oci.Descriptor
    contents: Catalog
    scan: ScanReport
    scan_attestation: oci.Descriptor
    advisories: AdvisoryStore
    history: History | None = None
    author: Author | None = None
    commit: str = ""
    built: Built | None = None
    inputs: Path = Path()
    """The folder of verified wheels."""
    checkpoint: bytes = b""


async def tell_from_source(world: World, teller: Teller, cache: Path) -> Chain:
    """Source, build, and all the rest, with the shop."""
    history, author, commit, advisories = await _source(world, teller)
    built, image = await _build(world, teller, history, commit, cache)
    return replace(await _rest(world, teller, image, advisories, built), history=history, author=author, commit=commit,
                   inputs=cache / "inputs")


async def tell_from_image(world: World, teller: Teller, target: str, cache: Path) -> Chain:
    """From contents on, with an image that the user has."""
    advisories = _advisories(world)
    with teller.link("registry", f"{target} copied to {world.name}:1.0") as link:
        source = await open_target(target, world.client, cache / "pulled")
        data = await _manifest_bytes(world, source, target)
        image = await push(source, world.ref(), world.client, "1.0", data)
        link.digest = image.digest
    return await _rest(world, teller, image, advisories, None)


async def _manifest_bytes(world: World, source: Image, target: str) -> bytes:
    if source.descriptor.media_type in oci.CONFIG_TYPES:  # of a docker archive, which has no manifest
        return json.dumps(source.manifest.to_json()).encode()
    if target.startswith(("oci:", "archive:")):
        with source.open_blob(source.descriptor) as stream:
            return stream.read(oci.MAX_MANIFEST)
    from custody.formats import reference

    return (await world.client.manifest(reference.parse(target).at(source.descriptor.digest)))[1]


async def _source(world: World, teller: Teller) -> tuple[History, Author, str, AdvisoryStore]:
    with teller.link("source", "every commit signed, every dependency pinned and hashed") as link:
        author = Author("ann@myorg.example")
        history = History(world.folder / "shop.git")
        files = read_files(examples() / "shop")
        history.commit({name: data for name, data in files.items() if name != "build.py"}, "A shop", author)
        commit = history.commit(files, "Build it", author)
        advisories = _advisories(world)
        repository = local.git_repository(history.folder)
        report = await asyncio.to_thread(check_source, repository, "main",
                                         Believed(parse_allowed_signers(author.allowed_signer)))
        repository.close()
        findings = scan_locks(report, advisories, system_clock())
        if report.failures or findings.meets(Severity.CRITICAL):
            raise CustodyError(f"demo: the shop's own source does not pass: {report.failures}")
        link.say(f"{len(report.commits or ())} commits signed by {author.email} (SSH signature, namespace git)")
        link.say(f"{report.locks[0].path}: {len(report.locks[0].entries)} packages pinned with sha256; known findings: "
                 + (", ".join(f"{f.severity} {f.id} in {f.package}" for f in findings.findings) or "none"))
        link.digest = f"gitCommit:{commit}"
    return history, author, commit, advisories


def _advisories(world: World) -> AdvisoryStore:
    store = local.advisories_in(world.folder / "advisories.db")
    import_advisories(store, examples() / "advisories", system_clock())
    return store


async def _build(world: World, teller: Teller, history: History, commit: str,
                 cache: Path) -> tuple[Built, oci.Descriptor]:
    with teller.link("build", "the commit built twice in a sandbox: one digest") as link:
        repository = local.git_repository(history.folder)
        builds = [await asyncio.to_thread(
            lambda layout: build(repository, commit, repository_uri=REPOSITORY, layout=layout, cache=cache / "inputs",
                                 fetch=local.fetch_inputs(), clock=system_clock),
            world.folder / "builds" / name) for name in ("one", "two")]
        repository.close()
        first, second = builds
        if first.descriptor.digest != second.descriptor.digest:
            raise CustodyError(f"demo: two builds, two digests: {first.descriptor.digest}, {second.descriptor.digest}")
        isolation = first.provenance.internal_parameters["isolation"]
        link.say(f"{len(first.inputs)} inputs fetched by hash; step isolated with {isolation}: no network, no secrets")
        image = await push(open_layout(first.layout), world.ref(), world.client, "1.0", first.manifest)
        _, verified = await world.attest(image, PROVENANCE_V1, first.provenance.to_json(),
                                              world.builder_token(first.provenance.builder_id))
        link.say(f"provenance signed by {verified.signer.subject}, log index {verified.log.index}: "
                 f"{REPOSITORY} at {commit[:12]}")
        link.digest = image.digest
    return first, image


async def _rest(world: World, teller: Teller, image: oci.Descriptor, advisories: AdvisoryStore,
                built: Built | None) -> Chain:
    with teller.link("contents", "what is inside, and what is known to be wrong with it") as link:
        pulled = await pull(world.ref(image.digest), world.client, world.folder / "cache")
        contents = await asyncio.to_thread(catalog, pulled, local.layer_cache(world.folder / "cache" / "layers.db"))
        report = scan(contents, advisories, system_clock(), allow_empty=False)
        if report.meets(Severity.CRITICAL):
            raise CustodyError(f"demo: critical findings: {report.meets(Severity.CRITICAL)[0].id}")
        kinds: dict[str, int] = {}
        for package in contents.packages:
            kinds[package.type] = kinds.get(package.type, 0) + 1
        link.say(f"{amount(len(contents.packages), 'package')}: "
                 + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
        link.say(f"SBOM: CycloneDX 1.6 with {len(cyclonedx.write(contents, system_clock(), 'demo')['components'])} "
                 f"components, SPDX 2.3 with {len(spdx.write(contents, system_clock(), 'demo')['packages'])} packages")
        link.say("scan: " + (", ".join(f"{count} {level}" for level, count in report.counts().items() if count)
                             or "no findings") + f" from {report.database.advisories} advisories; threshold critical")
        coverage = report.coverage
        shares = [f"{amount(share.packages, f'{share.ecosystem} package')} with "
                  f"{amount(share.advisories, 'advisory', 'advisories')}"
                  for share in coverage.ecosystems]
        link.say(f"coverage: {', '.join(shares) or 'nothing'}; {len(coverage.gaps)} gaps")
        if coverage.gaps and built is not None:
            raise CustodyError(f"demo: the shop's own scan has a gap: {coverage.gaps[0]}")
        if coverage.gaps:  # the demo's advisories are few, and an own image may hold anything
            world.leave_out(COVERED)
            link.say(f"first gap: {coverage.gaps[0]}; {COVERED} would deny this image, and is left out")
        link.digest = image.digest
    with teller.link("sign & attest", "identity → certificate of ten minutes → signature → log → timestamp") as link:
        signature, verified = await world.sign(image, world.workflow_token(sha="f" * 40))
        link.say(f"signed by {verified.signer.subject}")
        link.say(f"transparency log {verified.log.base_url}, index {verified.log.index}; timestamp "
                 f"{verified.signed_at:%H:%M:%S}; certificate with SCT; bundle {signature.digest[:19]}…")
        _, verified = await world.attest(image, CYCLONEDX, world.sbom_predicate(contents), world.scanner_token())
        link.say(f"SBOM attested by {verified.signer.subject}, log index {verified.log.index}")
        attestation, verified = await world.attest(image, VULN, report.to_cosign_vuln(), world.scanner_token())
        link.say(f"scan attested by {verified.signer.subject}, log index {verified.log.index}")
        link.digest = image.digest
    with teller.link("sign & attest", "Notation: an own authority → certificate → signature → trust policy") as link:
        pushed, signed = await world.notarise(image)
        leaf = load_certificate(signed.envelope.chain[0], "certificate")
        link.say(f"signed by {leaf.subject.rfc4514_string()}, {signed.media_type}; referrer {pushed.digest[:19]}…")
        link.say(f"trust policy for {world.name}: level strict, ca:{STORE}, {SIGNER}")
        link.digest = image.digest
    with teller.link("registry", "everything beside the image, every byte checked") as link:
        referrers = await world.client.referrers(world.ref(image.digest))
        link.say(f"{world.name}: tags {', '.join(await world.client.tags(world.ref()))}; {len(referrers)} referrers")
        scrubbed = await asyncio.to_thread(scrub, world.platform.archive())
        link.say(f"{amount(scrubbed.blobs, 'blob')} hashed again, {len(scrubbed.damaged)} damaged, "
                 f"{len(scrubbed.missing)} missing")
        reader = world.platform.log.log.reader
        root = world.platform.material.trusted_root(world.platform.endpoints)
        verifier = audit.verifier_for(reader, root)
        audited = audit.verify_log(reader, verifier)
        link.say(f"transparency log: {amount(audited.size, 'entry', 'entries')}, each where the signed tree has it")
        link.digest = image.digest
    await _deploy(world, teller, image)
    return Chain(image, contents, report, attestation, advisories, built=built,
                 checkpoint=world.platform.log.log.checkpoint)


async def _deploy(world: World, teller: Teller, image: oci.Descriptor) -> None:
    pod = world.pod(f"{world.name}:1.0")
    with teller.link("admission", "the API server's question, answered by the webhook") as link:
        allowed, message, pinned, checked = await world.admit(pod)
        if not allowed:
            raise CustodyError(f"demo: the good pod was denied: {message}")
        rules = [f"{result.policy}/{result.rule}" for result in checked.decision.results]
        link.say(f"allowed by {amount(len(dict.fromkeys(rules)), 'rule')}: {', '.join(dict.fromkeys(rules))}")
        link.say(f"tag pinned: {pinned['spec']['containers'][0]['image']}")
        link.say(f"`custody check` says the same; decision {checked.decision.inputs_digest[:19]}…")
        link.digest = image.digest
    with teller.link("runtime", "the pod's security level") as link:
        for level in ("baseline", "restricted"):
            failures = evaluate(pod["spec"], pod["metadata"], level, "latest")
            if failures:
                raise CustodyError(f"demo: the good pod is not {level}: {failures}")
            link.say(f"{level}:latest holds")
    with teller.link("runtime", "what runs is what was admitted") as link:
        await tell_running(world, link, image)
        link.digest = image.digest
