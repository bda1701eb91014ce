"""yarn.lock, of Yarn 1 and of those since 2 (yarnpkg.com, "Lockfile"; their `__metadata`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import Table, indented, integrity, table, word
from custody.sbom.catalogers.fact import Fact

_FIELD = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|(\S+)) +(?:"((?:[^"\\]|\\.)*)"|(\S.*))\Z')
_SPECIFIER = re.compile(r"(@?[^@]+)@(.*)\Z", re.DOTALL)
_OWN = ("workspace:", "link:", "portal:")
"""What is a folder of the project itself."""


def read(_path: str, content: bytes) -> Iterator[Fact]:
    told = entries(content)
    chosen = {specifier: f"{name}@{version}" for specifiers, name, version, _, _ in told
              for specifier in specifiers}
    for _, name, version, row, needed in told:
        requires = [chosen[specifier] for asked in needed.items() for specifier in _spellings(*asked)
                    if specifier in chosen]
        yield Fact(type="npm", name=name, version=version, requires=tuple(dict.fromkeys(requires)),
                   hashes=integrity(word(row.get("integrity"))))


_Entry = tuple[list[str], str, str, Table, dict[str, str]]
"""Specifiers, name, version, fields and the dependencies by name."""


def entries(content: bytes) -> list[_Entry]:
    """Of both kinds of file. Raises ValueError."""
    return _modern(content) if b"\n__metadata:" in b"\n" + content else _classic(content)


def _classic(content: bytes) -> list[_Entry]:
    entries: list[_Entry] = []
    group: dict[str, str] | None = None
    for number, line in enumerate(content.decode().removeprefix("\ufeff").splitlines(), 1):
        bare = line.strip()
        if not bare or bare[0] == "#":
            continue
        indent = len(line) - len(line.lstrip(" "))
        if indent == 0:
            specifiers = [part.strip().strip('"') for part in bare.removesuffix(":").split(",")]
            name = _name(specifiers[0])
            if bare[-1] != ":" or not name:
                raise ValueError(f"line {number} is no package")
            entries.append((specifiers, name, "", {}, {}))
            group = None
        elif not entries:
            raise ValueError(f"line {number} is in no package")
        elif indent == 2 and bare[-1] == ":":
            group = entries[-1][4] if bare in ("dependencies:", "optionalDependencies:") else {}
        elif match := _FIELD.match(bare):
            key, value = match[1] or match[2] or "", match[3] if match[3] is not None else match[4]
            if indent == 2:
                entries[-1][3][key] = value
            elif group is not None:
                group[key] = value
        else:
            raise ValueError(f"line {number} is no field")
    return [(specifiers, name, version, row, needed) for specifiers, name, _, row, needed in entries
            if (version := row.get("version")) and not any("@link:" in specifier for specifier in specifiers)]


def _modern(content: bytes) -> list[_Entry]:
    entries: list[_Entry] = []
    for key, value in indented(content).items():
        row = table(value)
        match = _SPECIFIER.match(word(row.get("resolution")))
        if key == "__metadata":
            continue
        if match is None or not word(row.get("version")):
            raise ValueError(f"{key[:80]!r} without a resolution or a version")
        if match[2].startswith(_OWN):
            continue
        needed = {name: word(asked) for group in ("dependencies", "optionalDependencies", "peerDependencies")
                  for name, asked in table(row.get(group)).items()}
        entries.append(([part.strip() for part in key.split(",")], match[1], row["version"], row, needed))
    return entries


def _name(specifier: str) -> str:
    """`a@^1` is of `a`; the alias `a@npm:b@^1` of `b`."""
    match = _SPECIFIER.match(specifier)
    if match is None:
        return ""
    alias = _SPECIFIER.match(match[2][4:]) if match[2].startswith("npm:") else None
    return alias[1] if alias else match[1]


def _spellings(name: str, asked: str) -> tuple[str, ...]:
    """How the entry that meets a need may be called; Yarn 2 and 3 write needs without the protocol."""
    return f"{name}@{asked}", f"{name}@npm:{asked}"


CATALOGER = Cataloger(name="yarn lock", version=1, types=("npm",), read=read, declares=True, largest=32 << 20, effort=6,
                      paths=(named("yarn.lock"),))
