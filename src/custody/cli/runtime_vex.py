"""`custody runtime vex IMAGE`: what follows of a runtime attestation for a vulnerability."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from custody import __version__
from custody.cli import contents
from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, evidence_of, nothing, signers, verify_options
from custody.errors import MissingEvidenceError, UsageError
from custody.evidence.model import Evidence, Rejected, Verified
from custody.formats.vex import openvex
from custody.formats.vex.statement import Product, Statement
from custody.kit import destination
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.runtime import executables, notexecuted, runtrace
from custody.services.documents import json_bytes
from custody.services.verify import judge, judge_all
from custody.vulns.vex.product import parsed
from custody.wiring import registry_client
from custody.wiring.drift import drift_store, node_platform

_LARGEST = 64 << 20
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@click.command("vex", cls=Command)
@click.argument("image")
@click.option("--vulnerability", "--vuln", required=True, metavar="CVE", help="Its identifier.")
@click.option("--package", "package", required=True, metavar="PURL", help="The package of the image that has it.")
@click.option("--min-days", "days", type=click.FloatRange(0, 3650, min_open=True), default=7.0, show_default=True,
              help="For how long it must have been seen.")
@click.option("--bundle", "bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="The attestation, in place of those beside the image; IMAGE is named with its digest then.")
@click.option("--author", default="custody runtime", show_default=True, help="Who says so.")
@click.option("-o", "--output", "output", metavar="FILE", help="Where to; default: standard output.")
@verify_options
def command(image: str, vulnerability: str, package: str, days: float, bundle: Path | None, author: str,
            output: str | None, **options: Any) -> None:
    """OpenVEX `not_affected`, justified by `vulnerable_code_not_in_execute_path`, where a runtime attestation that
    --key or --certificate-… verifies saw the whole run and none of the package's files was executed. Of a package with
    files that can be loaded without that, such as libraries, it must have seen every file that was opened too.

    Anything else is refused with its reason, exit 4: a gap in what was seen, a run that was too short, executables that
    are not the image's, a package without files. `custody attest --type openvex` signs what this writes.
    """
    if parsed(package) is None:
        raise UsageError(f"--package: got {package!r}, expected a package URL such as pkg:deb/debian/zlib1g@1.2.13")
    if output is not None:
        destination.check(output, "-o")
    expected = Expected(settings(), options)
    digest, traces = (_of_file(image, bundle, expected) if bundle is not None else
                      asyncio.run(_beside(image, expected)))
    told = [(runtrace.read(statement.predicate, statement.source), statement) for statement in traces]
    trace, newest = max(told, key=lambda pair: pair[0].end)
    with closing(drift_store(settings())) as store:
        data = store.index(digest, node_platform())
    files = executables.read(data) if data is not None else None
    if files is None:
        raise MissingEvidenceError(f"{digest}: its files are not indexed here: nobody knows which are the package's",
                                   hint=f"custody runtime executables {image}")
    reason = notexecuted.check(trace, files, package, timedelta(days=days), now=system_clock())
    own = notexecuted.files_of(files, package)
    for former, said in told:  # of other clusters, and of the time before: they are of the same image
        if (used := notexecuted.contradiction(former, files, own)) is not None:
            raise MissingEvidenceError(f"{package}: {used}, as {said.signer} attested of {former.cluster}, "
                                       f"{former.start:%Y-%m-%d} to {former.end:%Y-%m-%d}")
    statement = Statement(
        vulnerability=vulnerability, status="not_affected", justification="vulnerable_code_not_in_execute_path",
        impact=f"{reason}; on {trace.cluster}, attested by {newest.signer}", time=format_rfc3339(contents.moment()),
        products=(Product(names=(digest,), components=((package,),)),))
    body = json_bytes(openvex.write([statement], author=author, now=contents.moment(),
                                    tooling=f"custody {__version__}"))
    if output is None:
        print(body.decode(), end="")
    else:
        destination.write(Path(output), body, "-o")
    print(visible(f"{image}: {vulnerability} in {package}: {reason}; attested by {signers([newest])}"), file=sys.stderr)


async def _beside(image: str, expected: Expected) -> tuple[str, list[Verified]]:
    async with registry_client(settings()) as client:
        async for ref, gathered, _ in evidence_of(client, [image]):
            judged = judge_all(str(ref.digest), gathered, expected.terms, system_clock())
            if not (traces := [*judged.of(runtrace.PREDICATE_TYPE)]):
                raise nothing(ref, "runtime attestation", judged.rejected)
            return str(ref.digest), traces
    raise MissingEvidenceError(f"{image}: no runtime attestation")  # not reached: there is one image


def _of_file(image: str, bundle: Path, expected: Expected) -> tuple[str, list[Verified]]:
    digest = image.rpartition("@")[2]
    if not digest.startswith("sha256:"):
        raise UsageError(f"IMAGE: got {image!r}, expected it with its digest: --bundle asks no registry")
    with bundle.open("rb") as file:
        data = file.read(_LARGEST)
    evidence = Evidence(subject=digest, media_type=_BUNDLE, data=data, source=str(bundle))
    judged = judge(evidence, expected.terms, system_clock())
    if isinstance(judged, Rejected):
        raise MissingEvidenceError(f"{bundle}: does not count: {judged.reason}")
    if judged.predicate_type != runtrace.PREDICATE_TYPE:
        raise MissingEvidenceError(f"{bundle}: is no runtime attestation", hint=f"its type is {judged.predicate_type}")
    return digest, [judged]
