"""The attacks, each carried out for real against the running services, and the gate that stops it.

Every attack but its one flaw is right: the attacker's image has all the evidence that the good one has, except for
exactly what the attack is about. An attack that is not stopped fails the demonstration.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from custody.build.builder import build
from custody.demo import intrusions, notary
from custody.demo.history import read_files
from custody.demo.story import CYCLONEDX, Chain
from custody.demo.tell import Stopped, Teller
from custody.demo.world import REPOSITORY, SCANNER, VULN, World, examples
from custody.errors import CustodyError, DeniedError, VerificationError
from custody.formats import intoto, oci
from custody.formats.slsa import PROVENANCE_V1, Provenance
from custody.kit.clock import format_rfc3339, system_clock
from custody.registry.image import open_layout
from custody.registry.scrub import scrub
from custody.services.targets import push
from custody.sign.keys import generate_key
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer
from custody.source.check import check_source
from custody.source.signatures import Believed
from custody.source.signers import parse_allowed_signers
from custody.trust import audit
from custody.vulns.report import scan
from custody.vulns.severity import Severity
from custody.vulns.store import import_advisories
from custody.wiring import local
from custody.wiring.trust import open_ct_log

Found = tuple[str, str]
"""The rule that stopped the attack, and its reason."""


@dataclass(frozen=True, slots=True)
class Attack:
    title: str
    gate: str
    work: Callable[[World, Chain], Awaitable[Found]]
    does_not_stop: str
    needs_build: bool = False
    needs_coverage: bool = False
    needs_package: bool = False


async def run_all(world: World, teller: Teller, chain: Chain) -> None:
    """Carry out every attack that this chain allows. Raises CustodyError for one that got through."""
    for attack in ATTACKS:
        if attack.needs_build and chain.built is None:
            teller.note(f"- {attack.title}: needs an image that custody built")
            continue
        if attack.needs_coverage and chain.scan.coverage.gaps:
            teller.note(f"- {attack.title}: needs an image that the demo's advisories cover")
            continue
        if attack.needs_package and not any(package.ecosystem for package in chain.contents.packages):
            teller.note(f"- {attack.title}: needs an image with a package that advisories can name; custody found none")
            continue
        began = time.monotonic()
        rule, reason = await attack.work(world, chain)
        teller.attack(Stopped(attack.title, attack.gate, rule, reason, attack.does_not_stop,
                              round((time.monotonic() - began) * 1000)))


# Source and build


async def _unsigned_commit(_: World, chain: Chain) -> Found:
    assert chain.history is not None
    assert chain.author is not None
    files = {**read_files(examples() / "shop"), "shop/extra.py": b"import socket\n"}
    chain.history.commit(files, "Small fix", chain.author, sign=False, branch="attack", parent=chain.commit)
    repository = local.git_repository(chain.history.folder)
    report = await asyncio.to_thread(check_source, repository, "attack",
                                     Believed(parse_allowed_signers(chain.author.allowed_signer)))
    repository.close()
    return "every commit signed", _one(report.failures)


async def _lying_input(world: World, chain: Chain) -> Found:
    assert chain.history is not None
    assert chain.built is not None
    cache = world.folder / "poisoned"
    cache.mkdir()
    for item in chain.built.inputs:
        shutil.copyfile(item.path, cache / item.path.name)
    victim = cache / chain.built.inputs[0].path.name
    victim.write_bytes(victim.read_bytes() + b"# and a little more\n")
    repository = local.git_repository(chain.history.folder)

    def nothing_to_fetch(_: object, __: object) -> None:
        raise CustodyError("demo: every input is in the cache")

    try:
        await asyncio.to_thread(lambda: build(
            repository, chain.commit, repository_uri=REPOSITORY, layout=world.folder / "builds" / "poisoned",
            cache=cache, fetch=nothing_to_fetch, clock=system_clock))
    except DeniedError as error:
        return "every input has a hash of the lock", error.message
    finally:
        repository.close()
    raise CustodyError("demo: a changed wheel was built in")


# Sign & attest


async def _dress(world: World, chain: Chain, image: oci.Descriptor | str, *, without: str = "",
                 **instead: Any) -> oci.Descriptor:
    """Give an image, or a variant of the good one, all the evidence that policies ask for, less `without`, or with
    something else."""
    if isinstance(image, str):
        image = await world.variant(chain.image, image)
    if without != "signature":
        await world.sign(image, instead.get("release", world.workflow_token()))
    if without not in ("notation", "signature"):  # what nobody signed has none of Notation's either
        await world.notarise(image)
    if without != "sbom":
        await world.attest(image, CYCLONEDX, world.sbom_predicate(chain.contents), world.scanner_token())
    if without != "scan":
        await world.attest(image, VULN, instead.get("scan", chain.scan.to_cosign_vuln()), world.scanner_token())
    if chain.built is not None and without != "provenance":
        provenance: Provenance = instead.get("provenance", chain.built.provenance)
        await world.attest(image, PROVENANCE_V1, provenance.to_json(),
                           world.builder_token(chain.built.provenance.builder_id))
    return image


async def _denied(world: World, pod: dict[str, Any], expected: str) -> Found:
    """The webhook and `check` deny this pod, and the rule that does is the expected one."""
    allowed, message, _, checked = await world.admit(pod)
    if allowed:
        raise CustodyError("demo: the attack got through admission")
    for result in checked.decision.results:
        if result.denies and f"{result.policy}/{result.rule}" == expected:
            return expected, result.message
    raise CustodyError(f"demo: denied, but not by {expected}: {message}")


async def _unsigned_image(world: World, chain: Chain) -> Found:
    image = await _dress(world, chain, "unsigned", without="signature")
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"),
                         "shop-signed/released-by-the-release-workflow")


async def _other_registry(world: World, chain: Chain) -> Found:
    registry = world.services.url.partition("//")[2]
    return await _denied(world, world.pod(f"{registry}/myorg/shop@{chain.image.digest}"),
                         "shop-registries/allowed-registries")


async def _copied_signature(world: World, chain: Chain) -> Found:
    image = await _dress(world, chain, "copied", without="signature")
    good = world.ref(chain.image.digest)
    for referrer in await world.client.referrers(good):
        if "cosign/sign" in referrer.annotations.get("dev.sigstore.bundle.predicateType", ""):
            _, data = await world.client.manifest(good.at(referrer.digest))
            body = oci.parse_manifest(data)
            assert isinstance(body, oci.Manifest)
            bundle = await world.client.blob(good, body.layers[0])
            await push_bundle(world.client, world.ref(image.digest), image, bundle,
                              referrer.annotations["dev.sigstore.bundle.predicateType"], system_clock())
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"),
                         "shop-signed/released-by-the-release-workflow")


async def _wrong_identity(world: World, chain: Chain) -> Found:
    image = await _dress(world, chain, "mallory", release=world.workflow_token(workflow=".github/workflows/test.yml"))
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"),
                         "shop-signed/released-by-the-release-workflow")


async def _other_authority(world: World, chain: Chain) -> Found:
    """Signed as Notation does by the right name, which an authority that anybody can make gave."""
    image = await _dress(world, chain, "other-authority", without="notation")
    await world.notarise(image, notary.Authority())
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"), "notarised/notarised")


async def _other_repository(world: World, chain: Chain) -> Found:
    assert chain.built is not None
    elsewhere = {**chain.built.provenance.external_parameters, "repository": "https://github.com/mallory/shop"}
    image = await _dress(world, chain, "fork",
                         provenance=replace(chain.built.provenance, external_parameters=elsewhere))
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"), "shop-built/provenance")


_PROBE = """
import json, os, socket, urllib.parse
place = urllib.parse.urlsplit("{url}")
def attempt(work):
    try:
        return "reached it: " + repr(work())
    except OSError as error:
        return error.strerror or str(error)
