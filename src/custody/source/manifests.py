"""What manifests ask for, and where they have package managers look: package.json, .npmrc, pyproject.toml, …"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from custody.ecosystems import python as spelled
from custody.errors import CustodyError
from custody.sbom.catalogers.documents import Table, json_object, rows, table, toml_table, word, words
from custody.source.locked import Locked

Files = Mapping[str, Callable[[], bytes]]
Said = tuple[str, str, int, Literal["error", "warning"], str]
"""Rule, path, line, level and message."""
_BESIDE = {
    "package-lock.json": ("package.json",), "npm-shrinkwrap.json": ("package.json",), "yarn.lock": ("package.json",),
    "pnpm-lock.yaml": ("package.json", "pnpm-workspace.yaml"), "Cargo.lock": ("Cargo.toml",),
    "composer.lock": ("composer.json",), "Gemfile.lock": ("Gemfile",), "go.sum": ("go.mod",),
    "Pipfile.lock": ("Pipfile",)}
_NPM = ("dependencies", "devDependencies", "optionalDependencies")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SCOPE = re.compile(r"^\s*(@[^:\s]+):registry\s*=\s*(\S+)", re.MULTILINE)
_LARGEST = 4 << 20


def beside(files: Files, lock: str) -> list[str]:
    """The manifests that a lock file is made from; of workspaces those below it too."""
    folder, _, base = lock.rpartition("/")
    kinds = _BESIDE.get(base, ("pyproject.toml",))
    front = f"{folder}/" if folder else ""
    return [path for path in files if path.startswith(front) and path.rpartition("/")[2] in kinds]


def asked(files: Files) -> frozenset[str]:
    """All names, in small letters, that any manifest asks for."""
    return frozenset(name.lower() for path in files for name in _asked(files, path))


def missing(files: Files, lock: str, entries: Sequence[Locked]) -> Iterator[tuple[str, str]]:
    """What the manifest right beside a lock file asks for, and it does not have."""
    folder, _, base = lock.rpartition("/")
    known = {entry.name.lower() for entry in entries}
    for name in _BESIDE.get(base, ("pyproject.toml",)):
        path = f"{folder}/{name}" if folder else name
        if path in files and base not in ("go.sum", "Gemfile.lock", "composer.lock"):
            yield from ((path, dependency) for dependency in _asked(files, path) if dependency.lower() not in known)


def scopes(files: Files, folder: str) -> frozenset[str]:
    """npm scopes that an .npmrc in this folder or above has a registry for."""
    told: set[str] = set()
    while True:
        path = f"{folder}/.npmrc" if folder else ".npmrc"
        if path in files:
            told |= {match[1] for match in _SCOPE.finditer(files[path]()[:_LARGEST].decode("utf-8", "replace"))}
        if not folder:
            return frozenset(told)
        folder = folder.rpartition("/")[0]


def indexes(files: Files, private: Sequence[str]) -> Iterator[Said]:
    """Places that are looked in beside, so that a stranger may answer first (torchtriton, 2022)."""
    rule = "dependency-confusion"
    for path in files:
        base = path.rpartition("/")[2]
        if base in ("pip.conf", "pip.ini"):
            for key in ("extra-index-url", "find-links"):
                for line, text in enumerate(_text(files, path).splitlines(), 1):
                    if text.strip().replace("_", "-").startswith(key):
                        yield rule, path, line, "error", f"{key}: pip takes the highest version of any index"
        elif base == "pyproject.toml":
            document = _toml(files, path)
            tool = table(document.get("tool"))
            uv, poetry = table(tool.get("uv")), table(tool.get("poetry"))
            if uv.get("extra-index-url") or uv.get("index-strategy") in ("unsafe-best-match", "unsafe-first-match"):
                yield rule, path, 0, "error", "tool.uv: any index may answer for any name, expected explicit indexes"
            if any(row.get("priority") in (None, "supplemental") for row in rows(poetry.get("source"))) and private:
                yield rule, path, 0, "error", "tool.poetry.source: may answer for any name, expected priority explicit"
        elif base == "Pipfile":
            document = _toml(files, path)
            if len(rows(document.get("source"))) > 1 and any(
                    not table(row).get("index") for row in table(document.get("packages")).values()):
                yield rule, path, 0, "error", "several sources, and packages that do not say from which they are"
        elif base == ".npmrc" and private:
            said = scopes(files, path.rpartition("/")[0])
            for scope in {pattern.partition("/")[0] for pattern in private if pattern.startswith("@")} - said:
                yield rule, path, 0, "error", f"no {scope}:registry: npm asks the public registry for {scope}/…"


def _asked(files: Files, path: str) -> list[str]:
    base = path.rpartition("/")[2]
    if base == "package.json" and "node_modules/" not in path:
        try:
            document = json_object(path, files[path]()) if path in files else {}
        except (CustodyError, ValueError):
            return []
        return [name if not word(spec).startswith("npm:") else word(spec)[4:].rpartition("@")[0] or word(spec)[4:]
                for key in _NPM for name, spec in table(document.get(key)).items()]
    if base == "Cargo.toml":
        document = _toml(files, path)
        return [word(table(spec).get("package")) or name for key in ("dependencies", "dev-dependencies",
                "build-dependencies") for name, spec in table(document.get(key)).items()]
    if base == "Pipfile":
        document = _toml(files, path)
        return [spelled(name) for key in ("packages", "dev-packages") for name in table(document.get(key))]
    if base == "pyproject.toml":
        return _project(_toml(files, path))
    return []


def _project(document: Table) -> list[str]:
    project = table(document.get("project"))
    poetry = table(table(document.get("tool")).get("poetry"))
    told = [match[1] for text in words(project.get("dependencies")) if (match := _NAME.match(text))]
    return [spelled(name) for name in (*told, *table(poetry.get("dependencies"))) if name != "python"]


def _toml(files: Files, path: str) -> Table:
    try:
        return toml_table(files[path]()[:_LARGEST])
    except ValueError:
        return {}


def _text(files: Files, path: str) -> str:
    return files[path]()[:_LARGEST].decode("utf-8", "replace")
