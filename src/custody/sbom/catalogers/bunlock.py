"""bun.lock, the lock file of Bun as text (bun.sh, "Lockfile"); the older `bun.lockb` is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import integrity, json_object, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)'
_COMMENT = re.compile(_TEXT + rb"|(//[^\n]*+)", re.DOTALL)
_COMMA = re.compile(_TEXT + rb"|(,)(?=\s*+[}\]])", re.DOTALL)
"""A text, in which are no comments and no commas, or what is taken away. Each byte is looked at once: a text that is
not closed goes to the end."""
_IDENTITY = re.compile(r"(@?[^@]+)@(.*)\Z", re.DOTALL)
_DEEPEST = 200
_GROUPS = ("dependencies", "optionalDependencies", "peerDependencies")


def read(path: str, content: bytes) -> Iterator[Fact]:
    """JSON with commas behind the last values: they are taken away."""
    for sign in (_COMMENT, _COMMA):
        content = sign.sub(lambda match: match[0] if match[1] is None else b"", content)
    document = json_object(path, content)
    packages = table(document.get("packages"))
    if "lockfileVersion" not in document:
        raise ValueError("a lock file without lockfileVersion")
    spelled: dict[str, tuple[str, str]] = {}
    for key, row in packages.items():
        match = _IDENTITY.match(word(row[0])) if isinstance(row, list) and row else None
        if match is None or key.count("/") > _DEEPEST:
            raise ValueError(f"{key[:60]!r} is no package")
        if not match[2].startswith(("workspace:", "link:", "file:", "root:")):
            spelled[key] = match[1], match[2] if ":" not in match[2] and "/" not in match[2] else ""
    needs = {key: [near for name in dict.fromkeys(_needed(packages[key])) if (near := _near(key, name, spelled))]
             for key in spelled}
    runs = _running(table(document.get("workspaces")), needs, spelled)
    for key, (name, version) in spelled.items():
        if not version:
            yield unknown("npm package without a version in a lock file")
        stated = packages[key][-1]
        yield Fact(type="npm", name=name, version=version, hashes=integrity(word(stated)),
                   requires=tuple("@".join(spelled[near]) for near in needs[key]),
                   scope="" if key in runs else "dev")


def _needed(row: list[object]) -> list[str]:
    said = next((part for part in row if isinstance(part, dict)), {})
    without = set(words(said.get("optionalPeers")))
    return [name for group in _GROUPS for name in table(said.get(group)) if name not in without]


def _near(key: str, name: str, spelled: dict[str, tuple[str, str]]) -> str | None:
    """What a package gets of a name: its own, `a/name`, or that of what it is in."""
    while True:
        choice = f"{key}/{name}" if key else name
        if choice in spelled:
            return choice
        if not key:
            return None
        folder = key.rpartition("/")[0]
        key = folder.rpartition("/")[0] if folder.rpartition("/")[2].startswith("@") else folder


def _running(workspaces: dict[str, object], needs: dict[str, list[str]],
             spelled: dict[str, tuple[str, str]]) -> set[str]:
    waiting = [name for row in workspaces.values() for group in _GROUPS for name in table(table(row).get(group))]
    runs: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in spelled and key not in runs:
            runs.add(key)
            waiting += needs[key]
    return runs


CATALOGER = Cataloger(name="bun lock", version=1, types=("npm",), read=read, declares=True, parsed=1.0,
                      largest=32 << 20, paths=(named("bun.lock"),))
BINARY = Cataloger(name="bun binary lock", version=1, declares=True, head=True, largest=64,
                   read=lambda _path, _content: (unknown("Bun's binary lock file"),), paths=(named("bun.lockb"),))