print("PROBE", json.dumps({{
    "the builder's key": attempt(lambda: open("{key}").read()),
    "the certificate authority": attempt(lambda: socket.create_connection((place.hostname, place.port), 2)),
    "a token in the environment": "reached it" if any("TOKEN" in name for name in os.environ) else "none"}}))
"""


async def _own_provenance(world: World, chain: Chain) -> Found:
    """A build step that looks for the builder's key, finds none, and so signs with its own."""
    assert chain.history is not None
    assert chain.author is not None
    # 1. The step, run by the real builder.
    files = read_files(examples() / "shop")
    probe = _PROBE.format(url=world.services.url, key=(world.platform.data / "trust" / "oidc.key").absolute())
    commit = chain.history.commit({**files, "build.py": files["build.py"] + probe.encode()}, "Look around",
                                  chain.author, branch="probe", parent=chain.commit)
    repository = local.git_repository(chain.history.folder)
    built = await asyncio.to_thread(lambda: build(
        repository, commit, repository_uri=REPOSITORY, layout=world.folder / "builds" / "probe", clock=system_clock,
        cache=chain.inputs, fetch=local.fetch_inputs()))
    repository.close()
    line = next(line for line in built.log.decode().splitlines() if line.startswith("PROBE "))
    reached = json.loads(line.removeprefix("PROBE "))
    if any(answer.startswith("reached") for answer in reached.values()):
        raise CustodyError(f"demo: the build step reached {reached}")
    # 2. Its image, with everything right but for provenance that a key of its own signed.
    image = await push(open_layout(built.layout), world.ref(), world.client, None, built.manifest)
    await _dress(world, chain, image, without="provenance")
    statement = intoto.statement(image.digest, PROVENANCE_V1, built.provenance.to_json(), name=world.name)
    good = world.signer("")
    forger = Signer(http=world.http, config=good.config, root=good.root, key=generate_key())
    data, _ = await forger.sign(statement, image.digest)
    await push_bundle(world.client, world.ref(image.digest), image, data, PROVENANCE_V1, system_clock())
    rule, reason = await _denied(world, world.pod(f"{world.name}@{image.digest}"), "shop-built/provenance")
    reached_for = "; ".join(f"{place}: {answer}" for place, answer in reached.items())
    return rule, f"{reason.partition('; .attestations')[0]} (the step looked for {reached_for})"


