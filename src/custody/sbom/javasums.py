"""Java archives that say nothing of themselves but a name, told by the SHA-1 of their bytes where an index has it.

An archive of which the index does not know stays what it is: a name without a group, and counted as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from custody.ports.javaarchives import Artifact, JavaArchives
from custody.sbom.catalogers.coordinates import NAME_ONLY, valid
from custody.sbom.catalogers.fact import UNKNOWN, Fact
from custody.sbom.catalogers.java import ALONE, url
from custody.sbom.filesystem import Visible

EVIDENCE = "SHA-1 in an index"


def told(files: Mapping[str, Visible], archives: JavaArchives | None) -> dict[str, Visible]:
    """The files, with the archives among them that the index tells of."""
    if archives is None:
        return dict(files)
    sums = {text for seen in files.values() for fact in seen.facts if (text := _sum(fact))}
    known = {text: artifact for text, artifact in archives.find(sorted(sums)).items()
             if valid(artifact.group, artifact.name, artifact.version)} if sums else {}
    if not known:
        return dict(files)
    return {path: Visible(tuple(_named(seen.facts, known)), seen.layer)
            if any(_sum(fact) in known for fact in seen.facts) else seen for path, seen in files.items()}


def _sum(fact: Fact) -> str:
    """Of an archive that has only a name; empty for all else."""
    if fact.type != "generic" or fact.evidence != NAME_ONLY or fact.form != "archive":
        return ""
    return next((value for kind, value in fact.hashes if kind == "sha1"), "")


def _named(facts: tuple[Fact, ...], known: Mapping[str, Artifact]) -> Iterator[Fact]:
    """What counted an archive as unknown stands right before it, and goes; what needs it is told its other name."""
    renamed: dict[str, str] = {}
    kept: list[Fact] = []
    for fact in facts:
        artifact = known.get(_sum(fact))
        if artifact is not None:
            if kept and kept[-1].type == UNKNOWN and kept[-1].name == ALONE:
                kept.pop()
            named = msgspec.structs.replace(fact, type="maven", name=f"{artifact.group}/{artifact.name}",
                                            version=artifact.version, evidence=EVIDENCE)
            renamed[url(fact)], fact = url(named), named
        kept.append(fact)
    for fact in kept:
        if not renamed.keys().isdisjoint(fact.requires):
            fact = msgspec.structs.replace(fact, requires=tuple(renamed.get(need, need) for need in fact.requires))
        yield fact
