""".NET: what `*.deps.json` says was published, and what NuGet locked.

.NET SDK documentation, "Runtime Configuration Files" (`runtimeconfig.json` and `deps.json`).
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Iterator
from typing import Any

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import HOLDS, Fact

_MAX_WEIGHT = 64 << 20
"""Bytes that a file takes once it is parsed."""
_FILES = ("runtime", "native", "resources", "runtimeTargets")
_PLACEHOLDER = "_._"
_PACK = "runtimepack."


def read_dependencies(path: str, content: bytes) -> Iterator[Fact]:
    """The packages of which a file was published, those that need them, and the files of all.

    Packages that were only compiled against, or that bring tools for the compiler, are not there.
    """
    document = _object(content, path)
    target = document.get("runtimeTarget")
    named = target.get("name") if isinstance(target, dict) else target
    targets = _rows(document.get("targets"))
    libraries = _rows(document.get("libraries"))
    graph = _rows(targets.get(named) if isinstance(named, str) and named in targets else
                  next(reversed(targets.values()), None))
    spelled = {key.partition("/")[0].lower(): key.partition("/")[0].removeprefix(_PACK) for key in graph}
    needs = {key: {name.lower() for name in _rows(_rows(graph[key]).get("dependencies"))} for key in graph}
    files = {key: list(_files(_rows(graph[key]))) for key in graph}
    there = _there(graph, needs, files)
    folder = posixpath.dirname(path)
    held = [posixpath.normpath(posixpath.join(folder, place)) for key in graph for place in files[key]]
    if held:
        yield Fact(type=HOLDS, name=path, requires=tuple(dict.fromkeys(place for place in held if place[:2] != "..")))
    for key in graph:
        library = _rows(libraries.get(key))
        name, _, version = key.partition("/")
        if key in there and library.get("type") in ("package", "runtimepack") and name and version:
            yield Fact(type="nuget", name=name.removeprefix(_PACK), version=version,
                       requires=tuple(sorted(spelled[need] for need in needs[key] if need in spelled)),
                       hashes=_hashes(library.get("sha512")))


def _there(graph: dict[str, Any], needs: dict[str, set[str]], files: dict[str, list[str]]) -> set[str]:
    """What has a file of its own, and what needs such a one, directly or not."""
    above: dict[str, list[str]] = {}
    for key, names in needs.items():
        for name in names:
            above.setdefault(name, []).append(key)
    there: set[str] = set()
    waiting = [key for key in graph if files[key]]
    while waiting:
        key = waiting.pop()
        if key not in there:
            there.add(key)
            waiting.extend(above.get(key.partition("/")[0].lower(), ()))
    return there


def _files(library: dict[str, Any]) -> Iterator[str]:
    """Where its files are beside `deps.json`: assets of `lib` right there, those of a language or platform below."""
    for kind in _FILES:
        for place, more in _rows(library.get(kind)).items():
            base = posixpath.basename(place)
            if base == _PLACEHOLDER:
                continue
            locale = _rows(more).get("locale")
            yield (place if kind == "runtimeTargets" else
                   f"{locale}/{base}" if kind == "resources" and isinstance(locale, str) else base)


def _hashes(stated: object) -> tuple[tuple[str, str], ...]:
    """`sha512-BASE64`, of the package's archive."""
    if isinstance(stated, str) and stated.startswith("sha512-"):
        try:
            digest = base64.b64decode(stated.removeprefix("sha512-"), validate=True)
        except (binascii.Error, ValueError):
            return ()
        return (("sha512", digest.hex()),) if len(digest) == 64 else ()
    return ()


def read_locked(path: str, content: bytes) -> Iterator[Fact]:
    """`packages.lock.json`: what each target framework is resolved to (NuGet documentation, "Locking dependencies")."""
    frameworks = _rows(_object(content, path).get("dependencies"))
    for packages in frameworks.values():
        spelled = {name.lower(): name for name in _rows(packages)}
        for name, package in _rows(packages).items():
            row = _rows(package)
            version = row.get("resolved")
            if row.get("type") != "Project" and isinstance(version, str) and version:
                needs = sorted(spelled.get(need.lower(), need) for need in _rows(row.get("dependencies")))
                yield Fact(type="nuget", name=name, version=version, requires=tuple(needs),
                           hashes=_hashes(f"sha512-{row.get('contentHash')}"))


def _object(content: bytes, path: str) -> dict[str, Any]:
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("JSON with too many values")
    document = strictjson.loads(content.removeprefix(b"\xef\xbb\xbf"), path)
    if not isinstance(document, dict):
        raise ValueError("JSON that is no object")
    return document


def _rows(value: object) -> dict[str, Any]:
    """An object; what is none has no rows."""
    return value if isinstance(value, dict) else {}


DEPENDENCIES = Cataloger(name=".NET dependencies", version=1, types=("nuget",), read=read_dependencies, parsed=0.5,
                         largest=16 << 20, paths=(ending("json", pattern=r".*\.deps\.json"),),
                         listed=r"\.deps\.json\Z")
LOCK = Cataloger(name="NuGet lock", version=1, types=("nuget",), read=read_locked, parsed=0.5, largest=16 << 20,
                 declares=True, paths=(ending("json", pattern=r"(?:.*/)?packages(?:\.[^/]+)?\.lock\.json"),))
