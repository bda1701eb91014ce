"""OVAL of Oracle Linux and of Azure Linux (https://oval.mitre.org/, definitions 5.x): tests of versions of rpms.

https://linux.oracle.com/security/oval/ and https://github.com/microsoft/AzureLinuxVulnerabilityData. A definition is
true of a machine that is affected; its criteria are tests joined by AND and OR: of the release, of a stream, and
`NAME is earlier than EVR`, each of an object (the name) and a state (the version).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats.advisories.fields import EVERY, Fixes, moment, summary, through, until
from custody.formats.advisories.markup import Element, elements
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.osv import Advisory, Affected, cve_of

MAX_SIZE = 1 << 30
_TAGS = ("generator", "definition", "rpminfo_test", "rpminfo_object", "rpminfo_state")
_MODULE = re.compile(r"Module (\S+:\S+) is enabled", re.IGNORECASE)
_RELEASE = re.compile(r"Oracle Linux (?:release )?([0-9]+) is installed", re.IGNORECASE)
_PLATFORM = re.compile(r"Oracle Linux ([0-9]+)\Z")
_AZURE = re.compile(r"\.(?:cm|azl)([0-9]+)\b")
_MAX_DEPTH = 32


class _Test(NamedTuple):
    """What is tested of a package."""

    name: str
    operation: str
    evr: str


class _Scope(NamedTuple):
    release: str = ""
    module: str = ""


def is_definitions(data: bytes) -> bool:
    return b"oval_definitions" in data[:4096]


def read(data: bytes, where: str) -> Snapshot:
    definitions: list[Element] = []
    names: dict[str, str] = {}
    states: dict[str, tuple[str, str]] = {}
    references: dict[str, tuple[str, str]] = {}
    for element in elements(data, _TAGS, where):
        identifier = element.attributes.get("id", "")
        if element.tag == "definition":
            definitions.append(element)
        elif element.tag == "rpminfo_object":
            names[identifier] = element.first("name").text
        elif element.tag == "rpminfo_state":
            evr = element.first("evr")
            if evr.text:
                states[identifier] = (evr.attributes.get("operation", "equals"), evr.text)
        elif element.tag == "rpminfo_test":
            references[identifier] = (element.first("object").attributes.get("object_ref", ""),
                                      element.first("state").attributes.get("state_ref", ""))
    tests = {identifier: _Test(names[package], *states[state]) for identifier, (package, state) in references.items()
             if names.get(package) and state in states}
    platforms = {platform.text for definition in definitions for platform in definition.below("platform")}
    if any(platform.startswith("Oracle Linux") for platform in platforms):
        return Snapshot("oracle", "", _oracle(definitions, tests, where))
    if any(mark in platform for platform in platforms for mark in ("CBL-Mariner", "Azure Linux")):
        releases = {match[1] for test in tests.values() if (match := _AZURE.search(test.evr))}
        if len(releases) != 1:
            raise MalformedError(where, got=f"packages of {len(releases)} releases", expected="one release a document")
        release = releases.pop()
        return Snapshot("azure-linux", release, _azure(definitions, tests, f"Azure Linux:{release}", where))
    raise UnsupportedError(f"{where}: platform", f"OVAL of {', '.join(sorted(platforms)[:3]) or 'no platform'} is not "
                           "read: Oracle Linux and Azure Linux are",
                           hint="of Ubuntu, Debian, Red Hat and SUSE import the tracker's, OSV's or CSAF's documents")


def _oracle(definitions: list[Element], tests: Mapping[str, _Test], where: str) -> Iterator[Advisory]:
    for definition in definitions:
        metadata = definition.first("metadata")
        name = next((reference.attributes.get("ref_id", "") for reference in metadata.below("reference")
                     if reference.attributes.get("source", "").lower() == "elsa"),
                    metadata.first("title").text.partition(":")[0])
        platforms = [match[1] for platform in metadata.below("platform") if (match := _PLATFORM.match(platform.text))]
        fixes = Fixes()
        for test, scope in _leaves(definition.first("criteria"), tests, _Scope(platforms[0] if len(platforms) == 1
                                                                             else ""), where):
            if test.operation != "less than" or not scope.release:
                continue
            # Builds of another kind stand beside the ordinary ones, and each is only compared with its own.
            kind = next((f":{kind}" for kind in ("ksplice", "fips") if kind in test.evr), "")
            fixes.add(Affected(f"Oracle Linux:{scope.release}{kind}", test.name, module=scope.module), until(test.evr))
        advisory = metadata.first("advisory")
        cves = [cve.text for cve in metadata.below("cve") if cve_of(cve.text)] or [
            reference.attributes.get("ref_id", "") for reference in metadata.below("reference")
            if cve_of(reference.attributes.get("ref_id", ""))]
        yield _advisory(name, definition, fixes, tuple(dict.fromkeys(cves)), "oracle",
                        advisory.first("severity").text, advisory.first("issued").attributes.get("date", ""), where)


def _azure(definitions: list[Element], tests: Mapping[str, _Test], ecosystem: str, where: str) -> Iterator[Advisory]:
    by_id: dict[str, tuple[Element, Fixes]] = {}
    for definition in definitions:
        metadata = definition.first("metadata")
        name = next((ref for reference in metadata.below("reference")
                     if cve_of(ref := reference.attributes.get("ref_id", ""))), "")
        if not name:
            raise MalformedError(f"{where}: {definition.attributes.get('id', 'definition')}", got="no CVE",
                                 expected="a reference to one")
        _, fixes = by_id.setdefault(name, (definition, Fixes()))
        if metadata.first("patchable").text.lower() == "not applicable":  # the publisher's word for a false alarm
            for test, _ in _leaves(definition.first("criteria"), tests, _Scope(), where):
                fixes.add(Affected(ecosystem, test.name, status="not_affected", reason="Not Applicable"))
            continue
        ends = [test for test, _ in _leaves(definition.first("criteria"), tests, _Scope(), where)]
        ended = {test.name for test in ends if test.operation.startswith("less than")}
        for test in ends:
            if test.operation == "less than":
                fixes.add(Affected(ecosystem, test.name), until(test.evr))
            elif test.operation == "less than or equal":
                fixes.add(Affected(ecosystem, test.name), through(test.evr))
            elif test.operation == "greater than" and test.name not in ended:  # `greater than 0.0.0`: no fix yet
                fixes.add(Affected(ecosystem, test.name), EVERY)
    for name, (definition, fixes) in by_id.items():
        metadata = definition.first("metadata")
        yield _advisory(f"AZURELINUX-{name}", definition, fixes, (name,), "azure-linux",
                        metadata.first("severity").text, metadata.first("advisory_date").text, where)


def _advisory(name: str, definition: Element, fixes: Fixes, upstream: tuple[str, ...], source: str, word: str,
              day: str, where: str) -> Advisory:
    if not name:
        raise MalformedError(f"{where}: {definition.attributes.get('id', 'definition')}", got="no name",
                             expected="a title or a reference")
    title = definition.first("metadata").first("title").text
    return Advisory(id=name, modified="", withdrawn=False, aliases=(), summary=summary(title),
                    severity=(), ratings=(word,) if word and word not in ("N/A", "None") else (),
                    affected=fixes.affected(), upstream=upstream, source=source,
                    published=moment(day, f"{where}: {name}") if day else "")


def _leaves(criteria: Element, tests: Mapping[str, _Test], scope: _Scope, where: str,
            depth: int = 0) -> Iterator[tuple[_Test, _Scope]]:
    """Each test of a package, with the release and the stream that hold where it does: what is beside it under AND."""
    if depth > _MAX_DEPTH:
        raise MalformedError(f"{where}: criteria", got="criteria in criteria", expected=f"at most {_MAX_DEPTH}")
    if criteria.attributes.get("operator", "AND") == "AND":
        for criterion in criteria.all("criterion"):
            comment = criterion.attributes.get("comment", "")
            if match := _RELEASE.search(comment):
                scope = scope._replace(release=match[1])
            if match := _MODULE.search(comment):
                scope = scope._replace(module=match[1])
    for child in criteria.children:
        if child.tag == "criteria":
            yield from _leaves(child, tests, scope, where, depth + 1)
        elif child.tag == "criterion" and child.attributes.get("test_ref", "") in tests:
            if child.attributes.get("negate", "false").lower() == "true":
                continue
            yield tests[child.attributes["test_ref"]], scope
