"""The kinds of evidence that policy languages see, and what a statement of each says, as plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from weakref import ref

from custody.errors import MalformedError
from custody.evidence.model import Verified
from custody.formats import intoto, intotovulns, sbom, vulnattestation
from custody.formats.slsa import PROVENANCE_V1
from custody.kit.clock import parse_rfc3339
from policylang.errors import Shape

PROVENANCE_02 = "https://slsa.dev/provenance/v0.2"
TYPES: Mapping[str, tuple[str, ...]] = {
    "signatures": (intoto.COSIGN_SIGN,),
    "provenance": (PROVENANCE_V1, PROVENANCE_02),
    "sbom": sbom.PREDICATES,
    "findings": (vulnattestation.PREDICATE_TYPE, intotovulns.PREDICATE_TYPE)}
"""The predicate types of each kind."""
KINDS = tuple(TYPES)
SEVERITIES = ("critical", "high", "medium", "low", "none", "unknown")
MAX_PACKAGES = 20_000
"""Of an SBOM: it is read while somebody waits for a decision, and that ends within a second or two."""
_SHOWN = 200
_EARLY = timedelta(minutes=5)  # by which clocks may differ


def types_of(kinds: Collection[str]) -> frozenset[str]:
    """The predicate types of some kinds."""
    return frozenset(kind for name in kinds for kind in TYPES[name])


_CONTENTS: dict[int, tuple[ref[Verified], Any]] = {}
"""By statement, while anybody keeps that: what a gatherer keeps is bounded, and this is a part of the same."""


def _content(statement: Verified, read: Callable[[Verified], Any]) -> Any:
    """What was read of a statement, once for all who look at the same one: evidence outlives a burst of reviews."""
    at = id(statement)
    kept = _CONTENTS.get(at)
    if kept is not None and kept[0]() is statement:
        return kept[1]
    content = read(statement)

    def forget(gone: ref[Verified]) -> None:
        if (there := _CONTENTS.get(at)) is not None and there[0] is gone:
            _CONTENTS.pop(at, None)

    _CONTENTS[at] = ref(statement, forget), content
    return content


def content_of(kind: str, statement: Verified, now: datetime) -> dict[str, Any]:
    """What a statement of a kind says beside who vouches for it. Raises MalformedError, UnsupportedError."""
    if kind == "signatures":
        return {}
    read: dict[str, Any] = _content(statement, _READERS[kind])
    if kind == "findings":
        finished = parse_rfc3339(read["finished"], "metadata.scanFinishedOn")
        if finished - now > _EARLY:  # it would be young for as long as it likes
            raise MalformedError("metadata.scanFinishedOn", got=read["finished"], expected="a time that has come")
        return {**read, "age": max(0, int((now - finished).total_seconds()))}
    return read


def _provenance(statement: Verified) -> dict[str, Any]:
    """Builder, type of build, parameters from outside, and what went in."""
    predicate = _map(statement.predicate, "predicate")
    if statement.predicate_type == PROVENANCE_V1:
        definition = _map(predicate.get("buildDefinition"), "buildDefinition")
        details = _map(predicate.get("runDetails"), "runDetails")
        builder, materials = _map(details.get("builder"), "runDetails.builder"), definition.get("resolvedDependencies")
        kind, parameters = definition.get("buildType"), definition.get("externalParameters")
    else:
        builder, materials = _map(predicate.get("builder"), "builder"), predicate.get("materials")
        kind, parameters = predicate.get("buildType"), predicate.get("invocation")
    return {"builder": _text(builder.get("id"), "builder.id"), "build_type": _text(kind, "buildType"),
            "parameters": {} if parameters is None else _map(parameters, "parameters"),
            "materials": [{"uri": str(entry.get("uri") or ""), "digest": entry.get("digest") or {}}
                          for entry in _maps(materials, "materials")]}


def _sbom(statement: Verified) -> dict[str, Any]:
    catalog = sbom.of_predicate(statement.predicate_type, statement.predicate, "SBOM", most=MAX_PACKAGES)
    return {"format": catalog.document.format if catalog.document is not None else "",
            "packages": [{"name": package.name, "version": package.version, "type": package.type, "purl": package.purl,
                          "licenses": [*package.licenses]} for package in catalog.packages]}


def _findings(statement: Verified) -> dict[str, Any]:
    """What a scanner found, and whether it says that it looked at everything."""
    predicate = _map(statement.predicate, "predicate")
    metadata, scanner = _map(predicate.get("metadata"), "metadata"), _map(predicate.get("scanner"), "scanner")
    finished = _text(metadata.get("scanFinishedOn"), "metadata.scanFinishedOn")
    parse_rfc3339(finished, "metadata.scanFinishedOn")
    gaps: list[str] | None = None
    ignored = 0
    if statement.predicate_type == intotovulns.PREDICATE_TYPE:
        vulnerabilities = [_of_intoto(entry) for entry in _maps(scanner.get("result"), "scanner.result")]
    else:
        result = _map(scanner.get("result"), "scanner.result")
        if "Results" not in result and "SchemaVersion" not in result:
            raise MalformedError("scanner.result", got="another scanner's form", expected="Results, as Trivy has them")
        vulnerabilities = [_of_trivy(entry) for part in _maps(result.get("Results"), "Results")
                           for entry in _maps(part.get("Vulnerabilities"), "Vulnerabilities")]
        if result.get("coverage") is not None:
            coverage = _map(result["coverage"], "coverage")
            listed, passed = coverage.get("gaps"), coverage.get("ignored") or []
            if not isinstance(listed, list) or not isinstance(passed, list):
                raise MalformedError("coverage.gaps", got=Shape(listed), expected="a list")
            gaps, ignored = [str(gap)[:_SHOWN] for gap in listed], len(passed)
    counts = dict.fromkeys(SEVERITIES, 0)
    for vulnerability in vulnerabilities:
        counts[vulnerability["severity"]] += 1
    return {"scanner": str(scanner.get("uri") or ""), "finished": finished, "counts": counts,
            "vulnerabilities": vulnerabilities, "covered": gaps == [] and not ignored,
            "gaps": [] if gaps is None else gaps, "ignored": ignored}


def _of_trivy(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": _text(entry.get("VulnerabilityID"), "VulnerabilityID"), "severity": _severity(entry.get("Severity")),
            "package": str(entry.get("PkgName") or ""), "version": str(entry.get("InstalledVersion") or ""),
            "fixed": str(entry.get("FixedVersion") or "")}


def _of_intoto(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Its scores have methods of the scanner's own: a word is a severity, a number or a vector one of CVSS.

    The worst counts.
    """
    from custody.formats.cvssvector import base_score  # few have vectors, and its tables take time to load

    worst = "unknown"
    for score in _maps(entry.get("severity"), "severity"):
        stated = str(score.get("score") or "")
        rated = _severity(stated)
        number = float(stated) if re.fullmatch(r"\d{1,2}(\.\d+)?", stated) else base_score(stated)
        if number is not None:
            rated = next(word for floor, word in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"),
                                                  (0.0, "none")) if number >= floor)
        if rated != "unknown" and (worst == "unknown" or SEVERITIES.index(rated) < SEVERITIES.index(worst)):
            worst = rated
    purl = next((str(note["purl"]) for note in _maps(entry.get("annotations"), "annotations") if note.get("purl")), "")
    return {"id": _text(entry.get("id"), "id"), "severity": worst, "package": purl, "version": "", "fixed": ""}


_READERS: Mapping[str, Callable[[Verified], dict[str, Any]]] = {
    "provenance": _provenance, "sbom": _sbom, "findings": _findings}


def _severity(stated: Any) -> str:
    word = str(stated or "").lower()
    return {"negligible": "low", "moderate": "medium", "important": "high"}.get(
        word, word if word in SEVERITIES else "unknown")


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="a map")
    return value


def _maps(value: Any, where: str) -> list[dict[str, Any]]:
    """[] where it is absent."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise MalformedError(where, got=Shape(value), expected="a list of maps")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise MalformedError(where, got=Shape(value), expected="a text")
    return value
