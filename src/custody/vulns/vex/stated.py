"""A scan as VEX: what is said of each finding, in statements about the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from custody.errors import CustodyError
from custody.formats import purl, reference
from custody.formats.bom import Catalog
from custody.formats.vex.statement import Product, Statement, Status

if TYPE_CHECKING:
    from custody.vulns.findings import Finding
    from custody.vulns.report import ScanReport


def product(catalog: Catalog) -> tuple[str, ...]:
    """What a target is called: the package URL of its repository at its digest, and the digest; else its name.

    The first is an IRI, as OpenVEX and its schema demand of a product's `@id`.
    """
    if catalog.kind != "container":
        return str(purl.build("generic", catalog.name)), catalog.name
    try:
        image = reference.parse(catalog.name)
    except CustodyError:
        return (catalog.digest,)
    return str(purl.build("oci", image.repository.rpartition("/")[2], version=catalog.digest,
                          qualifiers={"repository_url": image.name})), catalog.digest


def statements(report: ScanReport) -> Iterator[Statement]:
    """One a finding: `affected` with what to do, or what a VEX statement said of it.

    A rule of an ignore file says that somebody accepts a finding, and not that it is none: `affected`, with the reason.
    """
    names = product(report.catalog)
    for finding in report.findings:
        yield _statement(finding, names, "affected", action=f"update to {' or '.join(finding.fixed)}"
                         if finding.fixed else "no fixed version is known")
    for ignored in report.ignored:
        if ignored.status in ("not_affected", "fixed"):
            yield _statement(ignored.finding, names, "fixed" if ignored.status == "fixed" else "not_affected",
                             impact=f"{ignored.reason} ({ignored.by}; {ignored.source})")
        else:
            yield _statement(ignored.finding, names, "affected", action=f"left out of the scan: {ignored.reason}")


def _statement(finding: Finding, names: tuple[str, ...], status: Status, *, impact: str = "", action: str = ""
               ) -> Statement:
    aliases = tuple(name for name in (finding.id, *finding.aliases) if name != finding.cve)
    return Statement(vulnerability=finding.cve, aliases=tuple(dict.fromkeys(aliases)), status=status, impact=impact,
                     action=action, products=(Product(names=names, components=((finding.purl,),)),))
