"""Python's lock files: poetry.lock, uv.lock, pdm.lock, pylock.toml (PEP 751) and Pipfile.lock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from custody.ecosystems import python as spelled
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.documents import Table, hexadecimal, json_object, rows, table, toml_table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OWN = ("virtual", "editable", "directory")
"""uv's sources of the project itself, and of folders beside it."""


def read(path: str, content: bytes) -> Iterable[Fact]:
    base = path.rpartition("/")[2]
    if base == "Pipfile.lock":
        return _pipenv(json_object(path, content))
    return _READERS.get(base, _uv if base.endswith(".py.lock") else _pylock)(toml_table(content))


def _poetry(document: Table) -> Iterator[Fact]:
    """poetry.lock: up to 1.4 with `category`, and files at the end; from 2.0 on with `groups`."""
    files = table(table(document.get("metadata")).get("files"))
    for row in rows(document["package"]):
        groups, optional = words(row.get("groups")), row.get("optional") is True
        dev = row.get("category") == "dev" or (bool(groups) and "main" not in groups)
        yield from _fact(row, needed=table(row.get("dependencies")), files=rows(
            row.get("files") or files.get(word(row.get("name")))), scope="dev" if dev else "optional" * optional)


def _uv(document: Table) -> Iterator[Fact]:
    packages = rows(document["package"])
    edges = {_ref(row): _uv_needs(row) for row in packages}
    roots = [row for row in packages if any(kind in table(row.get("source")) for kind in _OWN)]
    runs = {_ref(row) for row in packages if not roots}
    waiting = [_ref(row) for row in roots]
    by_name: dict[str, list[str]] = {}
    for row in packages:
        by_name.setdefault(word(row.get("name")), []).append(_ref(row))
    while waiting:
        ref = waiting.pop()
        if ref not in runs:
            runs.add(ref)
            waiting += [known for needed in edges.get(ref, ())
                        for known in ([needed] if needed in edges else by_name.get(needed, ()))]
    for row in packages:
        files = [*rows([row.get("sdist")]), *rows(row.get("wheels"))]
        yield from _fact(row, needed=edges[_ref(row)], files=files, scope="" if _ref(row) in runs else "dev")


def _uv_needs(row: Table) -> list[str]:
    groups = [row.get("dependencies"), *table(row.get("optional-dependencies")).values()]
    return [_ref(needed) for group in groups for needed in rows(group)]


def _ref(row: Table) -> str:
    """uv states the version of a need only where there are several."""
    name, version = word(row.get("name")), word(row.get("version"))
    return f"{name}@{version}" if version else name


def _pdm(document: Table) -> Iterator[Fact]:
    for row in rows(document["package"]):
        groups = words(row.get("groups"))
        yield from _fact(row, needed=_names(words(row.get("dependencies"))), files=rows(row.get("files")),
                         scope="dev" if groups and "default" not in groups else "")


def _pylock(document: Table) -> Iterator[Fact]:
    for row in rows(document["packages"]):
        files = [*rows([row.get("sdist"), row.get("archive")]), *rows(row.get("wheels"))]
        hashes = [{**file, "hash": f"sha256:{table(file.get('hashes')).get('sha256')}"} for file in files]
        yield from _fact(row, needed=[_ref(needed) for needed in rows(row.get("dependencies"))], files=hashes)


def _pipenv(document: Table) -> Iterator[Fact]:
    default, develop = table(document.get("default")), table(document.get("develop"))
    if "default" not in document and "develop" not in document:
        raise ValueError("a lock file without packages")
    for name, value in [*default.items(), *develop.items()]:
        row = table(value)
        files = [{"hash": text} for text in words(row.get("hashes"))]
        pinned = word(row.get("version"))
        if not pinned.startswith("==") and not any(key in row for key in ("path", "file", "editable", "git")):
            yield unknown("Python package without a version in a lock file")
            continue
        yield from _fact({"name": name, "version": pinned.lstrip("=")}, files=files,
                         scope="" if name in default else "dev", stated=bool(pinned))


def _fact(row: Table, *, needed: Iterable[str] = (), files: list[Table], scope: str = "",
          stated: bool = True) -> Iterator[Fact]:
    name, version = word(row.get("name")), word(row.get("version"))
    if not name or (not version and stated and not any(key in row for key in ("vcs", "directory", "source"))):
        yield unknown("Python package without a version in a lock file")
        return
    requires = (spelled(ref.partition("@")[0]) + ("@" if "@" in ref else "") + ref.partition("@")[2] for ref in needed)
    yield Fact(type="pypi", name=spelled(name), version=version, source=spelled(name),
               requires=tuple(dict.fromkeys(requires)), scope=scope, hashes=_archive(files))


def _archive(files: list[Table]) -> tuple[tuple[str, str], ...]:
    """The hash of the one file that everybody installs: the only one, or the only wheel that is for any machine."""
    chosen = files if len(files) == 1 else [file for file in files if _filename(file).endswith("-none-any.whl")]
    if len(chosen) != 1:
        return ()
    algorithm, _, value = word(chosen[0].get("hash")).partition(":")
    return hexadecimal(algorithm, value) if algorithm in ("sha256", "sha512", "md5", "sha1") else ()


def _filename(file: Table) -> str:
    named = file.get("file") or file.get("filename") or file.get("name") or file.get("url") or file.get("path")
    return word(named).partition("#")[0]


def _names(requirements: list[str]) -> list[str]:
    return [match[1] for text in requirements if (match := _REQUIREMENT.match(text))]


_READERS: dict[str, Callable[[Table], Iterator[Fact]]] = {"poetry.lock": _poetry, "uv.lock": _uv, "pdm.lock": _pdm}


def _guarded(path: str, content: bytes) -> Iterator[Fact]:
    try:
        yield from read(path, content)
    except KeyError as error:
        raise ValueError(f"a lock file without {error}") from None


CATALOGER = Cataloger(
    name="Python lock", version=1, types=("pypi",), read=_guarded, declares=True, largest=16 << 20, effort=10,
    # PEP 751: pylock.toml, or pylock.NAME.toml.
    paths=(named("poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock"),
           ending("toml", pattern=r"(?:.*/)?pylock\.(?:[^./]+\.)?toml"), ending("lock", pattern=r".*\.py\.lock")))
