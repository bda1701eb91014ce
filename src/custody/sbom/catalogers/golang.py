"""Go modules that sources ask for, go.mod, and what is in `vendor` (Go Modules Reference, "Vendoring")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from custody.sbom.catalogers.binaries import LOCAL
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|//.*|=>|[()]|[^\s()"`]+')
_BLOCKS = ("require", "replace", "exclude", "retract", "tool", "ignore", "godebug")


def read_mod(_path: str, content: bytes) -> Iterator[Fact]:
    """The modules with the versions that `go` chose for this module; before Go 1.17 only those that it names itself."""
    module, needed, replaced = "", {}, {}
    for words in _directives(content):
        verb, *rest = words
        if verb == "module" and rest:
            module = rest[0]
        elif verb == "require" and len(rest) >= 2:
            needed[rest[0]] = rest[1]
        elif verb == "replace" and "=>" in rest:
            place = rest.index("=>")
            replaced[tuple(rest[:place])] = rest[place + 1:]
    if not module:
        raise ValueError("a go.mod without a module")
    chosen = {}
    for name, version in needed.items():
        target = replaced.get((name, version)) or replaced.get((name,)) or [name, version]
        if LOCAL.match(target[0]) or len(target) < 2:  # a folder beside this module's, which has a go.mod of its own
            target = [name, ""]
            yield unknown("Go module replaced by a local folder")
        chosen[target[0]] = target[1]
    yield Fact(type="golang", name=module, requires=tuple(chosen))
    for name, version in chosen.items():
        yield Fact(type="golang", name=name, version=version)


def read_vendored(_path: str, content: bytes) -> Iterator[Fact]:
    """`vendor/modules.txt`: `# MODULE VERSION [=> REPLACEMENT VERSION]`, and the packages that were copied below."""
    lines = content.decode("utf-8", "replace").split("\n")
    for place, line in enumerate(lines):
        words = line.split()
        if len(words) < 3 or words[0] != "#":
            continue
        marked = lines[place + 1][:3] == "## " if place + 1 < len(lines) else False
        following = lines[place + 2 if marked else place + 1:][:1]
        if not following or not following[0] or following[0][0] == "#":
            continue  # none of its packages is here
        if "=>" in words:
            target = words[words.index("=>") + 1:]
            if len(target) < 2:
                yield unknown("Go module replaced by a local folder")
                target = [words[1], ""]
        else:
            target = words[1:3]
        yield Fact(type="golang", name=target[0], version=target[1])


def _directives(content: bytes) -> Iterator[list[str]]:
    block = ""
    for number, line in enumerate(content.decode().splitlines(), 1):
        words = [_unquoted(word, number) for word in _TOKEN.findall(line) if not word.startswith("//")]
        if block and words == [")"]:
            block = ""
        elif block and words:
            yield [block, *words]
        elif len(words) == 2 and words[1] == "(" and words[0] in _BLOCKS:
            block = words[0]
        elif words:
            yield words


def _unquoted(word: str, number: int) -> str:
    if word[0] == "`":
        return word[1:-1]
    if word[0] != '"':
        return word
    try:
        return str(json.loads(word))
    except ValueError:
        raise ValueError(f"line {number}: {word[:40]}") from None


MOD = Cataloger(name="go.mod", version=1, types=("golang",), read=read_mod, declares=True, paths=(named("go.mod"),))
VENDORED = Cataloger(name="Go vendor", version=1, types=("golang",), read=read_vendored, declares=True, paths=(
    named("modules.txt", pattern=r"(?:.*/)?vendor/modules\.txt"),))
