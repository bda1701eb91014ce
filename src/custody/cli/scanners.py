"""`--scanners vuln,secret,misconfig`: what is looked for in a target, and the report of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

import click
import msgspec

from custody.cli.bars import progress
from custody.cli.contents import Folders
from custody.errors import UnsupportedError, UsageError
from custody.formats.bom import Catalog
from custody.kit.amount import amount
from custody.kit.near import near
from custody.ports.advisories import AdvisoryStatus
from custody.services import contents
from custody.services.exposing import expose_image, expose_local
from custody.settings import Settings
from custody.vulns.coverage import Coverage
from custody.vulns.report import ScanReport
from custody.vulns.severity import Severity

if TYPE_CHECKING:
    from custody.exposure.image import Exposed

KINDS = ("vuln", "secret", "misconfig")
_ALIKE = {"config": "misconfig", "secrets": "secret", "vulnerability": "vuln", "vulns": "vuln"}
_ABOUT_PACKAGES = frozenset(("cosign-vuln", "in-toto-vulns", "cyclonedx-json", "gitlab", "openvex", "csaf"))


def parse(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """In one order, each once."""
    names = [_ALIKE.get(name.strip().lower(), name.strip().lower()) for text in given for name in text.split(",")]
    for name in names:
        if name == "license":
            raise UnsupportedError("--scanners license", "licences are listed, not judged",
                                   hint="custody sbom TARGET -o cyclonedx-json has them; custody affected "
                                        "license:ID asks for one")
        if name not in KINDS:
            raise UsageError(f"--scanners: got {name!r}, expected {', '.join(KINDS)}", hint=near(name, KINDS))
    return tuple(kind for kind in KINDS if kind in names)


def check_formats(formats: Collection[str], scanners: Collection[str]) -> None:
    """Raises UnsupportedError where a document about packages is asked for, and they are not looked into."""
    if "vuln" not in scanners and (wrong := sorted(_ABOUT_PACKAGES.intersection(formats))):
        raise UnsupportedError(f"-o {wrong[0]}", "no vulnerabilities are looked for",
                               hint=f"--scanners vuln,{','.join(scanners)}")


def look(settings: Settings, target: str, platform: str | None, folders: Folders, scanners: Collection[str],
         digest: str | None) -> tuple[Catalog, Exposed]:
    """Secrets and settings. `digest`: of the image that was catalogued, if it was."""
    local = contents.local(target)
    if local is not None:
        return expose_local(local, progress, scanners, exclude=folders.exclude)
    return asyncio.run(_image(settings, target, platform, scanners, digest))


async def _image(settings: Settings, target: str, platform: str | None, scanners: Collection[str],
                 digest: str | None) -> tuple[Catalog, Exposed]:
    from custody.wiring import registry_client

    async with registry_client(settings) as client:
        return await expose_image(target, client, settings.state() / "cache", progress, scanners, platform, digest)


def without_packages(catalog: Catalog, started: datetime, finished: datetime) -> ScanReport:
    """A report in which no vulnerability was looked for."""
    status = AdvisoryStatus(advisories=0, ecosystems={}, newest=None, imported_at=None, digest="")
    return ScanReport(target=catalog.name, digest=catalog.digest, started=started, finished=finished, database=status,
                      catalog=catalog, findings=(), undecided=(), coverage=Coverage(
                          packages=0, ecosystems=(), distribution=0, adopted=0, unknowns=(), database=status, gaps=()))


def added(report: ScanReport, exposed: Exposed, scanners: tuple[str, ...],
          severities: Collection[Severity] | None) -> ScanReport:
    """With what is exposed, the worst first, of the severities that were asked for."""
    exposures = [exposure for exposure in exposed.exposures
                 if (severities is None or Severity[exposure.severity.upper()] in severities)
                 and ("secret" if exposure.kind == "secret" else "misconfig") in scanners]
    exposures.sort(key=lambda exposure: (-Severity[exposure.severity.upper()], exposure.kind, exposure.path,
                                         exposure.line))
    return msgspec.structs.replace(report, exposures=tuple(exposures), scanners=scanners,
                                   apart=tuple(exposed.apart) if "secret" in scanners else (),
                                   unread=tuple(exposed.unread))


def lines(report: ScanReport, exposed: Exposed) -> list[str]:
    """What a person must know of it."""
    secrets = [exposure for exposure in report.exposures if exposure.kind == "secret"]
    said = []
    if "secret" in report.scanners:
        gone = sum(bool(exposure.removed_in) for exposure in secrets)
        said.append(f"secrets: {len(secrets)}" + (f", {gone} of them in files that a later layer takes away"
            if gone else ""))
        if exposed.discussed:
            first = exposed.apart[0]
            said.append(f"left out: {exposed.discussed} secrets in tests, examples, documents and crypto libraries, "
                        f"such as {first.id} in {first.path}:{first.line} (-o json: apart)")
        if exposed.beyond:
            said.append(f"warning: {exposed.beyond} more secrets are not listed")
        if exposed.unread:
            said.append(f"warning: not looked into: {amount(len(exposed.unread), 'file')}, such as {exposed.unread[0]}")
    if "misconfig" in report.scanners:
        said.append(f"risky settings: {len(report.exposures) - len(secrets)}")
    return said
