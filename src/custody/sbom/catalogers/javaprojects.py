"""What projects of Java ask for: Maven's pom.xml, lock files of Gradle and sbt, Ivy's ivy.xml.

A version that a file leaves to others, to a parent or to whatever is newest, is not made up: the package is listed
without one, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from custody.formats import pom
from custody.kit import strictjson
from custody.sbom.catalogers import coordinates
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import Fact, unknown

_MAX_WEIGHT = 64 << 20
_ELEMENTS = 100_000
_OPEN = re.compile(r"[\[(,)\]+*]|\$\{|latest[.]|(?:LATEST|RELEASE)\Z")
"""What makes a version one of several: a range, a variable, `latest.integration`."""
_TEST, _BUILD = re.compile(r"(?i:.*test.*)\Z", re.DOTALL), re.compile(
    r"(?:.*[aA]nnotationProcessor|.*[cC]ompileClasspath|.*[cC]ompileOnly|kapt.*|ksp.*|checkstyle|pmd|spotbugs.*|detekt.*|"
    r"ktlint.*|jacoco\w+|kotlin\w*(?:Classpath|Dependencies)|classpath)\Z", re.DOTALL)
"""Names of Gradle's configurations that nothing is run with."""


def maven(_path: str, content: bytes) -> Iterator[Fact]:
    """The project, and what it needs directly, with the versions that the file itself has."""
    project = pom.parse(content)
    managed = {(row.group, row.name, row.classifier): row for row in project.managed}
    needed: dict[str, str] = {}
    for row in project.dependencies:
        above = managed.get((row.group, row.name, row.classifier))
        version = row.version or (above.version if above else "")
        if not coordinates.valid(row.group, row.name, "1"):
            yield unknown("Maven dependency whose name its parent says")
            continue
        if not version or _OPEN.search(version):
            version = ""
            yield unknown("Maven dependency whose version its file does not say")
        scope = "test" if row.scope == "test" else "optional" if row.optional else ""
        name = f"{row.group}/{row.name}"
        if row.scope != "test":
            needed.setdefault(f"{name}@{version}" if version else name, name)
        yield _asked(name, version, scope, row.classifier)
    if coordinates.valid(project.group, project.name, "1"):
        version = project.version if coordinates.of_project(project) else ""
        yield Fact(type="maven", name=f"{project.group}/{project.name}", version=version, requires=tuple(needed),
                   licenses=project.licenses, supplier=project.organization)
    else:
        yield unknown("Maven project whose name its file does not say")


def gradle(path: str, content: bytes) -> Iterator[Fact]:
    """`group:name:version=configurations` (Gradle, "Locking dependency versions"), and its older form without them."""
    built = path.endswith("buildscript-gradle.lockfile")
    for line in content.decode("utf-8", "replace").splitlines():
        entry, _, configurations = line.strip().partition("=")
        if not entry or entry[0] == "#" or entry == "empty":
            continue
        parts = entry.split(":")
        if len(parts) != 3 or not coordinates.valid(*parts):
            yield unknown("Gradle lock without group, name and version")
            continue
        names = [name for name in configurations.split(",") if name]
        scope = "build" if built else _scope(names)
        yield _asked(f"{parts[0]}/{parts[1]}", parts[2], scope)


def sbt(path: str, content: bytes) -> Iterator[Fact]:
    """sbt-dependency-lock, `build.sbt.lock`."""
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("a lock file with too many values")
    document = strictjson.loads(content, path)
    rows = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError("a lock file without dependencies")
    for row in rows:
        group, name, version = (_text(row, key) for key in ("org", "name", "version"))
        if not coordinates.valid(group, name, version):
            yield unknown("sbt lock without group, name and version")
            continue
        stated = row.get("configurations")
        names = [text for text in stated if isinstance(text, str)] if isinstance(stated, list) else []
        yield _asked(f"{group}/{name}", version, _scope(names))


def ivy(_path: str, content: bytes) -> Iterator[Fact]:
    """Ivy files (Apache Ivy, "Ivy Files"): the module, and what it needs directly."""
    facts: list[Fact] = []
    count = 0

    def start(tag: str, values: Mapping[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _ELEMENTS or (count == 1 and tag != "ivy-module"):
            raise ValueError("no Ivy file, or one with too many elements")
        if tag == "info":
            organisation.append(values.get("organisation", ""))
        if tag != "dependency":
            return
        group, name = values.get("org", (organisation or [""])[0]), values.get("name", "")
        version = values.get("rev", "")
        if not coordinates.valid(group, name, "1"):
            facts.append(unknown("Ivy dependency without a name"))
            return
        if _OPEN.search(version) or not version:
            version = ""
            facts.append(unknown("Ivy dependency without one version"))
        configuration = values.get("conf", "").partition("->")[0]
        facts.append(_asked(f"{group}/{name}", version, _scope(configuration.replace(";", ",").split(","))))

    def refuse(*_: object) -> None:
        raise ValueError("an Ivy file with entities of its own")

    organisation: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, refuse
    try:
        parser.Parse(content.lstrip(), True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"an Ivy file that is no XML: {error}") from error
    yield from facts


def _asked(name: str, version: str, scope: str, classifier: str = "") -> Fact:
    return Fact(type="maven", name=name, version=version, scope=scope,
                qualifiers=(("classifier", classifier),) if classifier and "${" not in classifier else ())


def _scope(configurations: list[str]) -> str:
    names = [name.strip() for name in configurations if name.strip()]
    if names and all(map(_TEST.match, names)):
        return "test"
    return "build" if names and all(_TEST.match(name) or _BUILD.match(name) for name in names) else ""


def _text(row: Any, key: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, str) else ""


MAVEN = Cataloger(name="Maven project", version=2, types=("maven",), declares=True, read=maven, cost=4096,
                  paths=(named("pom.xml"), ending("pom", pattern=r".*[^/]\.pom")))
GRADLE = Cataloger(name="Gradle lock", version=1, types=("maven",), declares=True, read=gradle, largest=16 << 20,
                   paths=(named("gradle.lockfile", "buildscript-gradle.lockfile"),
                          ending("lockfile", pattern=r"(?:.*/)?(?:[^/]*gradle[^/]*|dependency-locks/[^/]+)\.lockfile")))
SBT = Cataloger(name="sbt lock", version=1, types=("maven",), declares=True, read=sbt, largest=16 << 20, parsed=1.0,
                paths=(ending("lock", pattern=r".*\.sbt\.lock"),))
IVY = Cataloger(name="Ivy file", version=1, types=("maven",), declares=True, read=ivy, paths=(named("ivy.xml"),))