# Contents


async def _no_sbom(world: World, chain: Chain) -> Found:
    image = await _dress(world, chain, "no-sbom", without="sbom")
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"), "shop-contents/sbom")


async def _stale_scan(world: World, chain: Chain) -> Found:
    old = chain.scan.to_cosign_vuln()
    for name in ("scanStartedOn", "scanFinishedOn"):
        old["metadata"][name] = format_rfc3339((system_clock() - timedelta(hours=30)).replace(microsecond=0))
    image = await _dress(world, chain, "stale", scan=old)
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"), "shop-contents/scan")


async def _uncovered_scan(world: World, chain: Chain) -> Found:
    """The scanner's own signature and no findings, since its database was empty."""
    empty = local.advisories_in(world.folder / "empty.db")
    nothing = scan(chain.contents, empty, system_clock(), allow_empty=True)
    if nothing.findings:
        raise CustodyError("demo: an empty database has findings")
    image = await _dress(world, chain, "uncovered", scan=nothing.to_cosign_vuln())
    return await _denied(world, world.pod(f"{world.name}@{image.digest}"), "shop-covered/coverage")


async def _new_vulnerability(world: World, chain: Chain) -> Found:
    """The good image itself: yesterday admitted, today not. A later fix of the advisory lets it in again."""
    pod = world.pod(f"{world.name}@{chain.image.digest}")
    if not (await world.admit(pod))[0]:
        raise CustodyError("demo: the good image is denied before the advisory is published")
    victim = next(package for package in chain.contents.packages if package.ecosystem)
    if chain.built is not None:
        import_advisories(chain.advisories, examples() / "advisories-later", system_clock())
    else:
        folder = world.folder / "later"
        _write_advisory(folder, victim.ecosystem or "", victim.source)
        import_advisories(chain.advisories, folder, system_clock())
    report = scan(chain.contents, chain.advisories, system_clock())
    if not report.meets(Severity.CRITICAL):
        raise CustodyError("demo: the new advisory matches nothing")
    attestation, _ = await world.attest(chain.image, VULN, report.to_cosign_vuln(), world.scanner_token(),
                                        replaces=chain.scan_attestation.digest)
    rule, reason = await _denied(world, pod, "shop-contents/scan")
    await world.attest(chain.image, VULN, chain.scan.to_cosign_vuln(), world.scanner_token(),
                       replaces=attestation.digest)
    return rule, f"{reason} ({report.findings[0].id} in {report.findings[0].package}; scanned by {SCANNER})"


