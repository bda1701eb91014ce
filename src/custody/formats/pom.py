"""Maven's project files, `pom.xml` (POM Reference, 4.0.0): coordinates, needs, licences, and who made a project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from custody.kit.addresses import address

_VARIABLE = re.compile(r"\$\{([^${}]{1,200})\}")
_DEEPEST = 100
_ELEMENTS = 100_000
_LONGEST = 4096
"""Characters of a value: what is longer is prose."""
_ROUNDS, _VARIABLES, _COORDINATE = 10, 4, 256
"""How often, and how many at a time, variables in a value are looked up, and characters of what they stand for."""


@dataclass(frozen=True, slots=True)
class Dependency:
    group: str
    name: str
    version: str = ""
    """Empty where the project leaves it to its parent; with `${` in it where that could not be told."""
    scope: str = "compile"
    optional: bool = False
    kind: str = "jar"
    classifier: str = ""


@dataclass(frozen=True, slots=True)
class Pom:
    """One project, its own properties resolved. A value with `${` in it could not be told from the file alone."""

    group: str = ""
    name: str = ""
    version: str = ""
    packaging: str = "jar"
    parent: tuple[str, str, str] | None = None
    """Group, name and version."""
    licenses: tuple[str, ...] = ()
    organization: str = ""
    dependencies: tuple[Dependency, ...] = ()
    managed: tuple[Dependency, ...] = ()
    """Versions for dependencies that do not say one; with scope `import` the projects that have more of them."""
    url: str = ""
    repository: str = ""


@dataclass(slots=True)
class _Reading:
    """What the parser has come by: texts by the way to their element, and the rows of lists."""

    texts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    way: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    elements: int = 0


_LISTS = {"licenses/license": "licenses", "dependencies/dependency": "dependencies",
          "dependencyManagement/dependencies/dependency": "managed"}
_VALUES = frozenset(("groupId", "artifactId", "version", "packaging", "parent/groupId", "parent/artifactId",
                     "parent/version", "organization/name", "url", "scm/url"))


def parse(content: bytes) -> Pom:
    """Raises ValueError for what is no project, or has entities of its own or more depth than any project."""
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(tag: str, _attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        reading.elements += 1
        if len(reading.way) >= _DEEPEST or reading.elements > _ELEMENTS:
            raise ValueError("a project file with too many elements")
        if not reading.way and name != "project":
            raise ValueError(f"a {name!r}, expected a project")
        reading.way.append(name)
        reading.pieces.clear()
        if row := _LISTS.get("/".join(reading.way[1:])):
            reading.rows.setdefault(row, []).append({})

    def end(_tag: str) -> None:
        way = reading.way[1:]
        path, text = "/".join(way), "".join(reading.pieces).strip()[:_LONGEST]
        if path in _VALUES:
            reading.texts.setdefault(path, text)
        elif len(way) == 2 and way[0] == "properties":
            reading.texts[f"${way[1]}"] = text
        elif row := _LISTS.get("/".join(way[:-1])):
            reading.rows[row][-1].setdefault(way[-1], text)
        reading.way.pop()
        reading.pieces.clear()

    def refuse(*_: object) -> None:
        raise ValueError("a project file with entities of its own")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = reading.pieces.append
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content.lstrip(), True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"a project file that is no XML: {error}") from error
    if not reading.texts.get("artifactId"):
        raise ValueError("a project without an artifactId")
    return _pom(reading)


def _pom(reading: _Reading) -> Pom:
    texts = reading.texts
    above = texts.get("parent/artifactId")
    values = {key[1:]: text[:_COORDINATE] for key, text in texts.items() if key[0] == "$"}
    stated = {"groupId": texts.get("groupId") or texts.get("parent/groupId", ""),
              "artifactId": texts["artifactId"],
              "version": texts.get("version") or texts.get("parent/version", ""),
              "parent.groupId": texts.get("parent/groupId", ""), "parent.version": texts.get("parent/version", ""),
              "parent.artifactId": above or "", "packaging": texts.get("packaging", "jar")}
    for key, text in stated.items():
        text = text[:_COORDINATE]
        values[f"project.{key}"] = values[f"pom.{key}"] = text
        values.setdefault(key, text)

    def told(text: str) -> str:
        for _ in range(_ROUNDS):
            if len(text) > _COORDINATE:
                return ""
            said = _VARIABLE.sub(lambda match: values.get(match[1]) or match[0], text, _VARIABLES)
            if said == text:
                break
            text = said
        return text

    def rows(name: str) -> tuple[Dependency, ...]:
        return tuple(Dependency(
            group=told(row.get("groupId", "")), name=told(row.get("artifactId", "")),
            version=told(row.get("version", "")), scope=told(row.get("scope", "")) or "compile",
            optional=told(row.get("optional", "")) == "true", kind=told(row.get("type", "")) or "jar",
            classifier=told(row.get("classifier", ""))) for row in reading.rows.get(name, ()))

    licenses = (row.get("name") or row.get("url", "") for row in reading.rows.get("licenses", ()))
    return Pom(
        group=told(stated["groupId"]), name=told(stated["artifactId"]), version=told(stated["version"]),
        packaging=told(stated["packaging"]),
        parent=(told(stated["parent.groupId"]), told(above), told(stated["parent.version"])) if above else None,
        licenses=tuple(dict.fromkeys(text for text in licenses if text)),
        organization=told(texts.get("organization/name", "")), dependencies=rows("dependencies"),
        managed=rows("managed"), url=address(told(texts.get("url", ""))),
        repository=address(told(texts.get("scm/url", ""))))
