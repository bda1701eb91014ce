"""`custody runtime executables IMAGE`: which files of an image may be executed, as running containers are held to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from custody.cli import contents
from custody.cli.bars import progress
from custody.cli.run import settings
from custody.cli.trust_options import Expected, verify_options
from custody.errors import DeniedError, MissingEvidenceError, UsageError
from custody.formats import reference, sbomfiles
from custody.formats.sbom import PREDICATES
from custody.kit import strictjson
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.registry.image import Image
from custody.runtime.executables import Entry, Executables, Stated
from custody.services.contents import catalog_opened
from custody.services.imagefiles import keep, read_files
from custody.services.stored import is_stored, open_stored
from custody.wiring.drift import drift_store
from custody.wiring.local import inventory, layer_cache

_LARGEST = 64 << 20
_EXECUTE = 0o111


@click.command("executables")
@click.argument("image", required=False)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("--sbom", "sbom", metavar="FILE|attested", help="Compare with what an SBOM states of files: SPDX, "
              "CycloneDX or syft JSON; `attested`: the signed one beside the image, by whom --key or --certificate-… "
              "expect.")
@click.option("--all", "everything", is_flag=True, help="All files, and not only those that may be executed.")
@click.option("--path", "path", metavar="PATH", help="Only this file, links followed.")
@click.option("--forget", metavar="DIGEST", help="Let go of the index of this image, and end.")
@click.option("-o", "--output", "chosen", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets; json is one object a line.")
@verify_options
def command(image: str | None, platform: str | None, sbom: str | None, everything: bool, path: str | None,
            forget: str | None, chosen: str, **options: Any) -> None:
    """Index the files of IMAGE (registry/name, oci:DIR, archive:FILE) by path and SHA-256, keep that for `custody
    runtime watch`, and show the executables. Without IMAGE: which images are indexed.

    Exit 3 where the SBOM states another digest of some file than the image has, 4 where it states none at all.
    """
    if forget is not None:
        _forget(forget)
        return
    if image is None:
        if sbom or everything or path or platform:
            raise UsageError("IMAGE: got none, and --sbom, --all, --path and --platform are about one")
        _listed(chosen)
        return
    expected = Expected(settings(), options) if sbom == "attested" else None
    files = asyncio.run(_read(image, platform))
    if sbom is not None:
        files = _compared(files, image, sbom, expected)
    shown = files.at(path) if path is not None else [
        entry for entry in files.entries() if everything or entry.mode & _EXECUTE]
    if path is not None and not shown:
        raise MissingEvidenceError(f"{image}: has no file {visible(path)}")
    _show(shown, chosen, files)
    for reason in files.unread[:10]:
        print(visible(f"warning: {reason}"), file=sys.stderr)
    executable = sum(bool(entry.mode & _EXECUTE) for entry in files.entries())
    print(visible(f"{image}: {amount(len(files), 'file')}, {executable} of them may be executed; "
                  f"{files.digest} ({files.platform})"), file=sys.stderr)
    if sbom is not None:
        _conclude(files, image)


async def _read(target: str, platform: str | None) -> Executables:
    configured = settings()
    sys.setswitchinterval(0.001)
    with closing(drift_store(configured)) as store:
        def made(opened: Image, names: set[str]) -> Executables:
            catalog = inventory(configured).catalog(opened.descriptor.digest) or catalog_opened(
                target, opened, layer_cache(configured.state() / "cache" / "layers.db"), progress)
            return read_files(opened, store, system_clock, progress, names=names, catalog=catalog)

        if is_stored(target):
            return made(open_stored(target, platform), set())
        from custody.services.targets import check, pull
        from custody.wiring import registry_client

        check(target)
        ref = reference.parse(target, "target")
        async with registry_client(configured) as client:
            opened = await pull(ref, client, configured.state() / "cache", platform or "linux/amd64")
            named = (await client.resolve(ref)).digest
            return await asyncio.to_thread(made, opened, {named} - {opened.descriptor.digest})


def _compared(files: Executables, image: str, sbom: str, expected: Expected | None) -> Executables:
    if expected is None:
        place = Path(sbom)
        try:
            data = place.read_bytes()
        except OSError as error:
            raise UsageError(f"--sbom {sbom}: {error.strerror}") from None
        stated = sbomfiles.files(strictjson.loads(data, f"--sbom {sbom}", max_size=_LARGEST), f"--sbom {sbom}")
        print(visible(f"warning: --sbom {sbom}: nobody checked who signed it"), file=sys.stderr)
        signer = ""
    else:
        stated, signer = asyncio.run(_attested(files, image, expected))
    compared = files.compared(stated, signer)
    if signer:
        with closing(drift_store(settings())) as store:
            keep(compared, store, system_clock)
    return compared


async def _attested(files: Executables, image: str, expected: Expected) -> tuple[list[tuple[str, str]], str]:
    """What verified SBOMs of the image state of files, and who signed them."""
    from custody.cli.trust_options import evidence_of, nothing
    from custody.services.verify import judge_all
    from custody.wiring import registry_client

    name = image if image.startswith("oci:") else f"{reference.parse(image).name}@{files.digest}"
    async with registry_client(settings()) as client:
        async for ref, gathered, _ in evidence_of(client, [name]):
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock())
            statements = [statement for statement in judged.verified if statement.predicate_type in PREDICATES]
            if not statements:
                raise nothing(ref, "SBOM", judged.rejected)
            rows = [row for statement in statements for row in sbomfiles.files(statement.predicate, statement.source)]
            return rows, ", ".join(sorted({str(statement.signer) for statement in statements}))
    raise MissingEvidenceError(f"{image}: no SBOM")  # not reached: there is one image


def _conclude(files: Executables, image: str) -> None:
    counts = Counter(entry.stated for entry in files.entries() if entry.mode & _EXECUTE)
    print(f"SBOM: {counts[Stated.SAME]} executables as it states them, {counts[Stated.ANOTHER]} with another digest, "
          f"{counts[Stated.NOTHING]} of which it states none", file=sys.stderr)
    other_bytes = [entry.path for entry in files.entries() if entry.stated is Stated.ANOTHER]
    if other_bytes:
        raise DeniedError(f"{image}: {amount(len(other_bytes), 'file')} with another digest than the SBOM states, "
                          f"such as {visible(other_bytes[0])}")
    if not any(entry.stated for entry in files.entries()):
        raise MissingEvidenceError(f"{image}: the SBOM states no SHA-256 of any file of the image",
                                   hint="syft -o syft-json with file digests, or SPDX with files")


def _show(entries: list[Entry], chosen: str, files: Executables) -> None:
    if chosen == "json":
        for entry in entries:
            print(json.dumps({"path": f"/{entry.path}", "sha256": entry.sha256 or None, "mode": f"{entry.mode:04o}",
                              "layer": entry.layer, "package": entry.owner or None,
                              **({"sbom": entry.stated.name.lower()} if files.sbom or entry.stated else {})}))
        return
    rows = [("PATH", "SHA256", "MODE", "PACKAGE", "LAYER")]
    rows += [(f"/{entry.path}", entry.sha256[:16] or "not hashed", f"{entry.mode:04o}", entry.owner or "-",
              entry.layer[7:19]) for entry in entries]
    sys.stdout.write(contents.columns(rows))
    sys.stdout.flush()


def _listed(chosen: str) -> None:
    with closing(drift_store(settings())) as store:
        kept = store.indexes()
    if chosen == "json":
        for index in kept:
            print(json.dumps({"digest": index.digest, "name": index.name, "platform": index.platform,
                              "files": index.files, "bytes": index.size}))
    elif kept:
        sys.stdout.write(contents.columns([("IMAGE", "PLATFORM", "FILES", "BYTES", "DIGEST"), *(
            (index.name, index.platform, str(index.files), str(index.size), index.digest) for index in kept)]))
    if not kept:
        print("no image is indexed", file=sys.stderr)


def _forget(digest: str) -> None:
    with closing(drift_store(settings())) as store:
        if not store.forget(digest):
            raise MissingEvidenceError(f"{digest}: no index of such an image is kept")