def _write_advisory(folder: Any, ecosystem: str, name: str) -> None:
    folder.mkdir()
    (folder / "DEMO-2026-0666.json").write_text(json.dumps({
        "schema_version": "1.7.0", "id": "DEMO-2026-0666", "modified": "2026-11-01T00:00:00Z",
        "summary": "Made up for the demo", "affected": [{
            "package": {"ecosystem": ecosystem, "name": name}, "database_specific": {"severity": "CRITICAL"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}))


# Registry and log


async def _changed_at_rest(world: World, chain: Chain) -> Found:
    _, data = await world.client.manifest(world.ref(chain.image.digest))
    body = oci.parse_manifest(data)
    assert isinstance(body, oci.Manifest)
    layer = body.layers[-1]
    path = world.platform.data / "registry" / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
    good = path.read_bytes()
    path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    try:
        await world.client.blob_to(world.ref(chain.image.digest), layer, world.folder / "pulled-layer")
    except VerificationError as error:
        report = await asyncio.to_thread(scrub, world.platform.archive())
        await world.client.push_blob(world.ref(), good, msgspec.structs.replace(layer, annotations={}))
        return "every pulled byte is hashed", (f"{error.message}; scrub quarantined {len(report.damaged)}, a push "
                                               "repaired it")
    raise CustodyError("demo: a changed layer was pulled")


async def _moved_tag(world: World, chain: Chain) -> Found:
    image = await world.variant(chain.image, "moved")
    _, data = await world.client.manifest(world.ref(image.digest))
    await world.client.push_manifest(world.ref(), data, image.media_type, tag="1.0")
    rule, reason = await _denied(world, world.pod(f"{world.name}:1.0"), "shop-signed/released-by-the-release-workflow")
    if not (await world.admit(world.pod(f"{world.name}@{chain.image.digest}")))[0]:
        raise CustodyError("demo: the pinned pod is denied because a tag moved")
    _, data = await world.client.manifest(world.ref(chain.image.digest))
    await world.client.push_manifest(world.ref(), data, chain.image.media_type, tag="1.0")
    moves = world.platform.registry.history(world.ref().repository, "1.0")
    return rule, f"{reason}; pods pinned to the digest still run; the tag's history keeps {len(moves)} entries"


async def _dropped_entry(world: World, chain: Chain) -> Found:
    """The log's operator, who has its key, writes the same log again without one entry."""
    log = world.platform.log.log
    entries = [audit.read_entry(log.reader, audit.read_checkpoint(log.reader, log.signer.verifier), at)[0]
               for at in range(log.size)]
    with contextlib.ExitStack() as stack:
        forged = open_ct_log(stack, world.folder / "forged-log", log.signer).log
        try:
            forged.append([*entries[:1], *entries[2:], b'{"one":"more"}'])
            audit.verify_log(forged.reader, log.signer.verifier, old=chain.checkpoint)
        except VerificationError as error:
            return "the log contains all that it contained", error.message
    raise CustodyError("demo: a log without one of its entries was believed")


# Runtime


async def _privileged(world: World, chain: Chain) -> Found:
    pod = world.pod(f"{world.name}@{chain.image.digest}",
                    securityContext={"privileged": True, "allowPrivilegeEscalation": True})
    return await _denied(world, pod, "shop-restricted/restricted")


def _one(failures: list[str]) -> str:
    if not failures:
        raise CustodyError("demo: the attack got through")
    return failures[0]


ATTACKS = (
    Attack("a commit that nobody signed", "source", _unsigned_commit,
           "a signer who is careless or bought, or a change that nobody else has read", needs_build=True),
    Attack("a dependency whose bytes are not the lock's", "build", _lying_input,
           "a dependency that was malicious when it was locked", needs_build=True),
    Attack("an image that nobody signed", "admission", _unsigned_image,
           "a signed image with a flaw: a signature proves origin, not safety"),
    Attack("the same image from another registry", "admission", _other_registry,
           "a bad image in the right registry"),
    Attack("the signature of another image, copied over", "sign & attest", _copied_signature,
           "a signer who is tricked into signing the wrong image"),
    Attack("a right signature by the wrong identity", "sign & attest", _wrong_identity,
           "the right workflow, changed in a reviewed-looking commit"),
    Attack("a Notation signature in the right name, by another authority", "sign & attest", _other_authority,
           "a trusted authority that gives the name to somebody else"),
    Attack("provenance that names another repository", "build", _other_repository,
           "a bad commit in the right repository", needs_build=True),
    Attack("provenance signed by the build step's own key", "build", _own_provenance,
           "a builder whose control plane is broken into", needs_build=True),
    Attack("no SBOM", "contents", _no_sbom, "an SBOM that does not list everything"),
    Attack("a scan that is too old", "contents", _stale_scan, "a vulnerability that nobody has published yet"),
    Attack("a scan that covered nothing", "contents", _uncovered_scan,
           "code that left no trace a package manager writes", needs_coverage=True),
    Attack("a critical vulnerability, published after the build", "contents", _new_vulnerability,
           "pods that run already: they are judged when they are created", needs_package=True),
    Attack("a blob changed at rest", "registry", _changed_at_rest, "an image that was bad when it was pushed"),
    Attack("a tag moved to another image", "registry", _moved_tag,
           "a moved tag whose new image has all the evidence too: that is a release"),
    Attack("a log that drops an entry", "sign & attest", _dropped_entry,
           "a log that shows different histories to people who never compare checkpoints"),
    Attack("a privileged pod", "runtime", _privileged, "an exploit of the kernel from an unprivileged pod"),
    Attack("a shell in the container", "runtime", intrusions.shell,
           "what the image's own programs can be talked into"),
    Attack("a binary that is in no layer", "runtime", intrusions.foreign_binary,
           "code that an interpreter is given as text"),
    Attack("a connection that a policy forbids", "runtime", intrusions.forbidden_connection,
           "data that leaves by a connection that is allowed"),
    Attack("an exec through the API server", "runtime", intrusions.exec_by_api,
           "somebody on the node, whom the API server never sees"),
)
