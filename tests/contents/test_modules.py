"""Streams of modules: an advisory for one says nothing of another, nor of a package outside modules."""

from __future__ import annotations

import pytest

from custody.formats.bom import Package, from_purl
from custody.formats.osv import Affected, Range
from custody.vulns.modules import build, of_another

_PURL = "pkg:rpm/almalinux/nodejs@{}?distro=almalinux-8.9"
_LABEL = "&rpmmod=nodejs:{}:8090020231023141150:a"


@pytest.mark.parametrize(("version", "stream", "fixed", "summary", "other"), [
    ("16.20.2-4.module_el8.9.0+1", "16", "18.18.2-2.module_el8.9.0+2", "Important: nodejs:18 security update", True),
    ("16.20.2-4.module_el8.9.0+1", "16", "16.20.2-8.module_el8.9.0+2", "Important: nodejs:16 security update", False),
    ("16.20.2-4.module+el8.9.0+1", "16", "18.18.2-2.module+el8.9.0+2", "nodejs:16 and nodejs:18 update", False),
    ("16.20.2-4.module_el8.9.0+1", "16", "18.18.2-2.module_el8.9.0+2", "nodejs security update", False),
    ("16.20.2-4.module_el8.9.0+1", "", "18.18.2-2.module_el8.9.0+2", "Important: nodejs:18 security update", False),
    ("16.20.2-4.module_el8.9.0+1", "16", "18.18.2-2.el8", "Important: nodejs security update", True),
    ("16.20.2-4.el8", "", "18.18.2-2.module_el8.9.0+2", "Important: nodejs:18 security update", True),
    ("16.20.2-4.el8", "", "18.18.2-2.el8", "Important: nodejs security update", False),
    ("16.20.2-4.el8", "16", "18.18.2-2.module_el8.9.0+2", "Important: nodejs:18 security update", True),
    # A release that says of a module what no label does, or the other way round: anybody may have written either.
    ("16.20.2-4.module_el8.9.0+1", "", "18.18.2-2.el8", "Important: nodejs security update", False),
    ("16.20.2-4.el8", "16", "18.18.2-2.el8", "Important: nodejs security update", False),
    ("16.20.2-4.module_el8.9.0+1", "16", "", "no version mends it", False)])
def test_which_build_an_advisory_is_about(version: str, stream: str, fixed: str, summary: str, other: bool) -> None:
    package = from_purl(_PURL.format(version) + (_LABEL.format(stream) if stream else ""), None)
    events = (("introduced", "0"), *((("fixed", fixed),) if fixed else ()))
    affected = Affected("AlmaLinux:8", "nodejs", (Range("ECOSYSTEM", events),))
    assert _of_another(package, affected, summary) == other
    trivy = from_purl(package.purl.replace("rpmmod", "modularitylabel"), None)
    assert _of_another(trivy, affected, summary) == other


def _of_another(package: Package, affected: Affected, summary: str) -> bool:
    built = build(package)
    assert built is not None
    return of_another(built, affected, summary)


def test_other_packages_have_no_modules() -> None:
    assert build(from_purl("pkg:deb/debian/a@1.module_1?distro=debian-12", None)) is None
