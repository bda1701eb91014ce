"""`custody runtime attest IMAGE`: sign what was seen of an image while it ran."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.sign import make_signer, tell
from custody.cli.trust_options import Command, resolve, sign_options
from custody.errors import CustodyError, MissingEvidenceError, UsageError, unread
from custody.formats import intoto
from custody.formats.containers import of_pod, pods_of
from custody.formats.oci import Descriptor
from custody.formats.reference import Reference, parse
from custody.kit import destination, strictjson
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.members import items, mapping, object_of, text_of
from custody.kit.visible import visible
from custody.ports.drift import ExecutableStore
from custody.runtime import executables
from custody.runtime.egress import Baseline
from custody.runtime.executables import Executables
from custody.runtime.runtrace import PREDICATE_TYPE, Kept, Live, trace
from custody.services.baselines import read_all as read_baselines
from custody.services.witnessing import decoded, encoded, read_all
from custody.sign.referrers import push_bundle
from custody.wiring import cluster_client, command_http, registry_client
from custody.wiring.drift import drift_store, node_platform
from custody.wiring.local import inventory

_LARGEST = 512 << 20
_MOST = 200_000


@click.command("attest", cls=Command)
@click.argument("images", nargs=-1, metavar="[IMAGE…]")
@sign_options
@click.option("--all", "everything", is_flag=True,
              help="All images that a watch saw and of which it is known where they are from.")
@click.option("--cluster", metavar="NAME", help="Where it ran: the cluster's name, as whoever reads this knows it.")
@click.option("--witness", "witnesses", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE",
              help="What another node's watch saw (--export there), beside what is kept here; repeatable.")
@click.option("--export", "export", metavar="FILE",
              help="Write what the watches of this data directory saw into a file, and end.")
@click.option("--pods", "pods", metavar="FILE", help="`kubectl get pods -A -o json`, in place of asking the API server "
              "which containers run.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="The API server that is asked which containers run; default: custody.toml's.")
@click.option("--no-upload", is_flag=True, help="Store nothing in the registry; print the bundle.")
@click.option("--predicate-only", is_flag=True, help="Sign nothing; print the predicate.")
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bundle to a file too.")
def command(images: tuple[str, ...], everything: bool, cluster: str | None, witnesses: tuple[Path, ...],
            export: str | None, pods: str | None, kubeconfig: Path | None, no_upload: bool, predicate_only: bool,
            bundle_file: Path | None, **options: Any) -> None:
    """Sign that IMAGE (registry/name@sha256:…) ran in a cluster: from when to when, what it executed, what of that was
    none of its files, and how much could be seen. It is an in-toto runtime trace, stored beside the image.

    The gaps in what was seen are part of it, and said; `custody runtime vex` concludes nothing from one with gaps.
    """
    with closing(drift_store(settings())) as store:
        kept = [*read_all(store), *(seen for file in witnesses for seen in _witnesses(file))]
        if export is not None:
            _export(kept, export)
            return
        if everything and images:
            raise UsageError("IMAGE and --all: give one of them")
        if not images and not everything:
            raise UsageError("IMAGE: got none", hint="registry/name@sha256:…, of an image that a watch saw, or --all")
        if cluster is None:
            raise UsageError("--cluster: got none, expected the name of the cluster that it ran in")
        if bundle_file is not None:
            if len(images) > 1:
                raise UsageError("--bundle: is one file, and there are several images")
            destination.check(bundle_file, "--bundle")
        if not kept:
            raise MissingEvidenceError("no watch wrote down what it saw", hint="custody runtime watch --drift")
        live = _live(pods, kubeconfig)
        baselines = read_baselines(store)
        nameless: list[str] = []
        if everything:
            images, nameless = _named(kept, baselines)
            if bundle_file is not None:
                raise UsageError("--bundle: is one file, and --all may be several images")

        def predicate(digest: str) -> dict[str, Any]:
            data = store.index(digest, node_platform())
            files: Executables | None = executables.read(data) if data is not None else None
            digests = {digest, files.digest} if files is not None else {digest}
            if files is not None:  # nodes may have named it by its index, by its manifest, by its configuration
                digests |= {name for name in {name for watch in kept for name in watch.images} - digests
                            if _manifest(store, name) == files.digest}
            if not any(name in watch.images for watch in kept for name in digests):
                raise MissingEvidenceError(f"{digest}: no watch saw it run")
            running = None if live is None else [container for name, container in live if name in digests]
            seen = {container[:12] for watch in kept for run in watch.images.values() for container in run.containers}
            nameless = sum(1 for name, container in live or () if not name and container.identifier[:12] not in seen)
            return trace(digest, kept, system_clock(), cluster=cluster, live=running, files=files, names=digests,
                         baseline=next((baselines[name] for name in sorted(digests) if name in baselines), None),
                         nameless=nameless)

        asyncio.run(_run(images, predicate, _Way(no_upload, predicate_only, bundle_file), options))
        if nameless:
            raise MissingEvidenceError(f"{amount(len(nameless), 'image')} not attested, such as {nameless[0]}: nobody "
                                       "says of which repository it is")


def _manifest(store: ExecutableStore, name: str) -> str:
    """The digest of the manifest that this one means; empty where that is not known."""
    data = store.index(name, node_platform())
    files = executables.read(data) if data is not None else None
    return files.digest if files is not None else ""


def _named(kept: Sequence[Kept], baselines: Mapping[str, Baseline]) -> tuple[tuple[str, ...], list[str]]:
    """`repository@digest` of all that was seen, by the inventory's names or the runtime's; and those without one."""
    digests = sorted({digest for watch in kept for digest in watch.images})
    seen = inventory(settings()).seen(digests)
    images, nameless = [], []
    for digest in digests:
        rows = [row for row in seen.get(digest, ()) if row.kind == "name"]
        named = max(rows, key=lambda row: row.last).where if rows else ""
        if not named and digest in baselines:
            named = baselines[digest].image
        named = named or next((watch.images[digest].image for watch in kept if digest in watch.images), "")
        if named:
            images.append(f"{parse(named).name}@{digest}")
        else:
            nameless.append(digest)
    return tuple(images), nameless


class _Way:
    """What becomes of it."""

    def __init__(self, no_upload: bool, predicate_only: bool, file: Path | None) -> None:
        self.no_upload, self.predicate_only, self.file = no_upload, predicate_only, file


async def _run(images: Sequence[str], predicate: Any, way: _Way, options: dict[str, Any]) -> None:
    http = command_http(settings())
    signer = None if way.predicate_only else await make_signer(http, options)
    async with registry_client(settings(), http) as client:
        for image in images:
            if signer is None and (named := parse(image)).digest is not None:  # nobody need be asked
                said = predicate(named.digest)
                _tell_gaps(named, said)
                print(json.dumps(said, indent=2))
                continue
            ref, descriptor = await resolve(client, image)
            said = predicate(descriptor.digest)
            _tell_gaps(ref, said)
            if signer is None:
                print(json.dumps(said, indent=2))
                continue
            statement = intoto.statement(descriptor.digest, PREDICATE_TYPE, said, name=ref.name)
            data, verified = await signer.sign(statement, descriptor.digest)
            if way.file is not None:
                destination.write(way.file, data, "--bundle")
            if way.no_upload:
                print(data.decode())
            else:
                subject: Descriptor = descriptor
                pushed = await push_bundle(client, ref, subject, data, PREDICATE_TYPE, system_clock())
                print(f"{ref.name}@{pushed.digest}")
            tell(ref, "runtime trace attested", verified)


def _tell_gaps(ref: Reference, predicate: dict[str, Any]) -> None:
    own = predicate["custody"]
    print(visible(f"{ref}: seen from {own['from']} to {own['to']} in {amount(own['containers'], 'container')} on "
                  f"{amount(len(own['nodes']), 'node')}: {amount(own['executions'], 'execution')}, "
                  f"{amount(len(own['unknownExecutables']), 'executable')} not the image's"), file=sys.stderr)
    for gap in own["gaps"]:
        print(visible(f"gap: {gap}"), file=sys.stderr)


def _witnesses(file: Path) -> list[Kept]:
    where = f"--witness {file}"
    document = mapping(strictjson.loads(file.read_bytes(), where, max_size=_LARGEST), where)
    seen = []
    for place, entry in enumerate(items(document, "witnesses", where, 10_000)):
        try:
            data = bytes.fromhex(entry if isinstance(entry, str) else "")
        except ValueError:
            data = b""
        seen.append(decoded(data, f"{where}.witnesses[{place}]"))
    return seen


def _export(kept: Sequence[Kept], file: str) -> None:
    if not kept:
        raise MissingEvidenceError("no watch wrote down what it saw", hint="custody runtime watch --drift")
    body = json.dumps({"witnesses": [encoded(seen).hex() for seen in kept]}).encode()
    destination.write(Path(file), body, "--export")
    print(f"{amount(len(kept), 'watch', 'watches')} of {amount(len({seen.node for seen in kept}), 'node')}",
          file=sys.stderr)


def _live(pods: str | None, kubeconfig: Path | None) -> list[tuple[str, Live]] | None:
    """Digest (empty: the node does not say) and container of all that run; None where there is nobody to ask."""
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    if pods is not None:
        try:
            data = Path(pods).read_bytes()
        except OSError as error:
            raise unread(f"--pods {pods}", error) from None
        listed: list[Any] = pods_of(strictjson.loads(data, f"--pods {pods}", max_size=_LARGEST), f"--pods {pods}")
    else:
        try:
            listed = asyncio.run(_asked(configured))
        except UsageError:
            return None
        except CustodyError as error:
            print(visible(f"warning: which containers run is not known: {error.message}"), file=sys.stderr)
            return None
    live = []
    for pod in listed:
        if not isinstance(pod, dict):
            continue
        node = text_of(object_of(pod, "spec"), "nodeName")
        live += [(container.digest, Live(container.identifier, node, container.started)) for container in of_pod(pod)
                 if container.digest or container.identifier]
    return live


async def _asked(configured: Any) -> list[Any]:
    client = cluster_client(configured)
    try:
        kind = await client.resource("v1", "Pod")
        return (await client.list(kind)).items if kind is not None else []
    finally:
        await client.cluster.close()
